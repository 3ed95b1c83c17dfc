"""The ledger in one SQLite file, shared by all workers of a host."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from sqlalchemy import URL, Connection, Insert, Table, create_engine
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import QueuePool

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.errors import Place
from splice.adapters.ledgers.payloads import Packed
from splice.adapters.ledgers.tables import calls
from splice.core.ids import id_bytes

_MOST_ROWS = 1024  # a statement; SQLite takes 32,766 parameters since 3.32, these are 8 a row
_STEP = 64  # larger statements come in multiples of this, so that few texts are ever compiled
_FREE_BYTES = 64 * 1024 * 1024  # less than this on the volume, and the ledger is not ready


class SqliteDatabase(Database):
    """WAL: readers and the one writer do not wait for each other; every commit is synced.

    Writers of this process take turns at a lock of Python's, because SQLite's own waiting is
    sleeping; writers of other processes wait there, for `busy_s` at most.
    """

    begin: ClassVar[str] = "BEGIN IMMEDIATE"

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
    def turn(self) -> Generator[None]:
        """Waits for the other writers of this process."""
        if not self._writing.acquire(timeout=self._busy_s):
            raise self.place.error(
                f"a writer of this process that held the ledger for {self._busy_s:g} s",
                "look for a slow disk, or a long transaction of another process",
            )
        try:
            yield
        finally:
            self._writing.release()

    def lock(self, connection: Connection, name: str) -> None:
        """Nothing to do: BEGIN IMMEDIATE lets one writer in."""

    def insert_new(self, table: Table) -> Insert:
        """INSERT … ON CONFLICT DO NOTHING."""
        return insert(table).on_conflict_do_nothing()

    def append(self, packed: Sequence[Packed]) -> None:
        """Five statements whatever the number of calls: each one gives the GIL away."""
        rows: list[object] = []
        blocks: list[object] = []
        with self.place.errors():
            for part in packed:
                for call_id, *columns in part.rows:
                    rows.append(id_bytes(call_id))
                    rows += columns
                for number, body in part.blocks.items():
                    blocks += (part.day, number, body)
            with self.turn(), closing(self.engine.raw_connection()) as pooled:
                connection = pooled.driver_connection
                assert isinstance(connection, sqlite3.Connection)  # noqa: S101
                _append(connection.cursor(), blocks, rows)

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


_COLUMNS = tuple(column.name for column in calls.c)
_WIDTH = len(_COLUMNS)


@lru_cache(maxsize=256)
def _insert_calls(rows: int) -> str:
    values = ",".join(["(" + ",".join("?" * _WIDTH) + ")"] * rows)
    return f"INSERT OR IGNORE INTO calls ({','.join(_COLUMNS)}) VALUES {values}"  # noqa: S608


@lru_cache(maxsize=64)
def _insert_blocks(rows: int) -> str:
    values = ",".join(["(?,?,?)"] * rows)
    return f"INSERT INTO blocks (day, id, body) VALUES {values}"  # noqa: S608


def _append(cursor: sqlite3.Cursor, blocks: list[object], rows: list[object]) -> None:
    cursor.execute("BEGIN IMMEDIATE")
    try:
        for start in range(0, len(blocks), 3 * _MOST_ROWS):
            some = blocks[start : start + 3 * _MOST_ROWS]
            cursor.execute(_insert_blocks(len(some) // 3), some)
        start, left = 0, len(rows) // _WIDTH
        while left:
            take = min(left - left % _STEP, _MOST_ROWS) if left > _STEP else left
            end = start + take * _WIDTH
            cursor.execute(_insert_calls(take), rows[start:end])
            start, left = end, left - take
        cursor.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # the first error is the one to tell
            cursor.execute("ROLLBACK")
        raise


def _make_private(file: Path) -> None:
    """The folder, and an empty file that only its owner may read, before SQLite makes one."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
