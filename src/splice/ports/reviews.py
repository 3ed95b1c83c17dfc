"""Calls that a person must look at, and what was decided."""

from __future__ import annotations

from typing import Protocol


class ReviewStore(Protocol):
    """Calls that a person must look at, and what was decided. Blocks."""
