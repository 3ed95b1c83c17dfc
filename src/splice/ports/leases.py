"""Leases: of several processes that could do a thing, one does it."""

from __future__ import annotations

from typing import Protocol


class LeaseStore(Protocol):
    """Named leases in the ledger. Blocks."""

    def take_lease(self, name: str, holder: str, now_us: int, lease_us: int) -> bool:
        """Take it, or keep it where `holder` has it already; False where another holds it."""
        ...

    def give_lease(self, name: str, holder: str) -> None:
        """Give it back before its time; nothing where another holds it."""
        ...
