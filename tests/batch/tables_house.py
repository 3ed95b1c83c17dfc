"""Databases with tables of orders in them, of both kinds."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

PASSWORD = "canary-5f1d0c77e2"


class Database:
    """One database of a test.

    Args:
        kind: `sqlite` or `postgresql`.
        url: Where it is, with `PASSWORD` where there are passwords.
    """

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        driver = make_url(url)
        if kind == "postgresql":
            driver = driver.set(drivername="postgresql+psycopg")
        self._engine = create_engine(driver, poolclass=NullPool)

    def at(self, table: str, key: str = "") -> str:
        """The URL of a table."""
        joint = "&" if "?" in self.url else "?"
        return f"{self.url}{joint}table={table}" + (f"&key={key}" if key else "")

    def keyed(self, key: str) -> str:
        """The URL for a query."""
        return f"{self.url}{'&' if '?' in self.url else '?'}key={key}"

    def run(self, sql: str, rows: Sequence[dict[str, Any]] = ()) -> None:
        """Run a statement, for each of the rows where there are some."""
        with self._engine.begin() as connection:
            connection.execute(text(sql), list(rows) or None)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a SELECT gives."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def orders(self, keys: Sequence[int | str], *, kind: str = "TEXT", name: str = "shop") -> None:
        """A table of orders with those keys; the amount is the place of an order among them."""
        self.run(
            f"CREATE TABLE {name} (id {kind} PRIMARY KEY, customer TEXT, amount_eur NUMERIC(12, 2))"
        )
        self.add(keys, name=name)

    def add(self, keys: Sequence[int | str], *, name: str = "shop") -> None:
        """Further orders."""
        rows = [{"id": key, "who": f"c{n}", "much": n % 1000} for n, key in enumerate(keys)]
        self.run(f"INSERT INTO {name} VALUES (:id, :who, :much)", rows)


@contextmanager
def database_of(kind: str, folder: Path) -> Iterator[Database]:
    """A database of one kind, empty."""
    if kind == "sqlite":
        yield Database(kind, f"sqlite:///{folder / 'shop.db'}")
        return
    server = os.environ.get("SPLICE_TEST_POSTGRES")
    if not server:
        pytest.skip("no PostgreSQL: scripts/services start")
    name = f"batch_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = make_url(server).set(database=name, password=PASSWORD)
    yield Database(kind, url.render_as_string(hide_password=False))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
