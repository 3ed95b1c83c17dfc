"""Merkle trees over calls and audit events, and their signed heads, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, select

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.records import SqlRecords
from splice.adapters.ledgers.sequencing import AT_ONCE, Sequencer
from splice.adapters.ledgers.tables import calls
from splice.adapters.ledgers.trees import Tree
from splice.core.call import Record
from splice.core.errors import StoreError
from splice.core.heads import Head, Note, notes
from splice.core.ids import id_bytes, id_text, ids_texts, split_ids
from splice.core.leaves import DIGEST, leaf_of
from splice.core.merkle import Subtree
from splice.ports.checkpoints import CALLS, EVENTS, Leaves, StoredCall, TreeView

_LEAVES = """
SELECT first, ids FROM tree_calls WHERE first > :after - :most AND first < :until
ORDER BY first LIMIT :limit
"""
_NEAR = "SELECT first, ids FROM tree_calls WHERE low <= :id AND high >= :id ORDER BY first"
_WITHIN = "SELECT ids FROM tree_calls WHERE low <= :high AND high >= :low"
_QUEUED = "SELECT ids FROM leaf_queue WHERE day >= :low AND day <= :high"
_WAITING = "SELECT coalesce(sum(length(ids)), 0) / 16 FROM leaf_queue"
_HISTORY = "SELECT below, after FROM leaf_history LIMIT 1"
_HEADS = "SELECT note FROM tree_heads WHERE number > :after ORDER BY number LIMIT :limit"
_NEWEST = "SELECT note FROM tree_heads ORDER BY number DESC LIMIT 1"
_ADD = """
INSERT INTO tree_heads (number, at_us, calls, events, note)
VALUES (:number, :at_us, :calls, :events, :note)
"""
_PAGE = 16  # rows of `tree_calls` in one statement
_WHOLE = 256  # calls that are in memory with all their texts
_DAY_MS = 86_400_000


class _View:
    """A tree as one connection sees it."""

    def __init__(self, tree: Tree, connection: Connection) -> None:
        self._tree, self._connection = tree, connection
        self.size = tree.size(connection)
        self.subtree: Subtree = tree.subtree(connection)

    def tile(self, level: int, place: int) -> bytes:
        """Hashes of a tile, one after the other."""
        return self._tree.tile(self._connection, level, place)


class SqlCheckpoints:
    """A CheckpointStore in SQL."""

    def __init__(self, database: Database, records: SqlRecords) -> None:
        self._database = database
        self._records = records
        self._sequencer = Sequencer(database, records)
        self._trees = {name: Tree(database, name) for name in (CALLS, EVENTS)}

    def sequence(self, limit: int) -> bool:
        """Make leaves of about so many calls and events that wait."""
        return self._sequencer.step(limit)

    def waiting(self) -> int:
        """About how many calls are in no tree yet."""
        with self._database.read() as connection:
            queued = int(connection.exec_driver_sql(_WAITING).scalar_one())
            older = connection.exec_driver_sql(_HISTORY).one_or_none()
        return queued + (0 if older is None else 1)

    @contextmanager
    def tree(self, name: str) -> Generator[TreeView]:
        """A tree, for as long as the context lasts."""
        with self._database.read() as connection:
            yield _View(self._trees[name], connection)

    def leaves(self, after: int, until: int) -> Iterator[Leaves]:
        """Which calls are the leaves from `after` on, below `until`."""
        query = self._database.sql(_LEAVES)
        while after < until:
            params = {"after": after, "most": AT_ONCE, "until": until, "limit": _PAGE}
            with self._database.read() as connection:
                page = self._database.rows(connection, query, params, "vb")
            before = after
            for first, body in page:
                ids = tuple(ids_texts(body))[max(0, after - first) : until - first]
                if ids:
                    start = max(first, after)
                    yield Leaves(start, ids)
                    after = max(after, start + len(ids))
            if after == before:
                return

    def index_of(self, call_id: str) -> int | None:
        """Which leaf a call is."""
        try:
            raw = id_bytes(call_id)
        except ValueError:
            return None
        with self._database.read() as connection:
            query = self._database.sql(_NEAR)
            for first, body in self._database.rows(connection, query, {"id": raw}, "vb"):
                for place, one in enumerate(split_ids(body)):
                    if one == raw:
                        return int(first) + place
        return None

    def stored(self, call_ids: Sequence[str]) -> dict[str, StoredCall]:
        """Those of the calls that are in the ledger."""
        found: dict[str, StoredCall] = {}
        for start in range(0, len(call_ids), _WHOLE):
            found.update(self._stored(self._rows(call_ids[start : start + _WHOLE])))
        return found

    def sealed(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the calls that are in the ledger, whole and with their seals."""
        records = self._records.whole(self._rows(call_ids), sealed=True)
        return {record.call_id: record for record in records}

    def _rows(self, call_ids: Sequence[str]) -> Sequence[Row[Any]]:
        with self._database.read() as connection:
            return connection.execute(select(calls).where(calls.c.id.in_(call_ids))).all()

    def strangers(self, limit: int) -> list[str]:
        """Calls of the ledger that are no leaf and do not wait."""
        found: list[str] = []
        last: str | None = None
        while len(found) < limit:
            query = select(calls.c.id).order_by(calls.c.id).limit(AT_ONCE)
            if last is not None:
                query = query.where(calls.c.id > last)
            with self._database.read() as connection:
                page = list(connection.execute(query).scalars())
            if not page:
                break
            # Twice: between the two looks at it, a call that waits may have become a leaf.
            unknown = self._unknown(page)
            found += self._unknown(unknown) if unknown else []
            last = page[-1]
        return sorted(found)[:limit]

    def add_head(
        self, make: Callable[[Note | None, TreeView, TreeView], tuple[Head, str] | None]
    ) -> Note | None:
        """Store what `make` gives of the newest head and the trees."""
        with self._database.write() as connection:
            self._database.lock(connection, "trees")
            views = (_View(self._trees[name], connection) for name in (CALLS, EVENTS))
            made = make(self._newest(connection), *views)
            if made is None:
                return None
            head, note = made
            values = {
                "number": head.number, "at_us": head.at_us, "calls": head.calls,
                "events": head.events, "note": note,
            }  # fmt: skip
            self._database.run(connection, self._database.sql(_ADD), values)
        return notes(note)[0]

    def heads(self, after: int = 0, limit: int = 1000) -> list[Note]:
        """Signed heads with a number above `after`."""
        query = self._database.sql(_HEADS)
        with self._database.read() as connection:
            rows = connection.exec_driver_sql(query, {"after": after, "limit": limit})
            return [one for row in rows for one in notes(row[0])]

    def newest_head(self) -> Note | None:
        """The last of them."""
        with self._database.read() as connection:
            return self._newest(connection)

    def _newest(self, connection: Connection) -> Note | None:
        text = connection.exec_driver_sql(_NEWEST).scalar()
        found = notes(text) if text is not None else []
        if text is not None and not found:
            raise self._database.place.error(
                "a head that is no signed note", "splice audit verify says what else was changed"
            )
        return found[0] if found else None

    def _stored(self, rows: Sequence[Row[Any]]) -> Iterator[tuple[str, StoredCall]]:
        try:
            records = self._records.whole(rows, sealed=True)
        except (StoreError, LookupError, ValueError) as error:
            if len(rows) == 1:
                yield rows[0].id, StoredCall(None, problem=str(error))
                return
            for row in rows:  # one by one, to tell which it is
                yield from self._stored([row])
            return
        for record in records:
            dropped = len(record.seal) == DIGEST
            texts = any(
                (record.input, record.context, record.prediction, record.reply, record.locked)
            )
            yield record.call_id, StoredCall(leaf_of(record), dropped, dropped and texts)

    def _unknown(self, page: Sequence[str]) -> list[str]:
        raw = [id_bytes(call_id) for call_id in page]
        low, high = min(raw), max(raw)
        days = {"low": _day(low), "high": _day(high)}
        database = self._database
        with database.read() as connection:
            older = database.rows(connection, database.sql(_HISTORY), {}, "vu")
            after = id_bytes(older[0][1]) if older else None
            bodies = [row[0] for row in database.rows(connection, database.sql(_QUEUED), days, "b")]
        with database.read() as connection:
            params = {"low": low, "high": high}
            rows = database.rows(connection, database.sql(_WITHIN), params, "b")
            bodies += [row[0] for row in rows]
        known = {one for body in bodies for one in split_ids(body)}
        return [
            id_text(one)
            for one in raw
            if one not in known and not (after is not None and one > after)
        ]


def _day(raw: bytes) -> int:
    return int.from_bytes(raw[:6], "big") // _DAY_MS
