"""Rows that wait in queues, first in, first out a key: embedded queues, and the outbox.

Rows of one key are a lane. A row is `_FREE`, `_LEASED` (until `when_us`) or `_WAITS` (until
`when_us`); one that is found behind a row of its lane that is leased or waits is put `_BEHIND`, out
of the way of those that look for free ones, so that a key that is stuck is passed over once and not
again and again. It is free again when what it waited for has gone. A row `_GIVEN_UP` is in no lane.

Only rows that were ever touched are found by their lane (`held`): this index is as large as what is
in flight, and not as what waits. `due_us` is for people to see.

All of this runs within a transaction that has locked the queue; only `take` is one by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from splice.adapters.ledgers import queued_sql as sql
from splice.adapters.ledgers.database import Database, Into
from splice.adapters.ledgers.tables import without_nul

_FREE, _LEASED, _WAITS, _BEHIND, _GIVEN_UP = range(5)

_ROWS = Into(
    "queued",
    (("number", "bigint"), ("queue", "text"), ("lane", "bigint"), ("state", "smallint"),
     ("size", "bigint"), ("due_us", "bigint")),
)  # fmt: skip
_BODIES = Into("queued_bodies", (("number", "bigint"), ("body", "bytea")))

_MOST_LOOKED_AT = 20_000  # rows in one transaction, which others wait for


class New(NamedTuple):
    """A row that is to be put in a queue."""

    queue: str
    key: bytes | None
    body: bytes


class Held(NamedTuple):
    """What is known of a row that somebody says he holds."""

    number: int
    queue: str
    state: int
    token: int
    lane: int | None

    @property
    def leased(self) -> bool:
        """Whether anybody holds it."""
        return self.state == _LEASED


class Row(NamedTuple):
    """A row and its body; `attempts` counts the one it was leased for."""

    number: int
    queue: str
    attempts: int
    token: int
    due_us: int
    why: str
    state: int
    body: bytes

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again."""
        return self.state == _GIVEN_UP

    @property
    def tried(self) -> int:
        """How often it was tried before the lease that it is in."""
        return self.attempts - (self.state == _LEASED)


class Taker(NamedTuple):
    """Who takes, and when: what he holds himself is in nobody's way of his."""

    holder: str
    now_us: int


class Look(NamedTuple):
    """What is in a queue: rows that are free, whose leases ran out, whose time has come."""

    free: bool
    expired: bool
    due: bool


class Picked(NamedTuple):
    """Numbers and sizes; not `whole` where there was no time to look at all rows."""

    rows: list[tuple[int, int]]
    whole: bool


def _lane(queue: str, key: bytes | None) -> int | None:
    """The lane of a key: two keys that share one by chance wait for each other, and no more."""
    if key is None:
        return None
    name = hashlib.blake2b(queue.encode("utf-8", "surrogatepass") + b"\0" + key, digest_size=8)
    return int.from_bytes(name.digest(), signed=True)


