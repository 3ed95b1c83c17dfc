"""The open protocols beside our own paths: which surface answers which of their paths."""

from __future__ import annotations

import msgspec

from splice.serve.oip.calls import ReadyDesk
from splice.serve.oip.inference import RowLimits
from splice.serve.oip.surface import OipSurface
from splice.serve.sagemaker.surface import PATHS, SageMakerSurface
from splice.serve.wire import Surface


class OpenLimits(msgspec.Struct, frozen=True):
    """Bounds of rows, and the integration that SageMaker asks; empty for the only one."""

    rows: RowLimits = RowLimits()
    sagemaker: str = ""


class OpenProtocols:
    """The Open Inference Protocol at `/v2`, and SageMaker's two paths.

    Args:
        desk: The process behind them.
        limits: Bounds on a request.
        body_bytes: Longest body of one.
    """

    def __init__(self, desk: ReadyDesk, limits: OpenLimits, body_bytes: int) -> None:
        self.body_bytes = body_bytes
        self._oip = OipSurface(desk, limits.rows)
        self._sagemaker = SageMakerSurface(desk, limits.sagemaker, limits.rows)

    def surface(self, path: str) -> Surface | None:
        """The surface that answers a path; None where neither does."""
        if path.startswith("/v2") and (len(path) == 3 or path[3] == "/"):
            return self._oip
        return self._sagemaker if path in PATHS else None

    def has(self, surface: Surface) -> bool:
        """Whether a surface is one of these."""
        return surface is self._oip or surface is self._sagemaker
