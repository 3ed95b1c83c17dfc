"""A place outside the ledger for signed heads: whoever rewrites the ledger fails there."""

from __future__ import annotations

from typing import Protocol

from splice.core.heads import Note


class HeadPlace(Protocol):
    """Signed heads, added and never changed. Blocks."""

    @property
    def name(self) -> str:
        """Where it is, for people."""
        ...

    def newest(self) -> Note | None:
        """The last head that is there; None where there is none, or the place cannot be read.

        Raises:
            StoreError: It should be readable, and is not.
        """
        ...

    def add(self, notes: list[Note]) -> None:
        """Add heads, durable on return. One that is there already does no harm.

        Raises:
            StoreError: They may not be there.
        """
        ...