class Queued:
    """The rows of all queues of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._text = cache(database.sql)

    def lock(self, connection: Connection, queues: Iterable[str]) -> None:
        """Until the transaction ends, nobody else changes these; the outbox is one of them."""
        names = {queue.partition(":")[0] if queue[:7] == "outbox:" else queue for queue in queues}
        for name in sorted(names):
            self._database.lock(connection, name)

    def put(self, connection: Connection, rows: Sequence[New], now_us: int) -> list[int]:
        """Add rows behind those that are there; gives their numbers."""
        numbers = self._database.numbers(connection, len(rows))
        values: list[Any] = []
        bodies: list[Any] = []
        for number, (queue, key, body) in zip(numbers, rows, strict=True):
            values += (number, queue, _lane(queue, key), _FREE, len(body), now_us)
            bodies += (number, body)
        self._database.insert_rows(connection, _ROWS, values)
        self._database.insert_rows(connection, _BODIES, bodies)
        return numbers

    def take(self, queue: str, limit: int, by: Taker, until_us: int, most_bytes: int) -> list[Row]:
        """Lease the oldest that are free, where that is all there is to do; else nothing.

        One statement, so that others wait for it no longer than they must: they need not wait for
        its rows to be read. These are found by when their leases end, as no other of the holder's.
        """
        params = {
            "queue": queue, "holder": by.holder, "now": by.now_us, "until": until_us,
            "after": 0, "limit": limit, "most": most_bytes,
        }  # fmt: skip
        database = self._database
        if not database.alone(queue, self._text(sql.TAKE), params):
            return []
        params = {"queue": queue, "until": until_us, "holder": by.holder}
        with database.read() as connection:
            rows = database.rows(connection, self._text(sql.TAKEN), params, "vvvvvvvb")
        return sorted(Row(*row) for row in rows)

    def look(self, connection: Connection, queue: str, now_us: int) -> Look:
        """What there is to be taken."""
        ((free, expired, due),) = self._rows(connection, sql.LOOK, "vvv", queue=queue, now=now_us)
        return Look(bool(free), bool(expired), bool(due))

    def suspect(self, connection: Connection, queue: str, now_us: int) -> int | None:
        """The first row whose lease ran out, and that waits for no other.

        Leases of those behind it end, for its holder may live: they must not overtake it.
        """
        found = self._rows(connection, sql.SUSPECT, "v", queue=queue, now=now_us)
        if not found:
            return None
        number: int = found[0][0]
        self._run(connection, sql.FENCE, number=number, now=now_us)
        return number

    def expired(self, connection: Connection, queue: str, now_us: int, limit: int) -> list[int]:
        """Rows whose leases ran out."""
        rows = self._rows(connection, sql.EXPIRED, "v", queue=queue, now=now_us, limit=limit)
        return [number for (number,) in rows]

    def wake(self, connection: Connection, queue: str, now_us: int, limit: int) -> None:
        """Rows whose time has come are free."""
        self._run(connection, sql.WAKE, queue=queue, now=now_us, limit=limit)

    def pick(self, connection: Connection, queue: str, limit: int, by: Taker) -> Picked:
        """Rows that may be taken now, in their order; those that may not are put aside."""
        picked: list[tuple[int, int]] = []
        after, looked_at, step = 0, 0, limit
        while True:
            rows = self._rows(
                connection, sql.FREE_ROWS, "vvv", queue=queue, holder=by.holder, now=by.now_us,
                after=after, limit=step,
            )  # fmt: skip
            picked += sorted((number, size) for number, size, behind in rows if not behind)
            if behind := [number for number, _, behind in rows if behind]:
                self._run(connection, sql.PARK, numbers=self._database.ints(behind))
            looked_at += len(rows)
            if len(rows) < step or len(picked) >= limit:
                return Picked(picked[:limit], whole=True)
            if looked_at >= _MOST_LOOKED_AT:
                return Picked(picked, whole=bool(picked))
            after, step = max(row[0] for row in rows), min(step * 4, 5000)

    def lease(
        self, connection: Connection, numbers: Sequence[int], by: Taker, until_us: int
    ) -> list[Row]:
        """Give them to a holder, their attempts counted; in the order of their numbers."""
        wanted = self._database.ints(numbers)
        self._run(connection, sql.LEASE, numbers=wanted, holder=by.holder, until=until_us)
        return self.read(connection, numbers)

    def read(self, connection: Connection, numbers: Sequence[int]) -> list[Row]:
        """Rows with their bodies, by number."""
        wanted = self._database.ints(numbers)
        rows = self._rows(connection, sql.READ, "vvvvvvvb", numbers=wanted)
        return sorted(Row(*row) for row in rows)

    def held(self, connection: Connection, numbers: Sequence[int]) -> list[Held]:
        """Those of them that are there."""
        wanted = self._database.ints(numbers)
        return [Held(*row) for row in self._rows(connection, sql.HELD, "vvvvv", numbers=wanted)]

    def extend(self, connection: Connection, rows: Sequence[Held], until_us: int) -> None:
        """Leases of rows end later."""
        self._run(connection, sql.EXTEND, numbers=self._numbers(rows), until=until_us)

    def free(
        self, connection: Connection, rows: Sequence[Held], due_us: int, *, tried: bool
    ) -> None:
        """End the leases of rows; they may be taken again from `due_us` on."""
        numbers, untried = self._numbers(rows), 0 if tried else 1
        self._run(connection, sql.FREED, numbers=numbers, due=due_us, untried=untried)
        self._give_way(connection, rows)

    def remove(self, connection: Connection, rows: Sequence[Held]) -> None:
        """Delete rows; those behind them are free."""
        self._delete(connection, self._numbers(rows))
        self._give_way(connection, rows)

    def settle(self, connection: Connection, queue: str, leases: Iterable[tuple[int, int]]) -> bool:
        """Delete rows leased by these numbers and tokens; those behind them are free.

        False where one of them is not leased so: the transaction must be undone.
        """
        numbers_of: dict[int, list[int]] = {}
        for number, token in set(leases):
            numbers_of.setdefault(token, []).append(number)
        for token, numbers in numbers_of.items():
            wanted = self._database.ints(numbers)
            ((leased, any_behind),) = self._rows(
                connection, sql.LEASED, "vv", queue=queue, numbers=wanted, token=token
            )
            if leased != len(numbers):
                return False
            if any_behind:
                self.remove(connection, self.held(connection, numbers))
            else:
                self._delete(connection, wanted)
        return True

    def give_up(self, connection: Connection, rows: Sequence[Held]) -> None:
        """Rows stay where they are, and nobody waits for them."""
        self._run(connection, sql.GIVE_UP, numbers=self._numbers(rows))
        self._give_way(connection, rows)

    def renew(self, connection: Connection, rows: Sequence[Held], now_us: int) -> None:
        """Rows that nobody holds are as if never tried; one that was given up is in its lane."""
        self._run(connection, sql.RENEW, numbers=self._numbers(rows), now=now_us)

    def explain(self, connection: Connection, number: int, why: str) -> None:
        """Note for people what went wrong with a row."""
        self._run(connection, sql.EXPLAIN, number=number, why=without_nul(why))

    def _run(self, connection: Connection, text: str, **params: Any) -> None:  # as the driver takes
        self._database.run(connection, self._text(text), params)

    def _rows(
        self, connection: Connection, text: str, kinds: str, **params: Any
    ) -> Sequence[Sequence[Any]]:
        return self._database.rows(connection, self._text(text), params, kinds)

    def _numbers(self, rows: Sequence[Held]) -> Any:  # the driver's own type
        return self._database.ints([row.number for row in rows])

    def _delete(self, connection: Connection, numbers: Any) -> None:
        for text in sql.DELETES:
            self._run(connection, text, numbers=numbers)

    def _give_way(self, connection: Connection, rows: Sequence[Held]) -> None:
        lanes = {row.lane for row in rows if row.lane is not None}
        if not lanes:
            return
        wanted = self._database.ints(sorted(lanes))
        if opened := self._rows(connection, sql.OPEN, "v", lanes=wanted):
            wanted = self._database.ints([lane for (lane,) in opened])
            self._run(connection, sql.UNPARK, lanes=wanted)
