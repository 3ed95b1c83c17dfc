"""Rows that wait in queues, first in, first out a key: embedded queues, and the outbox.

Rows of one key are a lane. A row is `_FREE`, `_LEASED` (until `when_us`) or `_WAITS` (until
`when_us`); one that is found behind a row of its lane that is leased or waits is put `_BEHIND`, out
of the way of those that look for free ones, so that a key that is stuck is passed over once and not
again and again. It is free again when what it waited for has gone. A row `_GIVEN_UP` is in no lane.

Only rows that were ever touched are found by their lane (`held`): this index is as large as what is
in flight, and not as what waits. `due_us` is for people to see.

All of this runs within a transaction that has locked the queue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

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

# `when_us` of a free row is 0. It is asked for so, and sorted by, that PostgreSQL takes the index
# by state: by stale statistics it would rather go through all rows by their numbers.
_ANY = """
SELECT coalesce(
    (SELECT 1 FROM queued WHERE queue = :queue AND state = 0 AND when_us < 1
     ORDER BY when_us LIMIT 1),
    (SELECT 1 FROM queued WHERE queue = :queue AND state = 1 AND when_us <= :now
     ORDER BY when_us LIMIT 1),
    (SELECT 1 FROM queued WHERE queue = :queue AND state = 2 AND when_us <= :now
     ORDER BY when_us LIMIT 1), 0)
"""
_WAKE = """
UPDATE queued SET state = 0, when_us = 0 WHERE number IN (
    SELECT number FROM queued WHERE queue = :queue AND state = 2 AND when_us <= :now
    ORDER BY when_us LIMIT :limit)
"""
_SUSPECT = """
SELECT number FROM queued s WHERE queue = :queue AND state = 1 AND when_us <= :now
AND NOT EXISTS (SELECT 1 FROM queued e WHERE e.held = s.held AND e.number < s.number)
ORDER BY when_us, number LIMIT 1
"""
_FENCE = """
UPDATE queued SET token = token + 1, when_us = :now WHERE state = 1 AND number > :number
AND held = (SELECT held FROM queued WHERE number = :number)
"""
_EXPIRED = """
SELECT number FROM queued WHERE queue = :queue AND state = 1 AND when_us <= :now
ORDER BY when_us LIMIT :limit
"""
_FREE_ROWS = """
SELECT number, lane, size FROM queued
WHERE queue = :queue AND state = 0 AND when_us < 1 AND number > :after
ORDER BY when_us, number LIMIT :limit
"""
# Of each lane the first row that is in the way of those behind it.
_IN_THE_WAY = """
SELECT value, first FROM (
    SELECT l.value AS value, (
        SELECT q.number FROM queued q WHERE q.held = l.value AND (
            q.state IN (2, 3) OR q.state = 1 AND (q.holder <> :holder OR q.when_us <= :now))
        ORDER BY q.number LIMIT 1) AS first
    FROM each(:lanes) l) found
