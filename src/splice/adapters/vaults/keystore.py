"""The wrapped keys of people in a database of their own: one file of SQLite, or PostgreSQL."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from splice.core.errors import SettingsError, StoreError
from splice.ports.subjects import ErasedKey, SubjectKey

_AT_ONCE = 400  # rows in one statement
_BUSY_S = 5.0
_TRIES, _REST_S = 20, 0.05

# By whether it is SQLite, where rows of marks follow.
_COLUMNS = "tag, integration, id, kek, wrapped, made_us"
_GET = {
    True: f"SELECT {_COLUMNS} FROM subject_keys WHERE (tag, integration) IN (VALUES ",  # noqa: S608
    False: f"SELECT {_COLUMNS} FROM subject_keys WHERE (tag, integration) IN "  # noqa: S608
    "(SELECT * FROM unnest(%s::bytea[], %s::text[]))",
}
_ADD = {
    True: f"INSERT INTO subject_keys ({_COLUMNS}) VALUES ",  # noqa: S608
    False: f"INSERT INTO subject_keys ({_COLUMNS}) SELECT * FROM unnest(%s::bytea[], "  # noqa: S608
    "%s::text[], %s::bytea[], %s::text[], %s::bytea[], %s::bigint[]) "
    "ON CONFLICT DO NOTHING RETURNING tag, integration",
}
_THEN = {2: ")", 6: " ON CONFLICT DO NOTHING RETURNING tag, integration"}

_metadata = MetaData()
_keys = Table(
    "subject_keys", _metadata,
    Column("tag", LargeBinary, primary_key=True),
    Column("integration", Text, primary_key=True),
    Column("id", LargeBinary, nullable=False),
    Column("kek", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("made_us", BigInteger, nullable=False),
)  # fmt: skip
_erased = Table(
    "erased_keys", _metadata,
    # Never used again: who follows them names the last one that it saw.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("integration", Text, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip
Index("subject_keys_kek", _keys.c.kek)
Index("erased_keys_id", _erased.c.id)


class SqlSubjectKeys:
    """SubjectKeys in SQL. Safe for many threads.

    In SQLite what is deleted is overwritten at once, in the file and in its log. PostgreSQL keeps
    old rows in its pages until they are vacuumed, and in its log for as long as that is kept: there
    a destroyed key is beyond reach only when the key that wrapped it is destroyed, too.

    Args:
        url: `sqlite:////path` or `postgresql://…`; the tables are made where they are missing.

    Raises:
        SettingsError: The URL is of another database.
        StoreError: It cannot be opened.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        self._where = str(parsed.set(password=None, query={}))
        self._engine = _sqlite_engine(parsed) if self._sqlite else _postgres_engine(parsed)
        try:
            with self._write() as connection:
                if not self._sqlite:  # two that make the tables at once
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7270114)")
                _metadata.create_all(connection)
        except BaseException:
            self._engine.dispose()
            raise

    def get(self, wanted: Iterable[tuple[bytes, str]]) -> dict[tuple[bytes, str], SubjectKey]:
        """Those keys that there are, by tag and integration."""
        found: dict[tuple[bytes, str], SubjectKey] = {}
        every = list(wanted)
        with self._read() as connection:
            for start in range(0, len(every), _AT_ONCE):
                among = every[start : start + _AT_ONCE]
                for row in self._run(connection, _GET[self._sqlite], 2, among):
                    key = _key(row)
                    found[key.tag, key.integration] = key
        return found

    def add(self, keys: Sequence[SubjectKey]) -> dict[tuple[bytes, str], SubjectKey]:
        """Store new keys, durable on return; gives those that count: of two, the first."""
        # One order for all, so that no two wait for each other.
        ordered = sorted(keys, key=lambda one: (one.tag, one.integration))
        rows = [(k.tag, k.integration, k.id, k.kek, k.wrapped, k.made_us) for k in ordered]
        new: set[tuple[bytes, str]] = set()
        if rows:
            with self._write() as connection:
                for start in range(0, len(rows), _AT_ONCE):
                    some = rows[start : start + _AT_ONCE]
                    done = self._run(connection, _ADD[self._sqlite], 6, some)
                    new.update((bytes(row.tag), row.integration) for row in done)
        found = {(one.tag, one.integration): one for one in ordered}
        taken = [whose for whose in found if whose not in new]
        return (found | self.get(taken)) if taken else found

    def _run(
        self, connection: Connection, text: str, width: int, rows: Sequence[tuple[Any, ...]]
    ) -> Sequence[Row[Any]]:
        """Past SQLAlchemy's own statements, which take longer to make than to run."""
        if self._sqlite:
            row = "(" + ",".join("?" * width) + ")"
            values = tuple([value for one in rows for value in one])
            return connection.exec_driver_sql(
                text + ",".join([row] * len(rows)) + _THEN[width], values
            ).all()
        columns = tuple(map(list, zip(*rows, strict=True)))
        return connection.exec_driver_sql(text, columns).all()

    def erase(self, tag: bytes, integrations: Sequence[str], now_us: int) -> list[ErasedKey]:
        """Destroy the keys of a person in these integrations, durably, and note that."""
        mine = (_keys.c.tag == tag, _keys.c.integration.in_(integrations))
        done: list[ErasedKey] = []
        with self._write() as connection:
            if not self._sqlite:  # numbers in the order of commits: a follower misses none
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7270115)")
            ids = {
                row.integration: bytes(row.id)
                for row in connection.execute(select(_keys).where(*mine).with_for_update())
            }
            connection.execute(delete(_keys).where(*mine))
            for name in integrations:
                values = {
                    "tag": tag,
                    "integration": name,
                    "id": ids.get(name, b""),
                    "at_us": now_us,
                }
                number: Any = connection.execute(
                    insert(_erased).values(values)
                ).inserted_primary_key
                done.append(ErasedKey(number[0], tag, name, ids.get(name, b""), now_us))
        if self._sqlite:
            self._empty_log()
        return done

    def erased(self, after: int = 0, limit: int = 1000) -> list[ErasedKey]:
        """Destroyed keys with a higher number, in their order."""
        query = select(_erased).where(_erased.c.number > after).order_by(_erased.c.number)
        with self._read() as connection:
            rows = connection.execute(query.limit(limit))
            return [
                ErasedKey(row.number, bytes(row.tag), row.integration, bytes(row.id), row.at_us)
                for row in rows
            ]

    def gone(self, key_ids: Iterable[bytes]) -> dict[bytes, int]:
        """Those of the keys that were destroyed, by their ids; and when, in Unix microseconds."""
        query = select(_erased.c.id, _erased.c.at_us).where(
            _erased.c.id.in_([one for one in key_ids if one])
        )
        with self._read() as connection:
            return {bytes(row.id): row.at_us for row in connection.execute(query)}

    def under(self, keks: Sequence[str], limit: int) -> list[SubjectKey]:
        """Some keys that another than these has wrapped."""
        query = select(_keys).where(_keys.c.kek.not_in(keks)).limit(limit)
        with self._read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def rewrap(self, keys: Sequence[SubjectKey]) -> int:
        """Put these in place of the ones with their id, unless erased meanwhile."""
        changed = 0
        with self._write() as connection:
            for one in sorted(keys, key=lambda one: (one.tag, one.integration)):
                same = (
                    _keys.c.tag == one.tag,
                    _keys.c.integration == one.integration,
                    _keys.c.id == one.id,
                )
                values = {"kek": one.kek, "wrapped": one.wrapped}
                changed += connection.execute(update(_keys).where(*same).values(values)).rowcount
        return changed

    def count(self) -> Mapping[str, int]:
        """How many keys there are, by what wrapped them."""
        query = select(_keys.c.kek, func.count()).group_by(_keys.c.kek)
        with self._read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _empty_log(self) -> None:
        """The pages that held the key are overwritten in the file; here, in its log as well."""
        with self._errors(), self._engine.connect() as connection:
            for _ in range(_TRIES):  # a reader may hold it up for a moment
                row = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
                if not row[0]:
                    return
                time.sleep(_REST_S)

    @contextmanager
    def _read(self) -> Generator[Connection]:
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Generator[Connection]:
        with self._errors(), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self._sqlite else "BEGIN")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            # The driver's own words may quote a value: its type is enough.
            original = getattr(error, "orig", None) or error
            raise StoreError(
                f"key store {self._where}", got=f"no word from it ({type(original).__name__})",
                promised="the keys of encrypted texts",
                mend="see [encryption] in splice.toml; encrypted calls wait, or are refused",
            ) from None  # fmt: skip


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(
            "encryption.keys", got="the URL of no database that keys can be in",
            promised="sqlite:///path/of/a/file or postgresql://user:password@host/database",
        )  # fmt: skip
    return parsed


def _sqlite_engine(url: URL) -> Engine:
    file = Path(url.database or "")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"key store {file}", got=error.strerror or str(error),
            mend="let the user of this process write there",
        ) from error  # fmt: skip
    engine = create_engine(
        url, isolation_level="AUTOCOMMIT", hide_parameters=True,
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
    )  # fmt: skip
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _: object) -> None:  # the driver's own connection
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _postgres_engine(url: URL) -> Engine:
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT",
            hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": 5},
        )  # fmt: skip
    except ImportError:
        raise SettingsError(
            "encryption.keys", got="postgresql without its driver",
            mend="install splice-ai[postgres]",
        ) from None  # fmt: skip


def _key(row: Row[Any]) -> SubjectKey:  # a row of `subject_keys`
    return SubjectKey(
        bytes(row.tag), row.integration, bytes(row.id), row.kek, bytes(row.wrapped), row.made_us
    )
