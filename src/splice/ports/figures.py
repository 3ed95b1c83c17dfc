"""Figures of recorded calls, reckoned where the records are. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from splice.core.figures import Figures


class Sought(msgspec.Struct, frozen=True):
    """Which calls: of an integration, of these releases, of one variant, asked since a moment."""

    integration: str
    releases: tuple[int, ...]
    variant: str
    since_us: int = 0


class FigureStore(Protocol):
    """Reckons figures of variants."""

    def figures(self, sought: Sought, outcomes: Sequence[str] = ()) -> Figures:
        """The figures of the calls sought, with the means of these outcomes."""
        ...
