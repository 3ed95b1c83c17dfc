"""What is recorded becomes leaves of the trees: each call and each audit event once, in one order.

A row of `leaf_queue` has the hashes of the calls of one block, written in the transaction that
stored them. Only those calls count whose place is in that block: a repeated append leaves a block
that belongs to nobody. Calls from before there were trees are in `leaf_history`, one row that moves
on by call id. The order is that of this queue; `tree_calls` keeps which call is which leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from splice.adapters.ledgers.audit import event_of
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.payloads import SLOTS
from splice.adapters.ledgers.records import SqlRecords
from splice.adapters.ledgers.tables import audit_events, calls
from splice.adapters.ledgers.trees import Tree
from splice.core.ids import ID_BYTES, id_bytes, split_ids
from splice.core.leaves import leaf_of
from splice.core.merkle import leaf_hash, split

AT_ONCE = 1024
"""Ids of one row of `tree_calls`, at the most, and of one statement."""

_PAGE = 256  # rows of `leaf_queue` in one statement
_WAITING = """
SELECT block, ids, leaves, whole FROM leaf_queue WHERE block > :after ORDER BY block LIMIT :limit
"""
_OFF = "DELETE FROM leaf_queue WHERE block IN (SELECT n.value FROM each(:blocks) n)"
_HISTORY = "SELECT below, after FROM leaf_history LIMIT 1"
_MOVE = "UPDATE leaf_history SET after = :to WHERE below = :below AND after = :after"
_END = "DELETE FROM leaf_history WHERE below = :below AND after = :after"
_LAST = "SELECT first, low, high, ids FROM tree_calls ORDER BY first DESC LIMIT 1"
_FULLER = "UPDATE tree_calls SET low = :low, high = :high, ids = :ids WHERE first = :first"
_NEW = "INSERT INTO tree_calls (first, low, high, ids) VALUES (:first, :low, :high, :ids)"


class _Taken(Exception):
    """Another took the same calls: all of this step is undone."""


class _Leaves(msgspec.Struct):
    """Ids and hashes, one after the other in the same order."""

    ids: list[bytes]
    hashes: list[bytes]


class Sequencer:
    """Moves what waits into the trees. Several may do it at once."""

    def __init__(self, database: Database, records: SqlRecords) -> None:
        self._database = database
        self._records = records
        self._calls, self._events = Tree(database, "calls"), Tree(database, "events")
        sql = database.sql
        self._waiting, self._off, self._history = sql(_WAITING), sql(_OFF), sql(_HISTORY)
        self._move, self._end = sql(_MOVE), sql(_END)
        self._last, self._fuller, self._new = sql(_LAST), sql(_FULLER), sql(_NEW)

    def step(self, limit: int) -> bool:
        """Add about so many calls, and as many events; says whether more wait.

        Raises:
            StoreError: The ledger could not be read or written; nothing of the step was added.
        """
        more = self._add_events(limit)
        blocks, found, whole = self._next(limit)
        try:
            if blocks:
                self._add_calls(blocks, found)
                return not whole or more or bool(self._older())
            return self._add_history(limit) or more
        except _Taken:
            return True

    def _next(self, limit: int) -> tuple[list[int], _Leaves, bool]:
        """Blocks that wait, their leaves, and whether they are all."""
        numbers: list[int] = []
        every: list[tuple[int, bytes, bytes]] = []  # block, id, hash
        known = True  # whether all of them are in these blocks
        with self._database.read() as connection:
            after = 0
            while len(every) < limit:
                params = {"after": after, "limit": _PAGE}
                page = self._database.rows(connection, self._waiting, params, "vbbv")
                for after, ids, hashes, whole in page:
                    numbers.append(after)
                    known = known and whole == 1
                    each = zip(split_ids(ids), split(hashes), strict=True)
                    every += [(after, one, h) for one, h in each]
                    if len(every) >= limit:
                        break
                if len(page) < _PAGE:
                    break
            are_all = len(every) < limit
            if not known:
                every = self._ours(connection, numbers, every)
        ours = _Leaves([one for _, one, _ in every], [each for _, _, each in every])
        return numbers, ours, are_all

    def _ours(
        self, connection: Connection, numbers: Sequence[int], every: list[tuple[int, bytes, bytes]]
    ) -> list[tuple[int, bytes, bytes]]:
        """Those whose call is in that very block; as a rule all, which one count tells."""
        if len({one for _, one, _ in every}) != len(every) or not self._all_there(
            connection, numbers, [one for _, one, _ in every]
        ):
            placed = self._placed(connection, [one for _, one, _ in every])
            every = [each for each in every if placed.get(each[1]) == each[0]]
        return every

    def _all_there(
        self, connection: Connection, numbers: Sequence[int], ids: Sequence[bytes]
    ) -> bool:
        blocks = ",".join(map(str, numbers))
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]
            among, params = self._database.among_ids(part)
            query = (
                f"SELECT count(*) FROM calls WHERE id {among} "  # noqa: S608 - whole numbers
                f"AND place / {SLOTS} IN ({blocks})"
            )
            if self._database.rows(connection, query, params, "v")[0][0] != len(part):
                return False
        return True

    def _placed(self, connection: Connection, ids: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        unique = list(dict.fromkeys(ids))
        for start in range(0, len(unique), AT_ONCE):
            among, params = self._database.among_ids(unique[start : start + AT_ONCE])
            query = f"SELECT id, place FROM calls WHERE id {among}"  # noqa: S608
            for call_id, place in self._database.rows(connection, query, params, "uv"):
                found[id_bytes(call_id)] = int(place) // SLOTS
        return found

    def _add_calls(self, blocks: list[int], found: _Leaves) -> None:
        with self._database.write() as connection:
            self._database.lock(connection, "trees")
            params = {"blocks": self._database.ints(blocks)}
            if self._database.run(connection, self._off, params) != len(blocks):
                raise _Taken
            self._grow(connection, found)

    def _add_history(self, limit: int) -> bool:
        database, history = self._database, self._older()
        if not history:
            return False
        below, after = history[0]
        older = select(calls).where(calls.c.id > after, calls.c.place < int(below) * SLOTS)
        with database.read() as connection:
            rows = connection.execute(older.order_by(calls.c.id).limit(limit)).all()
        records = self._records.whole(rows, sealed=True)
        params = {"below": below, "after": database.id_param(id_bytes(after))}
        if len(rows) == limit:
            params["to"] = database.id_param(id_bytes(rows[-1].id))
        with database.write() as connection:
            database.lock(connection, "trees")
            if database.run(connection, self._move if "to" in params else self._end, params) != 1:
                raise _Taken
            ids = [id_bytes(record.call_id) for record in records]
            self._grow(connection, _Leaves(ids, [leaf_of(record).hashed() for record in records]))
        return "to" in params

    def _older(self) -> Sequence[Sequence[Any]]:
        """How far calls from before are leaves: block and id; nothing where all are."""
        with self._database.read() as connection:
            return self._database.rows(connection, self._history, {}, "vu")

    def _grow(self, connection: Connection, found: _Leaves) -> None:
        if not found.ids:
            return
        first = self._calls.add(connection, found.hashes)
        ids = list(found.ids)
        last = self._database.rows(connection, self._last, {}, "vbbb")
        if last and len(last[0][3]) < AT_ONCE * ID_BYTES:
            start, low, high, kept = last[0]
            more = ids[: AT_ONCE - len(kept) // ID_BYTES]
            values = {"first": start, **_bounds([low, high, *more]), "ids": kept + b"".join(more)}
            self._database.run(connection, self._fuller, values)
            first, ids = first + len(more), ids[len(more) :]
        for at in range(0, len(ids), AT_ONCE):
            part = ids[at : at + AT_ONCE]
            values = {"first": first + at, **_bounds(part), "ids": b"".join(part)}
            self._database.run(connection, self._new, values)

    def _add_events(self, limit: int) -> bool:
        with self._database.read() as connection:
            size = self._events.size(connection)
            newer = select(audit_events).where(audit_events.c.number > size)
            rows = connection.execute(newer.order_by(audit_events.c.number).limit(limit)).all()
        # One that is missing stops it: what came after would be another's leaf.
        rows = [row for place, row in enumerate(rows, size + 1) if row.number == place]
        if not rows:
            return False
        leaves = [leaf_hash(event_of(row).canonical()) for row in rows]
        with self._database.write() as connection:
            self._database.lock(connection, "trees")
            if self._events.size(connection) != size:
                return True
            self._events.add(connection, leaves)
        return len(rows) == limit


def _bounds(ids: Sequence[bytes]) -> dict[str, bytes]:
    return {"low": min(ids), "high": max(ids)}
