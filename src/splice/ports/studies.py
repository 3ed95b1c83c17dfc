"""Studies of experiments: what the inner floors need of their store. Blocks."""

from __future__ import annotations

from typing import Protocol


class StudyStore(Protocol):
    """Studies of experiments."""
