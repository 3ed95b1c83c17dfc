"""The model as each peer's server runs it: onnxruntime, one thread, the file in the directory."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class OnnxModel:
    """The session of `model.onnx` in the working directory."""

    def __init__(self, path: str = "model.onnx") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._run = session.run

    def probability(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of the second class, shape (n,), for features of shape (n, 30)."""
        (probabilities,) = self._run(["probabilities"], {"features": features})
        positive: NDArray[np.float32] = probabilities[:, 1]
        return positive

    def one(self, row: list[float]) -> float:
        """The probability for one row of 30 numbers."""
        return float(self.probability(np.array((row,), dtype=np.float32))[0])
