"""Outbox tables: what the applications of users write, and a relay sends; `splice.outbox`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class OutboxRow(msgspec.Struct, frozen=True, gc=False):
    """One event, by the columns that Debezium's EventRouter reads.

    `payload` is None for a tombstone; `binary` says that its column holds bytes and not text.
    `headers` are those of the row, with the trace that made it. `at_us` is 0 where no column says
    when it was made.
    """

    id: str
    aggregatetype: str
    aggregateid: str
    type: str
    payload: bytes | None
    binary: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    at_us: int = 0


class Held(msgspec.Struct, frozen=True):
    """What is left where it is for now: whole types, and single aggregates of a type."""

    types: tuple[str, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()


class OutboxTable(Protocol):
    """One table, and the sole right to send what is in it. All block."""

    def take(self, limit: int, held: Held) -> list[OutboxRow] | None:
        """The first rows that were not sent, in their order; None while another relay is at it.

        Until `done` no other relay gets any. When this process dies, another may take over at once,
        and gets the same rows and those after them.

        Raises:
            StoreError: The database is away, or the table is not as it should be.
        """
        ...

    def done(self, sent: Sequence[OutboxRow]) -> None:
        """These were sent: they are deleted, or marked. The others stay; nothing is held any more.

        Raises:
            StoreError: They may come again.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
