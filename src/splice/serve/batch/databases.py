"""Databases: a table by its URL, and the connections to it. No credentials leave this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, create_engine, event, inspect, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from splice.core.errors import SettingsError, StoreError

KINDS = ("sqlite", "postgresql")


class Place(msgspec.Struct, frozen=True):
    """A table, or a query, of a database.

    `shown` is what people and files may see: no user, no password, no options of the driver.
    """

    url: URL
    table: str
    key: str
    shown: str

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    @property
    def named(self) -> tuple[str | None, str]:
        """The table's schema, where it has one, and its name in it."""
        schema, _, name = self.table.rpartition(".")
        return schema or None, name

    def __repr__(self) -> str:
        return f"Place({self.shown})"


def place_of(text: str, *, query: str = "") -> Place:
    """The place that a URL such as `sqlite:///shop.db?table=orders&key=id` names.

    Raises:
        SettingsError: It names none.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingsError(
            "database",
            got="a URL that cannot be read",  # it may hold a password
            promised='one such as "sqlite:///shop.db?table=orders&key=id"',
        ) from None
    if url.get_backend_name() not in KINDS:
        raise SettingsError(
            "database", got=f"a {url.get_backend_name()} URL", promised=" or ".join(KINDS)
        )
    if url.drivername == "postgresql":
        # What SQLAlchemy takes for the plain name depends on its version; psycopg is installed.
        url = url.set(drivername="postgresql+psycopg")
    table, key = (_one(url, name) for name in ("table", "key"))
    host = url.host or _one(url, "host") or ""
    port = f":{url.port}" if url.port else ""
    shown = f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"
    url = url.difference_update_query(["table", "key"])
    if bool(table) == bool(query):
        raise SettingsError(
            shown, got="a table and a query" if table else "neither a table nor a query",
            promised="one of them", mend="name the table in the URL: …?table=orders&key=id",
        )  # fmt: skip
    return Place(url, table, key, f"{shown}?table={table}" if table else shown)


def connect(place: Place, *, read_only: bool) -> Engine:
    """Connections to a place.

    Raises:
        SettingsError: Its driver is missing, or SQLite has no such file to read.
    """
    arguments: dict[str, Any] = {}  # of the driver
    if place.kind == "postgresql":
        arguments = {"connect_timeout": 10}
        if read_only:
            arguments["options"] = "-c default_transaction_read_only=on"
    elif read_only:
        _check_file(place)
    try:
        engine = create_engine(
            place.url,
            connect_args=arguments,
            poolclass=NullPool,  # minutes may pass between two pages: no connection waits for them
            hide_parameters=True,  # rows are personal data
        )
    except (SQLAlchemyError, ImportError, TypeError) as error:
        raise SettingsError(
            place.shown,
            got=f"a {place.url.drivername} URL that cannot be used ({type(error).__name__})",
            mend="install splice-ai[postgres]",
        ) from None
    if place.kind == "sqlite":
        event.listen(engine, "connect", _reading if read_only else _writing)
    return engine


def said(place: Place, error: SQLAlchemyError) -> StoreError:
    """What a database said, as an error of ours: where it can be reached later, and where not."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines()
    text = f"{type(cause).__name__}: {lines[0][:300] if lines else ''}"
    return StoreError(place.shown, got=text, mend="the same command goes on when it is back")


def found(place: Place, engine: Engine) -> Inspector:
    """An inspector of the table, which exists.

    Raises:
        SettingsError: There is no such table.
        StoreError: The database cannot be reached.
    """
    schema, name = place.named
    try:
        inspector = inspect(engine)
        there = inspector.has_table(name, schema=schema)
    except SQLAlchemyError as error:
        raise said(place, error) from None
    if not there:
        raise SettingsError(place.shown, got="no such table", mend="check ?table= in the URL")
    return inspector


def _one(url: URL, name: str) -> str:
    value = url.query.get(name, "")
    if isinstance(value, str):
        return value
    raise SettingsError("database", got=f"{name} twice in the URL", promised="it once")


def _check_file(place: Place) -> None:
    """SQLite would make an empty database of a misspelt path, and then miss its tables."""
    path = place.url.database
    if not path or not Path(path).is_file():
        raise SettingsError(place.shown, got=f"no database at {path or 'no path'}")


def _reading(connection: Any, _: object) -> None:  # a connection of the driver
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA busy_timeout=30000")
    # A text of bytes that are not UTF-8 is a mistake of its row, not of the page it is on.
    connection.text_factory = _text


def _text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _writing(connection: Any, _: object) -> None:  # as above
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA synchronous=FULL")