WHERE first IS NOT NULL
"""
_PARK = """
UPDATE queued SET state = 3, held = lane WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_LEASE = """
UPDATE queued SET state = 1, when_us = :until, held = lane, holder = :holder,
    attempts = attempts + 1, token = token + 1
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_READ = """
SELECT q.number, q.queue, q.attempts, q.token, q.due_us, q.why, q.state, b.body
FROM queued q JOIN queued_bodies b ON b.number = q.number
WHERE q.number IN (SELECT n.value FROM each(:numbers) n)
"""
_HELD = """
SELECT number, queue, state, token, lane FROM queued
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_EXTEND = """
UPDATE queued SET when_us = :until WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_FREED = """
UPDATE queued SET state = CASE WHEN CAST(:due AS BIGINT) > 0 THEN 2 ELSE 0 END,
    when_us = :due, due_us = :due, attempts = attempts - :untried
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_GIVE_UP = """
UPDATE queued SET state = 4, held = NULL, when_us = 0, due_us = 0
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_RENEW = """
UPDATE queued SET state = 0, held = lane, when_us = 0, due_us = :now, attempts = 0
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_DELETE = "DELETE FROM {table} WHERE number IN (SELECT n.value FROM each(:numbers) n)"
# Lanes in which rows are put behind, and nothing is left for which they wait.
_OPEN = """
SELECT l.value FROM each(:lanes) l WHERE 3 = (
    SELECT q.state FROM queued q WHERE q.held = l.value AND q.state > 0
    ORDER BY q.number LIMIT 1)
"""
_UNPARK = """
UPDATE queued SET state = 0 WHERE number IN (
    SELECT q.number FROM each(:lanes) l JOIN queued q ON q.held = l.value
    WHERE q.state = 3 AND q.number <= coalesce((
        SELECT m.number FROM queued m WHERE m.held = l.value AND m.state = 3
        ORDER BY m.number LIMIT 1 OFFSET 255), 9223372036854775807))
"""


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
        sql = database.sql
        self._any, self._wake, self._suspect = sql(_ANY), sql(_WAKE), sql(_SUSPECT)
        self._expired, self._park = sql(_EXPIRED), sql(_PARK)
        self._free_rows, self._in_the_way = sql(_FREE_ROWS), sql(_IN_THE_WAY)
        self._lease, self._read, self._held = sql(_LEASE), sql(_READ), sql(_HELD)
        self._extend, self._freed = sql(_EXTEND), sql(_FREED)
        self._open, self._unpark = sql(_OPEN), sql(_UNPARK)
        self._deletes = [sql(_DELETE.format(table=into.table)) for into in (_ROWS, _BODIES)]

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

    def any(self, connection: Connection, queue: str, now_us: int) -> bool:
        """Whether it is worth a transaction to look for rows that may be taken."""
        params = {"queue": queue, "now": now_us}
        ((found,),) = self._database.rows(connection, self._any, params, "v")
        return bool(found)

    def suspect(self, connection: Connection, queue: str, now_us: int) -> int | None:
        """The first row whose lease ran out, and that waits for no other.

        Leases of those behind it end, for its holder may live: they must not overtake it.
        """
        params = {"queue": queue, "now": now_us}
        found = self._database.rows(connection, self._suspect, params, "v")
        if not found:
            return None
        number: int = found[0][0]
        text = self._database.sql(_FENCE)
        self._database.run(connection, text, {"number": number, "now": now_us})
        return number

    def expired(self, connection: Connection, queue: str, now_us: int, limit: int) -> list[int]:
        """Rows whose leases ran out."""
        params = {"queue": queue, "now": now_us, "limit": limit}
        rows = self._database.rows(connection, self._expired, params, "v")
        return [number for (number,) in rows]

    def pick(self, connection: Connection, queue: str, limit: int, by: Taker) -> Picked:
        """Rows that may be taken now, in their order; those that may not are put aside."""
        params = {"queue": queue, "now": by.now_us, "limit": limit}
        self._database.run(connection, self._wake, params)
        picked: list[tuple[int, int]] = []
        after, looked_at, step = 0, 0, limit
        while True:
            params = {"queue": queue, "after": after, "limit": step}
            rows = self._database.rows(connection, self._free_rows, params, "vvv")
            first = self._first_in_the_way(connection, {row[1] for row in rows}, by)
            if first:
                behind = [n for n, lane, _ in rows if lane in first and first[lane] < n]
                params = {"numbers": self._database.ints(behind)}
                self._database.run(connection, self._park, params)
            picked += sorted(
                (n, size) for n, lane, size in rows if lane not in first or n < first[lane]
            )
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
        params = {"numbers": wanted, "holder": by.holder, "until": until_us}
        self._database.run(connection, self._lease, params)
        return self.read(connection, numbers)

    def read(self, connection: Connection, numbers: Sequence[int]) -> list[Row]:
        """Rows with their bodies, by number."""
        params = {"numbers": self._database.ints(numbers)}
        rows = self._database.rows(connection, self._read, params, "vvvvvvvb")
        return sorted(Row(*row) for row in rows)

    def held(self, connection: Connection, numbers: Sequence[int]) -> list[Held]:
        """Those of them that are there."""
        params = {"numbers": self._database.ints(numbers)}
        rows = self._database.rows(connection, self._held, params, "vvvvv")
        return [Held(*row) for row in rows]

    def extend(self, connection: Connection, rows: Sequence[Held], until_us: int) -> None:
        """Leases of rows end later."""
        params = {"numbers": self._numbers(rows), "until": until_us}
        self._database.run(connection, self._extend, params)

    def free(
        self, connection: Connection, rows: Sequence[Held], due_us: int, *, tried: bool
    ) -> None:
        """End the leases of rows; they may be taken again from `due_us` on."""
        params = {"numbers": self._numbers(rows), "due": due_us, "untried": 0 if tried else 1}
        self._database.run(connection, self._freed, params)
        self._give_way(connection, rows)

    def remove(self, connection: Connection, rows: Sequence[Held]) -> None:
        """Delete rows; those behind them are free."""
        params = {"numbers": self._numbers(rows)}
        for delete in self._deletes:
            self._database.run(connection, delete, params)
        self._give_way(connection, rows)

    def give_up(self, connection: Connection, rows: Sequence[Held]) -> None:
        """Rows stay where they are, and nobody waits for them."""
        text = self._database.sql(_GIVE_UP)
        self._database.run(connection, text, {"numbers": self._numbers(rows)})
        self._give_way(connection, rows)

    def renew(self, connection: Connection, rows: Sequence[Held], now_us: int) -> None:
        """Rows that nobody holds are as if never tried; one that was given up is in its lane."""
        text = self._database.sql(_RENEW)
        self._database.run(connection, text, {"numbers": self._numbers(rows), "now": now_us})

    def explain(self, connection: Connection, number: int, why: str) -> None:
        """Note for people what went wrong with a row."""
        text = self._database.sql("UPDATE queued SET why = :why WHERE number = :number")
        self._database.run(connection, text, {"number": number, "why": without_nul(why)})

    def _numbers(self, rows: Sequence[Held]) -> Any:  # the driver's own type
        return self._database.ints([row.number for row in rows])

    def _first_in_the_way(
        self, connection: Connection, lanes: set[int | None], by: Taker
    ) -> dict[int | None, int]:
        known = [lane for lane in lanes if lane is not None]
        if not known:
            return {}
        wanted = self._database.ints(known)
        params = {"lanes": wanted, "holder": by.holder, "now": by.now_us}
        found: dict[int | None, int] = {}
        for lane, number in self._database.rows(connection, self._in_the_way, params, "vv"):
            found[lane] = number
        return found

    def _give_way(self, connection: Connection, rows: Sequence[Held]) -> None:
        lanes = {row.lane for row in rows if row.lane is not None}
        if not lanes:
            return
        params = {"lanes": self._database.ints(sorted(lanes))}
        opened = self._database.rows(connection, self._open, params, "v")
        if opened:
            params = {"lanes": self._database.ints([lane for (lane,) in opened])}
            self._database.run(connection, self._unpark, params)
