"""The outbox in SQL: messages that are still to be sent, a queue a target."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import msgspec
from sqlalchemy import Connection

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.queue import within
from splice.adapters.ledgers.queued import Held, New, Queued, Row, Taker
from splice.adapters.ledgers.tables import without_nul
from splice.core.events import Message
from splice.ports.events import Waiting

_PREFIX = "outbox:"
_OURS = "queue >= 'outbox:' AND queue < 'outbox;'"

_COUNT = f"SELECT count(*) FROM queued WHERE {_OURS} AND state < 4"  # noqa: S608
# From one queue to the next by the index, however many rows each has.
_QUEUES = """
WITH RECURSIVE names (name) AS (
    SELECT (SELECT queue FROM queued WHERE queue >= 'outbox:' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM queued WHERE queue > name ORDER BY queue LIMIT 1)
    FROM names WHERE name < 'outbox;')
SELECT name FROM names WHERE name < 'outbox;'
"""


class Kept(msgspec.Struct, array_like=True, gc=False):
    """A message as it is kept. The order is the format: add at the end only, with a default."""

    id: str
    target: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


def row_of(message: Message) -> New:
    """A message as it is put."""
    m = message
    body = _encode((m.id, m.target, m.key, m.value, m.headers))
    return New(_PREFIX + m.target, m.key, body)


def is_outbox(queue: str) -> bool:
    """Whether it is the queue of a target's messages."""
    return queue.startswith(_PREFIX)


class SqlOutbox:
    """An OutboxStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queued = Queued(database)

    def take_outbox(
        self,
        schemes: Sequence[str],
        limit: int,
        holder: str,
        *,
        now_us: int,
        lease_us: int,
        without: Sequence[str] = (),
    ) -> list[Waiting]:
        """The oldest messages that are due, in their order, leased to `holder`."""
        queued, wanted = self._queued, tuple(f"{_PREFIX}{scheme}:" for scheme in schemes)
        left_out = {_PREFIX + target for target in without}
        with self._database.read() as connection:
            names = [
                name for name in self._names(connection)
                if name.startswith(wanted) and name not in left_out
                and any(queued.look(connection, name, now_us))
            ]  # fmt: skip
        if not names:
            return []  # who finds nothing keeps no writer waiting
        by = Taker(without_nul(holder), now_us)
        with self._locked() as connection:
            picked: list[tuple[int, int]] = []
            for name in names:
                queued.wake(connection, name, now_us, limit)
                expired = queued.expired(connection, name, now_us, limit)
                if expired:
                    queued.free(connection, queued.held(connection, expired), 0, tried=True)
                picked += queued.pick(connection, name, limit, by).rows
            numbers = within(sorted(picked)[:limit])
            rows = queued.lease(connection, numbers, by, now_us + lease_us) if numbers else []
        return [_waiting(row) for row in rows]

    def sent(self, numbers: Sequence[int]) -> None:
        """They were delivered: forget them."""
        if numbers:
            with self._locked() as connection:
                self._queued.remove(connection, self._ours(connection, numbers))

    def postpone(self, number: int, *, due_us: int, why: str) -> None:
        """It was tried and could not be delivered; try again at `due_us`."""
        with self._locked() as connection:
            rows = [row for row in self._ours(connection, [number]) if row.leased]
            self._queued.free(connection, rows, due_us, tried=True)
            self._queued.explain(connection, number, why)

    def let_go(self, numbers: Sequence[int], *, due_us: int) -> None:
        """End their leases: they were not tried, and come again at `due_us`."""
        if numbers:
            with self._locked() as connection:
                rows = [row for row in self._ours(connection, numbers) if row.leased]
                self._queued.free(connection, rows, due_us, tried=False)

    def give_up(self, number: int, *, why: str) -> None:
        """It was tried and can never be delivered: it stays to be seen."""
        with self._locked() as connection:
            self._queued.give_up(connection, self._ours(connection, [number]))
            self._queued.explain(connection, number, why)

    def outbox(self, *, given_up: bool = False, after: int = 0, limit: int = 100) -> list[Waiting]:
        """Messages to be seen by people, the oldest first."""
        only = " AND state = 4" if given_up else ""
        query = self._database.sql(
            f"SELECT number FROM queued WHERE {_OURS} AND number > :after{only} "  # noqa: S608
            "ORDER BY number LIMIT :limit"
        )
        with self._database.read() as connection:
            params = {"after": after, "limit": limit}
            numbers = [n for (n,) in self._database.rows(connection, query, params, "v")]
            return [_waiting(row) for row in self._queued.read(connection, numbers)]

    def send_again(self, numbers: Sequence[int], *, now_us: int, by: str = "") -> int:
        """Messages that wait or were given up are due now, as if never tried; gives how many."""
        if not numbers:
            return 0
        with self._locked() as connection:
            rows = [row for row in self._ours(connection, numbers) if not row.leased]
            self._queued.renew(connection, rows, now_us)
            if by and rows:
                append_event(
                    self._database, connection, "message.send_again", "outbox", by=by,
                    now_us=now_us, details={"numbers": [row.number for row in rows]},
                    after={"due_us": now_us},
                )  # fmt: skip
        return len(rows)

    def outbox_size(self) -> int:
        """How many wait; those that were given up do not."""
        with self._database.read() as connection:
            return connection.exec_driver_sql(_COUNT).scalar_one()

    @contextmanager
    def _locked(self) -> Generator[Connection]:
        with self._database.write() as connection:
            self._queued.lock(connection, [_PREFIX])
            yield connection

    def _ours(self, connection: Connection, numbers: Sequence[int]) -> list[Held]:
        rows = self._queued.held(connection, numbers)
        return [row for row in rows if is_outbox(row.queue)]

    def _names(self, connection: Connection) -> list[str]:
        return [name for (name,) in self._database.rows(connection, _QUEUES, (), "v")]


def _waiting(row: Row) -> Waiting:
    kept = _decode(row.body)
    message = Message(kept.id, kept.target, kept.key, kept.value, kept.headers)
    due_us = 0 if row.given_up else max(1, row.due_us)  # 0 says that it was given up
    return Waiting(row.number, message, row.tried, due_us, row.why)
