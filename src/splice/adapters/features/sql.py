"""Features from a SQL database: one view is one SELECT, asked by the entity's key."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from sqlalchemy import URL, TextClause, create_engine, event, make_url, text
from sqlalchemy.engine import Engine, RowMapping
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from splice.core.errors import SettingsError, StoreError
from splice.ports.features import Features

_AS_OF = "as_of"
_STATEMENT_MS = 10_000  # a query still running then is one that no call waits for any more


class SqlFeatureStore:
    """Reads views of a SQL database, read-only where the database can promise it.

    A column named `as_of` (a timestamp, ISO 8601 text, or Unix seconds) gives the age of the row
    and is no feature. Decimals become floats, dates and times ISO 8601 text; bytes are refused.

    Args:
        url: A SQLAlchemy URL: `sqlite:///features.db`, `postgresql+psycopg://…`.
        views: By name, a SELECT of at most one row; `:entity` in it is bound to the key, as text.
        threads: How many queries run at once; each has a connection.
        now: Unix time in seconds, to tell ages.

    Raises:
        SettingsError: The URL is none, or a view does not ask by `:entity` alone.
    """

    def __init__(
        self,
        url: str,
        views: Mapping[str, str],
        *,
        threads: int = 4,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = _url(url)
        self._kind = self._url.get_backend_name()
        self._views = {name: _view(name, sql) for name, sql in views.items()}
        self._now = now
        self._engine = _engine(self._url, threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="splice-features")
        self._closed = False
        event.listen(self._engine, "checkin", self._checked_in)

    def __repr__(self) -> str:
        return f"SqlFeatureStore({self._kind}, {sorted(self._views)})"

    async def read(self, view: str, entity: str) -> Features:
        """See `splice.ports.features.FeatureStore`."""
        statement = self._views.get(view)
        if statement is None:
            known = ", ".join(sorted(self._views)) or "none"
            raise StoreError(f"features.{view}", got="no such view", mend=f"known views: {known}")
        if self._closed:
            raise StoreError(f"features.{view}", got="a read after close()")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._read, view, statement, entity)

    async def close(self) -> None:
        """Close the connections; queries that still run end by themselves."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._engine.dispose)

    def _checked_in(self, _: object, record: Any) -> None:  # a pool's record of a connection
        if self._closed:  # the pool was let go of while its query ran: nobody else closes it
            record.invalidate()

    def _read(self, view: str, statement: TextClause, entity: str) -> Features:
        where = f"features.{view}"
        if self._kind == "sqlite":
            _check_file(self._url, where)
        try:
            with self._engine.connect() as connection:
                result = connection.execute(statement, {"entity": entity})
                rows = result.mappings().fetchmany(2)
        except SQLAlchemyError as error:
            raise StoreError(where, got=_said(error, entity)) from None
        source = f"{self._kind}:{view}"
        if not rows:
            return Features({}, source)
        if len(rows) > 1:
            raise StoreError(
                where,
                got="more than one row",
                promised="at most one",
                mend="aggregate, or add ORDER BY and LIMIT 1",
            )
        return self._features(where, source, rows[0])

    def _features(self, where: str, source: str, row: RowMapping) -> Features:
        values: dict[str, Any] = {}  # JSON values, of whatever types the columns have
        age: float | None = None
        for name, value in row.items():
            column = str(name)
            if column == _AS_OF:
                age = _age_s(f"{where}.{column}", value, self._now())
            else:
                values[column] = _json_value(f"{where}.{column}", value)
        return Features(values, source, age)


def _url(text_of_it: str) -> URL:
    try:
        url = make_url(text_of_it)
    except ArgumentError:
        raise SettingsError(
            "features.url",
            got="something else",  # it may hold a password
            promised='a SQLAlchemy URL such as "sqlite:///features.db"',
        ) from None
    # What SQLAlchemy takes for the plain name depends on its version; psycopg is what we install.
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _view(name: str, sql: str) -> TextClause:
    statement = text(sql)
    binds = set(statement.compile().params)
    if binds != {"entity"}:
        others = ", ".join(f":{bind}" for bind in sorted(binds)) or "nothing"
        raise SettingsError(
            f"features.views.{name}",
            got=f"a query that binds {others}",
            promised="one that binds :entity and nothing else",
            mend="write WHERE key = :entity",
        )
    return statement


def _engine(url: URL, threads: int) -> Engine:
    arguments: dict[str, Any] = {}  # of the driver
    if url.get_backend_name() == "postgresql":
        read_only = f"-c default_transaction_read_only=on -c statement_timeout={_STATEMENT_MS}"
        arguments = {"options": read_only, "connect_timeout": 5}
    try:
        engine = create_engine(
            url,
            connect_args=arguments,
            pool_size=threads,
            max_overflow=0,
            pool_pre_ping=url.get_backend_name() != "sqlite",
            hide_parameters=True,  # the key of an entity is personal data
        )
    except (SQLAlchemyError, ImportError, TypeError) as error:
        raise SettingsError(
            "features.url",
            got=f"a {url.drivername} URL that cannot be used ({type(error).__name__})",
            mend="install the driver of the database, and name it in the URL",
        ) from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _sqlite_read_only)
    return engine


def _sqlite_read_only(connection: Any, _: object) -> None:  # a connection of the driver
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA busy_timeout=1000")


def _check_file(url: URL, where: str) -> None:
    """SQLite would make an empty database of a misspelt path, and then miss its tables."""
    path = url.database
    if path and path != ":memory:" and not path.startswith("file:") and not Path(path).is_file():
        raise StoreError(where, got=f"no database at {path}", mend="check features.url")


def _said(error: SQLAlchemyError, entity: str) -> str:
    """What the database said, unless it repeats the key."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    kind = type(cause).__name__
    lines = str(cause).strip().splitlines()
    if not lines or (entity and any(entity in line for line in lines)):
        return kind
    return f"{kind}: {lines[0][:300]}"


def _json_value(where: str, value: Any) -> Any:
    """A column's value as JSON has it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, Decimal)):
        number = float(value)
        if not math.isfinite(number):
            mend = "turn it into NULL in the view"
            raise StoreError(where, got=str(number), promised="a finite number", mend=mend)
        return number
    if isinstance(value, (datetime, date, time_of_day)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(where, item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {str(name): _json_value(f"{where}.{name}", item) for name, item in named.items()}
    raise StoreError(
        where,
        got=type(value).__name__,
        promised="a JSON value: number, text, boolean, NULL, array or object",
        mend="convert the column in the view",
    )


def _age_s(where: str, value: Any, now: float) -> float | None:
    """Seconds since a timestamp, never below zero; None for NULL. Without a zone it is UTC."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return max(0.0, now - moment.timestamp())
        if isinstance(value, date):
            midnight = datetime(value.year, value.month, value.day, tzinfo=UTC)
            return max(0.0, now - midnight.timestamp())
        return max(0.0, now - float(value))
    except (ValueError, TypeError, OverflowError):
        raise StoreError(
            where,
            got=f"{type(value).__name__} that is no time",
            promised="a timestamp, ISO 8601 text, or Unix seconds",
        ) from None
