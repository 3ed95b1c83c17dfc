"""Studies of experiments: what the inner floors need of their store. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from splice.core.kpis import Cell, Counting, Kpi
from splice.core.spans import Progress, Span, Tally, Touched, Unit
from splice.core.studies import Study


class StudyStore(Protocol):
    """Studies as they were last reckoned, and the units that they are reckoned from.

    A unit is counted anew as a whole, from its own calls and outcomes, whenever one of them is new:
    so it is right however often and by how many that is done.
    """

    def studies(self, integration: str | None = None) -> list[Study]:
        """The latest state of every study, of one integration or all; running ones, then newest."""
        ...

    def study(self, key: str) -> Study | None:
        """The latest state of one study, or None."""
        ...

    def moved_us(self, integration: str) -> int:
        """When the newest call was asked that was moved out of the ledger, into files; 0 if none.

        Units and cells from before cannot be counted anew.
        """
        ...

    def put_study(self, study: Study) -> None:
        """Store the state of a study in place of the one before; its progress is there already."""
        ...

    def progress(self, span: Span) -> Progress:
        """How far a span was looked at; noted as begun where it is new."""
        ...

    def touched(self, span: Span, progress: Progress, now_us: int, limit: int) -> Touched:
        """Units with calls or outcomes that are new, or that became mature, since then.

        At most about `limit` calls and outcomes are looked at. Calls that were asked less than
        `span.lag_us` ago are looked at again the next time.
        """
        ...

    def counted(self, span: Span, units: Sequence[str], now_us: int) -> list[Unit]:
        """These units as they are now; those without calls in the span are left out."""
        ...

    def keep(self, span: Span, units: Sequence[Unit], progress: Progress) -> Progress | None:
        """Store units and progress in one transaction; the progress with its new revision.

        None where somebody else changed it since it was read: then nothing is stored.
        """
        ...

    def tally(self, span: Span) -> Tally:
        """All units of a span in sums."""
        ...

    def counting(self, kpi: Kpi) -> Counting:
        """How far a figure is counted; noted as begun where it is new."""
        ...

    def soiled(self, kpi: Kpi, counting: Counting, now_us: int, limit: int) -> Counting:
        """The same, with the cells that have something new: mature calls, or outcomes of such.

        At most `limit` outcomes are looked at.
        """
        ...

    def cell(self, kpi: Kpi, start_s: int, now_us: int) -> Cell:
        """A cell as it is now, counted from its calls."""
        ...

    def keep_cells(self, kpi: Kpi, cells: Sequence[Cell], counting: Counting) -> Counting | None:
        """Store cells and how far they are, in one transaction.

        None where somebody else changed that since it was read: then nothing is stored.
        """
        ...

    def cells(self, kpi: Kpi, since_s: int, until_s: int) -> list[Cell]:
        """Stored cells that start in a half-open stretch of time (Unix seconds), oldest first."""
        ...
