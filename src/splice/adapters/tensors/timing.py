"""How long one row takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_seconds(ask: Callable[[], object]) -> float:
    """The least of three runs after a first; 0 where it fails, which the first call will tell."""
    best = 0.0
    for turn in range(4):
        started = time.perf_counter()
        try:
            ask()
        except Exception:  # noqa: BLE001 - a row of zeros need not suit a model
            return 0.0
        took = time.perf_counter() - started
        best = took if turn < 2 else min(best, took)
    return best
