"""Makes what every subject serves: a GBM of 200 trees on 30 features as ONNX, and 64 asked rows.

Runs in the environment `model`: `python make_model.py DIRECTORY` writes `model.onnx` and
`rows.json` (`{"rows": [[30 numbers] * 64], "probabilities": [64 numbers]}`), always the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

FEATURES = 30
TREES = 200
ROWS = 64
SEED = 20261123


def main(directory: Path) -> None:
    """Write the model and the rows below `directory`."""
    random = np.random.default_rng(SEED)
    x = random.normal(size=(20_000, FEATURES)).astype(np.float32)
    logit = x @ random.normal(size=FEATURES) / 4 + np.sin(3 * x[:, 0]) * x[:, 1] + x[:, 2] * x[:, 3]
    y = random.random(len(x)) < 1 / (1 + np.exp(-logit))
    gbm = lightgbm.LGBMClassifier(
        n_estimators=TREES, random_state=SEED, n_jobs=1, deterministic=True, verbose=-1
    )
    gbm.fit(x, y)
    onnx_model = convert_lightgbm(
        gbm.booster_,
        initial_types=[("features", FloatTensorType([None, FEATURES]))],
        zipmap=False,
        target_opset=15,
    )
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "model.onnx"
    path.write_bytes(onnx_model.SerializeToString())
    # Four decimals, as a client sends them; the truth is computed from what is sent.
    rows = np.round(random.normal(size=(ROWS, FEATURES)), 4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"features": rows.astype(np.float32)})
    gap = np.abs(probabilities[:, 1] - gbm.predict_proba(rows.astype(np.float32))[:, 1]).max()
    if gap > 1e-5:
        raise SystemExit(f"the ONNX model differs from the trained one by {gap}")
    asked = {"rows": rows.tolist(), "probabilities": probabilities[:, 1].tolist()}
    (directory / "rows.json").write_text(json.dumps(asked))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
