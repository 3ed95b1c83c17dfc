"""A spool keeps records aside, durably, while the ledger cannot take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from splice.core.call import Record


class Spool(Protocol):
    """First in, first out, in batches; survives the process."""

    def save(self, records: Sequence[Record]) -> None:
        """Keep a batch, durable on return.

        Raises:
            StoreError: It cannot be kept here either; the caller still has it.
        """
        ...

    def oldest(self) -> tuple[str, list[Record]] | None:
        """The oldest batch with its token, or None where nothing is kept."""
        ...

    def discard(self, token: str) -> None:
        """Forget a batch: the ledger has it now."""
        ...

    def reject(self, record: Record, why: str) -> None:
        """Set aside a record that the ledger refuses by itself, for a person to look at."""
        ...

    def __len__(self) -> int:
        """How many batches are kept."""
        ...
