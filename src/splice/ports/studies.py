"""Studies of experiments: what the inner floors need of their store. Blocks."""

from __future__ import annotations

from typing import Protocol

from splice.core.studies import Study


class StudyStore(Protocol):
    """Studies as they were last reckoned, and the units that they are reckoned from."""

    def studies(self, integration: str | None = None) -> list[Study]:
        """The latest state of every study, of one integration or all; running ones, then newest."""
        ...

    def study(self, key: str) -> Study | None:
        """The latest state of one study, or None."""
        ...
