"""Which calls of the ledger are in files, in SQL: listed and deleted so that none is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from splice.adapters.ledgers.database import Database, Into
from splice.adapters.ledgers.payloads import SLOTS, day_of, first_id
from splice.adapters.ledgers.records import SqlRecords
from splice.adapters.ledgers.tables import calls, kinds
from splice.core.archives import Archived
from splice.core.call import Record
from splice.core.ids import id_bytes, id_text

_PAGE = 1000
_BLOCKS_AT_ONCE = 200
_TEXT, _BIG = "text", "bigint"
_INTO = Into(
    "archives",
    (("day", "int"), ("integration", _TEXT), ("part", "int"), ("first_id", "uuid"),
     ("end_id", "uuid"), ("state", _TEXT), ("file", _TEXT), ("calls", _BIG), ("bytes", _BIG),
     ("sha256", _TEXT), ("first_us", _BIG), ("last_us", _BIG), ("at_us", _BIG)),
)  # fmt: skip
_FILES = """
SELECT day, integration, part, file, calls, bytes, sha256, first_us, last_us FROM archives
WHERE (integration = :integration OR :integration = '') AND (day = :day OR :day < 0)
ORDER BY day DESC, integration, part
"""
_COUNT = "SELECT count(*) FROM calls WHERE id >= :first AND id < :end"
_PART = """
SELECT coalesce(max(part), 0) + 1 FROM archives WHERE day = :day AND integration = :integration
"""
_UNROLLED = """
SELECT (SELECT count(*) FROM unrolled WHERE day = :day) +
    (SELECT count(*) FROM unrolled_history WHERE after < :end) +
    (SELECT count(*) FROM leaf_queue WHERE day = :day) +
    (SELECT count(*) FROM leaf_history WHERE after < :end)
"""
_CLAIMS = """
UPDATE claims SET archived = 1
WHERE call_id >= :first AND call_id < :end AND archived IS NULL AND EXISTS (
    SELECT 1 FROM calls JOIN call_kinds ON call_kinds.id = calls.kind
    WHERE calls.id = claims.call_id AND call_kinds.status = 'answered')
"""
_KINDS = """
SELECT DISTINCT integration FROM call_kinds WHERE id IN (
    SELECT DISTINCT kind FROM calls WHERE id >= :first AND id < :end) ORDER BY integration
"""
_REMOVING = "SELECT DISTINCT day FROM archives WHERE state = 'removing' ORDER BY day LIMIT 1"
_REMOVED = "UPDATE archives SET state = 'removed' WHERE day = :day AND state = 'removing'"
_USED = "SELECT DISTINCT place / :slots FROM calls WHERE id >= :first AND id < :end"
_BLOCKS = """
DELETE FROM blocks WHERE id IN (
    SELECT id FROM blocks WHERE day = :day AND id NOT IN (SELECT n.value FROM each(:used) n)
    LIMIT :limit)
