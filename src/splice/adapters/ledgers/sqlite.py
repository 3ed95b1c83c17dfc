"""The ledger in one SQLite file, shared by all workers of a host."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from sqlalchemy import URL, Connection, Insert, Table, create_engine
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import QueuePool

from splice.adapters.ledgers.database import Database, Into, Params
from splice.adapters.ledgers.errors import Place
from splice.adapters.ledgers.payloads import Packed
from splice.adapters.ledgers.tables import calls
from splice.core.ids import id_text, ids_bytes

_MOST_ROWS = 1024  # a statement; SQLite takes 32,766 parameters since 3.32, the most are 17 a row
_STEP = 64  # larger statements come in multiples of this, so that few texts are ever compiled
_SHORT_S = 0.05  # a wait for the turn that need not be taken off
_FREE_BYTES = 64 * 1024 * 1024  # less than this on the volume, and the ledger is not ready


class SqliteDatabase(Database):
    """WAL: readers and the one writer do not wait for each other; every commit is synced.

    Writers of this process take turns at a lock of Python's, because SQLite's own waiting is
    sleeping; writers of other processes wait there. Nobody waits longer than `busy_s` for both.
    """

    begin: ClassVar[str] = "BEGIN IMMEDIATE"
    least: ClassVar[str] = "min"
    sum: ClassVar[str] = "CAST(total({0}) AS BIGINT)"  # exact below 2 ** 53; sum() may overflow

    def __init__(self, file: Path, *, busy_s: float) -> None:
        self._file = file
        self._busy_s = busy_s
        self._writing = threading.Lock()
        place = Place(str(file), busy_s=busy_s)
        with place.errors():
            _make_private(file)
        engine = create_engine(
            URL.create("sqlite", database=str(file)),
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=24,
            pool_timeout=busy_s,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,  # they are personal data, and errors are logged
        )
        super().__init__(engine, place)

    @contextmanager
    def turn(self) -> Generator[float]:
        """Waits for the other writers of this process."""
        began = time.monotonic()
        if not self._writing.acquire(timeout=self._busy_s):
            raise self.place.error(
                f"a writer of this process that held the ledger for {self._busy_s:g} s",
                "look for a slow disk, or a long transaction of another process",
            )
        try:
            yield time.monotonic() - began
        finally:
            self._writing.release()

    def start(self, connection: Connection, waited_s: float) -> None:
        """BEGIN IMMEDIATE, for which SQLite waits as long as is left of the time."""
        with self._patient(connection, waited_s):
            self.run(connection, self.begin, ())

    @contextmanager
    def _patient(self, connection: Connection, waited_s: float) -> Generator[None]:
        if waited_s < _SHORT_S:
            yield
            return
        try:
            _patience(connection, self._busy_s - waited_s)
            yield
        finally:
            _patience(connection, self._busy_s)

    def lock(self, connection: Connection, name: str) -> None:
        """Nothing to do: BEGIN IMMEDIATE lets one writer in."""

    def insert_new(self, table: Table) -> Insert:
        """INSERT … ON CONFLICT DO NOTHING."""
        return insert(table).on_conflict_do_nothing()

    def append(
        self, packed: Sequence[Packed], also: Callable[[Connection], None] | None = None
    ) -> None:
        """A few statements whatever the number of calls: each one gives the GIL away."""
        rows: list[Any] = []
        blocks: list[object] = []
        unrolled: list[object] = []
        leaves: list[object] = []
        with self.place.errors():
            for part in packed:
                rows += chain.from_iterable(part.rows)
                for number, body in part.blocks.items():
                    blocks += (part.day, number, body)
                    unrolled += (number, part.day, part.ids[number])
                    leaves += (number, part.day, part.ids[number], part.leaves[number], 0)
            width = len(_CALLS.columns)
            rows[::width] = ids_bytes(rows[::width])
            count = len(rows) // width
            with self.transaction() as connection:
                cursor = _cursor(connection)
                _insert(cursor, _BLOCKS, blocks)
                # Where all of them are new, none of these blocks belongs to nobody.
                whole = int(_insert(cursor, _CALLS, rows) == count)
                _insert(cursor, _UNROLLED, unrolled)
                leaves[4::5] = [whole] * (len(leaves) // 5)
                _insert(cursor, _LEAVES, leaves)
                if also is not None:
                    also(connection)

    def sql(self, text: str) -> str:
        """Named parameters as they are; a set is a JSON list."""
        return _EACH.sub(r"json_each(:\1) AS \2", text)

    def ints(self, numbers: Sequence[int]) -> str:
        """JSON: one parameter, and one text of the statement, whatever the number."""
        return msgspec.json.encode(numbers).decode()

    def among(self, values: Sequence[bytes]) -> tuple[str, tuple[bytes, ...]]:
        """A parameter each, for JSON holds no bytes; the last one again until there are enough."""
        more = -len(values) % _STEP
        return _marks(len(values) + more), (*values, *(values[-1],) * more)

    def among_ids(self, ids: Sequence[bytes]) -> tuple[str, tuple[bytes, ...]]:
        """As of bytes, which they are."""
        marks, params = self.among(ids)
        return f"IN {marks}", params

    def among_rows(
        self, types: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> tuple[str, tuple[Any, ...]]:
        """A list of values; the last row again until there are enough."""
        more = -len(rows) % _STEP
        marks = ",".join([_marks(len(types))] * (len(rows) + more))
        params = [value for row in [*rows, *[rows[-1]] * more] for value in row]
        return f"IN (VALUES {marks})", tuple(params)

    def id_param(self, call_id: bytes) -> bytes:
        """As it is."""
        return call_id

    def run(self, connection: Connection, text: str, params: Params) -> int:
        """Past SQLAlchemy, which takes longer for it than SQLite does for a small batch."""
        return _cursor(connection).execute(text, params).rowcount

    def alone(self, name: str, text: str, params: Params) -> int:
        """Without BEGIN and COMMIT, for each of which the GIL would go to others."""
        with (
            self.place.errors(),
            self.turn() as waited_s,
            self.engine.connect() as connection,
            self._patient(connection, waited_s),
        ):
            return self.run(connection, text, params)

    def rows(
        self, connection: Connection, text: str, params: Params, kinds: str
    ) -> list[list[Any]]:
        """All of them in one row: JSON, and beside it the bytes of each column that has any."""
        found = _cursor(connection).execute(_in_one(text, kinds), params).fetchone()
        rows: list[list[Any]] = msgspec.json.decode(found[0])
        column = 0
        for place, kind in enumerate(kinds):
            if kind == "u":
                for row in rows:
                    row[place] = _id_text(row[place])
            elif kind == "b":
                column += 1
                self._cut(rows, place, found[column] or b"")
        return rows

    def _cut(self, rows: Sequence[list[Any]], place: int, joined: bytes) -> None:
        """Gives each row its part, in place of how long that is."""
        start = 0
        for row in rows:
            end = start + (row[place] or 0)
            row[place] = joined[start:end]
            start = end
        if start != len(joined):
            raise self.place.error(
                f"{len(joined)} bytes where {start} are stored", "look for a damaged file"
            )

    def insert_rows(self, connection: Connection, into: Into, values: Sequence[Any]) -> int:
        """INSERT with many rows of parameters."""
        width = len(into.columns)
        for place, (_, kind) in enumerate(into.columns):
            if kind == "uuid":
                values = list(values)
                values[place::width] = ids_bytes(values[place::width])
        return _insert(_cursor(connection), into, values)

    def numbers(self, connection: Connection, count: int) -> list[int]:
        """A counter: row ids would be used again once the highest row is deleted."""
        bump = "UPDATE counters SET next = next + ? WHERE name = 'queued' RETURNING next"
        (end,) = _cursor(connection).execute(bump, (count,)).fetchone()
        return list(range(end - count, end))

    def problem(self) -> str:
        """Too little room on the volume, or no permission to write."""
        if not os.access(self._file, os.W_OK):
            return f"{self._file}: may not be written"
        free = shutil.disk_usage(self._file.parent).free
        if free < _FREE_BYTES:
            return f"{self._file}: {free // 1024 // 1024} MiB are free on its volume, 64 needed"
        return ""

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file,
            timeout=self._busy_s,
            isolation_level=None,
            check_same_thread=False,  # the pool hands a connection to one thread at a time
            cached_statements=256,
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        # Only the first process ever changes the journal; SQLite does not wait for a lock there.
        give_up = time.monotonic() + self._busy_s
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
                continue
            if time.monotonic() > give_up:
                raise sqlite3.OperationalError("database is locked")
            time.sleep(0.01)
        connection.execute("PRAGMA synchronous = FULL")  # in WAL: every commit reaches the disk
        connection.execute("PRAGMA cache_size = -16384")  # 16 MiB a connection
        connection.execute("PRAGMA journal_size_limit = 67108864")
        # Ten times the default: a checkpoint writes each hot page once, however often it changed.
        connection.execute("PRAGMA wal_autocheckpoint = 10000")


def _pass_through() -> None:
    """Bytes and None reach SQLite as they are.

    Up to Python 3.11 the driver looks for an adapter of each of them, and makes an exception that
    nobody sees where there is none: 0.15 microseconds a value. Who has adapters keeps them.
    """
    driver: Any = sqlite3
    nothing: Any = dict[None, None]().get  # of None it gives None
    for kind, itself in ((bytes, bytes), (type(None), nothing)):
        if (kind, driver.PrepareProtocol) not in driver.adapters:
            driver.register_adapter(kind, itself)


if sys.version_info < (3, 12):
    _pass_through()

_EACH = re.compile(r"each\(:(\w+)\) (\w+)")
_CALLS = Into("calls", tuple((column.name, "") for column in calls.c), or_ignore=True)
_BLOCKS = Into("blocks", (("day", ""), ("id", ""), ("body", "")))
_UNROLLED = Into("unrolled", (("block", ""), ("day", ""), ("ids", "")))
_LEAVES = Into(
    "leaf_queue", (("block", ""), ("day", ""), ("ids", ""), ("leaves", ""), ("whole", ""))
)


@lru_cache(maxsize=512)
def _insert_text(into: Into, rows: int) -> str:
    names = ",".join(f'"{name}"' for name, _ in into.columns)
    values = ",".join([_marks(len(into.columns))] * rows)
    ignore = " OR IGNORE" if into.or_ignore else ""
    return f"INSERT{ignore} INTO {into.table} ({names}) VALUES {values} {into.then}"


@lru_cache(maxsize=64)
def _marks(count: int) -> str:
    return "(" + ",".join("?" * count) + ")"


@lru_cache(maxsize=64)
def _in_one(text: str, kinds: str) -> str:
    names = [f"c{place}" for place in range(len(kinds))]
    as_json = {"v": "{}", "u": "hex({})", "b": "length({})"}
    row = ",".join(as_json[kind].format(n) for n, kind in zip(names, kinds, strict=True))
    # Joined as they are, under the name of a text: in hexadecimal they would be twice as much, and
    # JSON would look at each digit. Both aggregates see the rows in one order.
    joined = [
        f",CAST(group_concat(CAST({n} AS TEXT),'') AS BLOB)"
        for n, kind in zip(names, kinds, strict=True)
        if kind == "b"
    ]
    return (
        f"WITH found({','.join(names)}) AS ({text}) "  # noqa: S608
        f"SELECT json_group_array(json_array({row})){''.join(joined)} FROM found"
    )


def _insert(cursor: sqlite3.Cursor, into: Into, values: Sequence[Any]) -> int:
    width, done, start = len(into.columns), 0, 0
    left = len(values) // width
    while left:
        take = min(left - left % _STEP, _MOST_ROWS) if left > _STEP else left
        end = start + take * width
        cursor.execute(_insert_text(into, take), values[start:end])
        done += cursor.rowcount
        start, left = end, left - take
    return done


def _id_text(digits: str) -> str:
    return id_text(bytes.fromhex(digits))


def _cursor(connection: Connection) -> sqlite3.Cursor:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101
    return driver.cursor()


def _make_private(file: Path) -> None:
    """The folder, and an empty file that only its owner may read, before SQLite makes one."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _patience(connection: Connection, seconds: float) -> None:
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(0, round(seconds * 1000))}")
