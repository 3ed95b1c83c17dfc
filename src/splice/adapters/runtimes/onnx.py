"""ONNX models by onnxruntime, in this process.

The library and numpy are imported with the first model, which takes 0.15 s: commands that read
none, and projects that have none, do not wait for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from splice.core.release import Signature

if TYPE_CHECKING:
    from splice.adapters.runtimes.onnx_model import OnnxModel

for _library in ("numpy", "onnxruntime"):
    if importlib.util.find_spec(_library) is None:
        raise ModuleNotFoundError(f"No module named {_library!r}", name=_library)


class OnnxRuntime:
    """A ModelRuntime for ONNX files. Model files run no code: ONNX holds a graph of known nodes."""

    def inspect(self, file: Path) -> Signature:
        """What a file's model reads and gives."""
        from splice.adapters.runtimes import onnx_model

        return onnx_model.inspect(file)

    def load(self, file: Path, features: Sequence[str] = (), *, threads: int = 1) -> OnnxModel:
        """The model, warmed up. `features` names the columns of a single matrix input."""
        from splice.adapters.runtimes import onnx_model

        return onnx_model.load(file, features, threads)