"""


class _Changed(Exception):
    """There are other calls of the day than in the files: all is undone."""


class SqlArchives:
    """An ArchiveList in SQL.

    In PostgreSQL the partition of the day goes in the transaction that lists its files. In SQLite
    deleting takes as long as inserting did, and others would wait: there, a day is listed first,
    and then its calls are deleted by the ids that the files have, a thousand in a transaction. A
    call that comes late for a day stays, and makes a further file.
    """

    def __init__(self, database: Database, records: SqlRecords) -> None:
        self._database = database
        self._records = records

    def next_day(self, after: int, before: int) -> int | None:
        """The first day between these (outside both) with calls in the ledger."""
        c = calls.c.id
        first, end = first_id(max(after + 1, 0)), first_id(before)
        query = select(c).where(c >= first, c < end).order_by(c).limit(1)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else day_of(found)

    def rolled(self, day: int) -> bool:
        """Whether all calls of a day are in the rollups, and leaves of the tree."""
        params = {"day": day, "end": self._params(day)["end"]}
        with self._database.read() as connection:
            return not self._one(connection, _UNROLLED, params)

    def integrations_of(self, day: int) -> Sequence[str]:
        """Those that have calls of that day in the ledger."""
        with self._database.read() as connection:
            query = self._database.sql(_KINDS)
            return [row[0] for row in connection.exec_driver_sql(query, self._params(day))]

    def calls_of(self, day: int, integration: str) -> Iterator[Sequence[Record]]:
        """Calls of a day, whole, in the order of their ids, page after page."""
        ours = select(kinds.c.id).where(kinds.c.integration == integration)
        last = ""
        while True:
            query = select(calls).where(calls.c.id < first_id(day + 1), calls.c.kind.in_(ours))
            after = calls.c.id > last if last else calls.c.id >= first_id(day)
            with self._database.read() as connection:
                rows = connection.execute(query.where(after).order_by(calls.c.id).limit(_PAGE))
                page = rows.all()
            if not page:
                return
            yield self._records.whole(page, sealed=True)
            last = page[-1].id

    def next_part(self, day: int, integration: str) -> int:
        """The number of the next file of a day."""
        with self._database.read() as connection:
            return self._one(connection, _PART, {"day": day, "integration": integration})

    def move(self, day: int, files: Sequence[Archived], now_us: int) -> bool:
        """List these files instead of the calls of a day that the ledger has."""
        first, end = (id_bytes(first_id(each)) for each in (day, day + 1))
        postgres = self._database.engine.dialect.name == "postgresql"
        state = "removed" if postgres else "removing"
        values: list[Any] = []
        for one in files:
            values += (
                one.day, one.integration, one.part, id_text(first), id_text(end), state, one.file,
                one.calls, one.bytes, one.sha256, one.first_us, one.last_us, now_us,
            )  # fmt: skip
        try:
            self._list(day, values, sum(one.calls for one in files))
        except _Changed:
            return False
        return True

    def _list(self, day: int, values: Sequence[Any], count: int) -> None:
        postgres = self._database.engine.dialect.name == "postgresql"
        with self._database.write() as connection:
            self._database.lock(connection, "archive")
            self._database.run(connection, self._database.sql(_CLAIMS), self._params(day))
            self._database.insert_rows(connection, _INTO, values)
            if postgres:
                # Everybody who needs calls waits from here, and this waits for them, for 2 s at
                # most: then it is tried another time. The tables first, or two could wait for
                # each other.
                connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
                for names in ("ONLY calls, ONLY blocks", f"calls_day_{day}, blocks_day_{day}"):
                    connection.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
            if self._one(connection, _COUNT, self._params(day)) != count:
                raise _Changed
            if self._one(connection, _UNROLLED, {"day": day, "end": self._params(day)["end"]}):
                raise _Changed
            if postgres:
                for table in ("calls", "blocks"):
                    connection.exec_driver_sql(f"DROP TABLE {table}_day_{day}")

    def removing(self) -> int | None:
        """A day whose calls are in files, and not yet all deleted; None where there is none."""
        with self._database.read() as connection:
            return connection.exec_driver_sql(_REMOVING).scalar()

    def delete(self, call_ids: Sequence[str]) -> int:
        """Delete these calls of a day that is being removed; says how many were still there."""
        ids = [id_bytes(call_id) for call_id in call_ids]
        if not ids:
            return 0
        among, params = self._database.among_ids(ids)
        seek = f"SELECT 1 FROM calls WHERE id {among} LIMIT 1"  # noqa: S608
        with self._database.read() as connection:  # others need not wait for what is gone
            if not self._database.rows(connection, seek, params, "v"):
                return 0
        with self._database.write() as connection:
            query = f"DELETE FROM calls WHERE id {among}"  # noqa: S608
            return self._database.run(connection, query, params)

    def delete_blocks(self, day: int) -> bool:
        """Delete blocks of a day that no call is in; says whether there may be more."""
        blocks, used = self._database.sql(_BLOCKS), self._database.sql(_USED)
        with self._database.write() as connection:
            params = {**self._params(day), "slots": SLOTS}
            late = [row[0] for row in connection.exec_driver_sql(used, params)]
            params = {"day": day, "used": self._database.ints(late), "limit": _BLOCKS_AT_ONCE}
            if self._database.run(connection, blocks, params):
                return True
            self._database.run(connection, self._database.sql(_REMOVED), {"day": day})
        return False

    def files(self, integration: str | None = None, day: int | None = None) -> Sequence[Archived]:
        """The files of the archive, newest day first."""
        query = self._database.sql(_FILES)
        with self._database.read() as connection:
            params = {"integration": integration or "", "day": -1 if day is None else day}
            return [Archived(*row) for row in connection.exec_driver_sql(query, params)]

    def _params(self, day: int) -> dict[str, Any]:
        first, end = (id_bytes(first_id(each)) for each in (day, day + 1))
        return {"first": self._database.id_param(first), "end": self._database.id_param(end)}

    def _one(self, connection: Connection, query: str, params: dict[str, Any]) -> int:
        return int(connection.exec_driver_sql(self._database.sql(query), params).scalar_one())
