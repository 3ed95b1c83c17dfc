"""Labels, outcomes joined with predictions: what is needed of their store. Blocks."""

from __future__ import annotations

from typing import Protocol


class LabelStore(Protocol):
    """Labels, which are outcomes joined with predictions."""
