"""Embedded queues in SQL."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.queued import Held, New, Queued, Row, Taker
from splice.adapters.ledgers.tables import without_nul
from splice.core.events import Event, Headers, Origin

_MOST_BYTES = 16 * 1024 * 1024  # of bodies that are taken at once; one alone may have more
_CLOCK_US = 1_000_000


class Body(msgspec.Struct, array_like=True, gc=False):
    """An event as it is kept. The order is the format: add at the end only, with a default."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    at_us: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Body).decode


def stream_of(queue: str) -> str:
    """The URL of a queue, by which its rows are kept."""
    return f"queue:{queue}"


def row_of(
    stream: str, key: bytes | None, value: bytes | None, headers: Headers, at_us: int
) -> New:
    """An event as it is put."""
    return New(stream, key, _encode((key, value, headers, at_us)))


class SqlQueue:
    """A QueueStore in SQL: first in, first out a key, see queued.py."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queued = Queued(database)
        self._plenty: set[str] = set()  # of these the last take was full
        self._ends: dict[str, int] = {}  # of the last lease of each
        self._ending = threading.Lock()

    def put(self, queue: str, events: Sequence[Event], *, now_us: int) -> list[int]:
        """Store events, durable on return; gives their numbers."""
        if not events:
            return []
        stream = stream_of(queue)
        with self._database.place.errors():
            rows = [row_of(stream, e.key, e.value, e.headers, e.at_us or now_us) for e in events]
        with self._database.write() as connection:
            self._queued.lock(connection, [stream])
            return self._queued.put(connection, rows, now_us)

    def take(
        self, queue: str, limit: int, holder: str, *, now_us: int, lease_us: int
    ) -> list[Event]:
        """Lease the oldest that are due; one alone whose lease ran out."""
        stream, queued = stream_of(queue), self._queued
        by, until_us = Taker(without_nul(holder), now_us), self._end(stream, now_us + lease_us)
        rows: list[Row] = []
        if stream in self._plenty:
            rows = queued.take(stream, limit, by, until_us, _MOST_BYTES)
        whole = False
        while not (rows or whole):
            with self._database.read() as connection:
                if not any(queued.look(connection, stream, now_us)):
                    break  # who finds nothing keeps no writer waiting
            with self._database.write() as connection:
                queued.lock(connection, [stream])
                look = queued.look(connection, stream, now_us)
                suspect = queued.suspect(connection, stream, now_us) if look.expired else None
                if suspect is not None:
                    numbers = [suspect]
                else:
                    if look.due:
                        queued.wake(connection, stream, now_us, limit)
                    picked, whole = queued.pick(connection, stream, limit, by)
                    numbers = within(picked)
                if numbers:
                    rows = queued.lease(connection, numbers, by, until_us)
        (self._plenty.add if len(rows) == limit else self._plenty.discard)(stream)
        events: list[Event] = []
        for row in rows:
            body = _decode(row.body)
            origin = Origin(stream, 0, row.number)
            events.append(
                Event(
                    origin, body.key, body.value, body.headers, body.at_us, row.tried, row.token
                )
            )  # fmt: skip
        return events

    def extend(self, queue: str, events: Sequence[Event], *, until_us: int) -> list[Event]:
        """Hold them longer. Gives those whose lease has passed to another meanwhile."""
        if not events:
            return []
        stream = stream_of(queue)
        with self._database.write() as connection:
            self._queued.lock(connection, [stream])
            held = self._ours(connection, events)
            self._queued.extend(connection, held, self._end(stream, until_us))
        ours = {(row.number, row.token) for row in held}
        return [event for event in events if (event.origin.offset, event.token) not in ours]

    def give_back(self, queue: str, events: Sequence[Event], *, due_us: int, tried: bool) -> None:
        """End their leases; they come again at `due_us`."""
        if not events:
            return
        with self._database.write() as connection:
            self._queued.lock(connection, [stream_of(queue)])
            self._queued.free(connection, self._ours(connection, events), due_us, tried=tried)

    def depth(self, queue: str) -> int:
        """How many are stored, leased or not."""
        count = self._database.sql("SELECT count(*) FROM queued WHERE queue = :queue")
        with self._database.read() as connection:
            return connection.exec_driver_sql(count, {"queue": stream_of(queue)}).scalar_one()

    def _end(self, stream: str, until_us: int) -> int:
        """When a lease ends: no two of this process at the same time, rows are found by it."""
        with self._ending:
            last_us = self._ends.get(stream, 0)
            if until_us > last_us - _CLOCK_US:  # else the clock was put back
                until_us = max(until_us, last_us + 1)
            self._ends[stream] = until_us
        return until_us

    def _ours(self, connection: Connection, events: Sequence[Event]) -> list[Held]:
        leases = [(event.origin.offset, event.token) for event in events]
        return still_held(self._queued.held(connection, [number for number, _ in leases]), leases)


def still_held(rows: Sequence[Held], leases: Iterable[tuple[int, int]]) -> list[Held]:
    """Those of the rows that are leased by one of these numbers and tokens."""
    known = frozenset(leases)
    return [row for row in rows if row.leased and (row.number, row.token) in known]


def within(picked: Sequence[tuple[int, int]]) -> list[int]:
    """Numbers of those whose bodies are not too much for one take."""
    numbers: list[int] = []
    total = 0
    for number, size in picked:
        total += size
        if numbers and total > _MOST_BYTES:
            break
        numbers.append(number)
    return numbers
