"""Value: where the objective's figure stands, and the money that an integration moved."""

from __future__ import annotations

from typing import Protocol

from splice.core.release import Release
from splice.core.rollups import Window
from splice.core.studies import Worth
from splice.ports.rollups import RollupStore
from splice.ports.stores import ReleaseStore
from splice.ports.studies import StudyStore


class Ledger(Protocol):
    """The stores that value is read from; `app.wiring.Stores` and `Services.stores` are such."""

    @property
    def releases(self) -> ReleaseStore:
        """Releases."""
        ...

    @property
    def studies(self) -> StudyStore:
        """Studies."""
        ...

    @property
    def rollups(self) -> RollupStore:
        """Rollups, for what the calls cost."""
        ...


def worth(ledger: Ledger, live: Release, window: Window, currency: str) -> Worth:
    """What an integration is worth in a window, from stored studies and rollups: reads little.

    Args:
        ledger: What is known.
        live: The release that answers now: its objective counts.
        window: Which calls.
        currency: Of the account, which costs are in.
    """
    raise NotImplementedError
