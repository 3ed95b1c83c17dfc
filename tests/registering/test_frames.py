"""Estimators trained on pandas' frames, with the pandas of MLflow's environment after our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow_house import PYTHON

CODE = """
import json, sys
sys.path += [sys.argv[1]]
given = json.loads(sys.stdin.read())
import numpy as np, pandas
import lightgbm, xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
import splice

frame = pandas.DataFrame(given["rows"])
frame["purpose"] = frame["purpose"].astype("category")
labels, numbers, texts = given["labels"], given["numbers"], given["texts"]
columns = lambda: ColumnTransformer(
    [("n", StandardScaler(), numbers), ("t", OneHotEncoder(handle_unknown="ignore"), texts)])
codes = np.array([one == "repaid" for one in labels]).astype(int)
cases = {
    "pipeline": (make_pipeline(columns(), LogisticRegression(max_iter=1000)), frame, labels, frame),
    "boosted": (make_pipeline(columns(), GradientBoostingClassifier(n_estimators=10)), frame,
                labels, frame),
    "lightgbm-in-pipeline": (make_pipeline(columns(), lightgbm.LGBMClassifier(
        n_estimators=10, verbose=-1)), frame, labels, frame),
    "dicts": (make_pipeline(columns(), LogisticRegression(max_iter=1000)), frame, labels,
              given["rows"]),
    "lightgbm": (lightgbm.LGBMClassifier(n_estimators=10, verbose=-1), frame[numbers], labels,
                 frame[numbers]),
    "xgboost": (xgboost.XGBClassifier(n_estimators=10), frame[numbers], codes, frame[numbers]),
    "regressor": (make_pipeline(StandardScaler(), LogisticRegression()), frame[numbers], labels,
                  frame[numbers]),
}
told = {}
for name, (estimator, x, y, example) in cases.items():
    version = splice.register(name, estimator.fit(x, y), example=example, project=given["project"])
    told[name] = [version.lineage.parity.rows, version.lineage.parity.labels_differ,
                  version.lineage.parity.max_difference,
                  len(version.signature.inputs), list(version.signature.features)]
print(json.dumps(told))
"""


@pytest.mark.mlflow
@pytest.mark.usefixtures("mlflow_url")  # its environment has pandas; ours has not
def test_what_was_trained_on_frames_is_converted(credit: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "splice.toml").write_text("")
    (packages,) = PYTHON.parents[1].glob("lib/python*/site-packages")
    given = {
        "rows": credit.rows, "labels": credit.labels.tolist(), "numbers": credit.numbers,
        "texts": credit.texts, "project": str(tmp_path),
    }  # fmt: skip

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, packages],
        input=json.dumps(given), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    named, one_matrix = len(credit.rows[0]), credit.numbers
    for name, (rows, differ, off, inputs, features) in told.items():
        assert (rows, differ) == (1500, 0), name
        assert off < 1e-4, name
        mixed = name in ("pipeline", "boosted", "lightgbm-in-pipeline", "dicts")
        assert (inputs, features) == ((named, []) if mixed else (1, one_matrix)), name
