"""Rollups of calls: what the inner floors need of their store. Blocks."""

from __future__ import annotations

from typing import Protocol


class RollupStore(Protocol):
    """Rollups of calls."""
