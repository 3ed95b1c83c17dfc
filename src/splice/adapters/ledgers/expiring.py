"""Texts that are old enough: taken out of their blocks, with a hash left in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import zstandard
from sqlalchemy import Connection, func, select, update

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.kinds import Kinds
from splice.adapters.ledgers.payloads import SLOTS, Payload, day_of, decode, unpack
from splice.adapters.ledgers.tables import blocks, calls
from splice.core.call import Attempt, Problem
from splice.core.erasure import EXPIRED
from splice.core.leaves import DIGEST, payload_digest
from splice.ports.stores import CallFilter

_encode = msgspec.msgpack.Encoder().encode
_PLAIN = b"\0"  # see payloads.py
_AT_ONCE = 400  # ids in one statement
_WAITING = "SELECT count(*) FROM unrolled WHERE block IN (SELECT n.value FROM each(:blocks) n)"
_HISTORY = "SELECT count(*) FROM unrolled_history"

CallRow = Any  # the driver's own: id, asked_us, entity, place


class Expiring:
    """Drops texts of calls within a transaction that says so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds = Kinds(database)
        self._compress = zstandard.ZstdCompressor(level=1).compress

    def page(self, integration: str, window: tuple[int, int], limit: int) -> list[CallRow]:
        """About `limit` calls asked in a half-open window, oldest first: all of a microsecond."""
        numbers = self._kinds.matching(CallFilter(integration=integration)) or ()
        mine = (calls.c.kind.in_(numbers), calls.c.asked_us >= window[0])
        with self._database.read() as connection:
            first = (
                select(calls.c.asked_us)
                .where(*mine, calls.c.asked_us < window[1])
                .order_by(calls.c.asked_us)
                .limit(limit)
                .subquery()
            )
            last = connection.execute(select(func.max(first.c.asked_us))).scalar()
            if last is None:
                return []
            query = select(calls.c.id, calls.c.asked_us, calls.c.entity, calls.c.place)
            query = query.where(*mine, calls.c.asked_us <= last).order_by(calls.c.asked_us)
            return list(connection.execute(query))

    def counted(self, connection: Connection, rows: Iterable[CallRow]) -> bool:
        """Whether all of them are in the rollups: only then may their texts go."""
        numbers = sorted({row.place // SLOTS for row in rows})
        params = {"blocks": self._database.ints(numbers)}
        (waiting,) = self._database.rows(connection, self._database.sql(_WAITING), params, "v")[0]
        (history,) = self._database.rows(connection, self._database.sql(_HISTORY), {}, "v")[0]
        return not waiting and not history

    def drop(self, connection: Connection, rows: Sequence[CallRow]) -> int:
        """Drop their texts and entities; says of how many there were any."""
        at: dict[tuple[int, int], list[CallRow]] = {}
        for row in rows:
            at.setdefault((day_of(row.id), row.place // SLOTS), []).append(row)
        dropped = 0
        for (day, number), some in sorted(at.items()):
            this = (blocks.c.day == day, blocks.c.id == number)
            body = connection.execute(select(blocks.c.body).where(*this).with_for_update()).scalar()
            if body is None:  # its day went to the archive meanwhile
                continue
            items: list[bytes] = unpack(bytes(body))
            changed = 0
            for row in some:
                slot: int = row.place % SLOTS
                left = _left(items[slot], row.entity)
                if left is not None:
                    items[slot] = left
                    changed += 1
            if changed:
                packed = self._compress(_encode(items))
                connection.execute(update(blocks).where(*this).values(body=packed))
                dropped += changed
        named = [row.id for row in rows if row.entity is not None]
        for start in range(0, len(named), _AT_ONCE):
            these = calls.c.id.in_(named[start : start + _AT_ONCE])
            connection.execute(update(calls).where(these).values(entity=None))
        return dropped


def _left(item: bytes, entity: str | None) -> bytes | None:
    """What is left of a payload: what is counted, and the hash of what it was; None if it is."""
    payload = decode(item)
    if len(payload.seal) == DIGEST:
        return None
    problem = payload.problem
    left = Payload(
        b"", (), None, tuple(map(_bare, payload.attempts)), None, None,
        None if problem is None else Problem(problem.code, problem.where), payload.trace, None,
        (*payload.notes, EXPIRED), payload.shadow_of, payload.policies, b"",
        payload_digest(item, entity),
    )  # fmt: skip
    return _PLAIN + _encode(left)


def _bare(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, why="") if attempt.why else attempt
