"""Databases of an application, with an outbox in them; places that messages go to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from splice import outbox
from splice.core.errors import BusError
from splice.core.events import Message

SERVICES = Path(__file__).parents[2] / "scripts" / "services"


class Shop:
    """An application's database: an outbox and a business table, `orders`."""

    def __init__(self, url: str, kind: str) -> None:
        self.url, self.kind = url, kind

    def connect(self, **options: Any) -> Any:
        """A connection of DB-API, as an application opens it."""
        if self.kind == "sqlite":
            return sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30, **options)
        return psycopg.connect(self.url, **options)

    def run(self, *statements: str) -> None:
        """Execute and commit."""
        with closing(self.connect()) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def add(self, *events: tuple[str, Any], kind: str = "order") -> list[str]:
        """Events in one transaction: aggregate id and payload of each."""
        with closing(self.connect()) as connection:
            ids = [
                outbox.add(
                    connection, aggregatetype=kind, aggregateid=key, type="Changed", payload=body
                )
                for key, body in events
            ]
            connection.commit()
        return ids

    def rows(self, query: str = "SELECT count(*) FROM outbox") -> list[tuple[Any, ...]]:
        """What a query gives."""
        with closing(self.connect()) as connection:
            return list(connection.execute(query).fetchall())

    @property
    def waiting(self) -> int:
        """Rows in the outbox."""
        return self.rows()[0][0]


def postgres_server() -> str:
    """URL of a server to make databases in; skips the test where there is none."""
    if given := os.environ.get("SPLICE_TEST_POSTGRES"):
        return given
    up = subprocess.run([SERVICES, "status", "postgres"], capture_output=True, check=False)
    if up.returncode:
        pytest.skip("no PostgreSQL server: scripts/services start postgres")
    said = subprocess.run([SERVICES, "env", "postgres"], capture_output=True, check=True, text=True)
    return said.stdout.strip().partition("=")[2]


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """A database for the tests of one file."""
    server, name = postgres_server(), f"shop_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield server.replace("/splice_test", f"/{name}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def postgres_shop(postgres_url: str) -> Shop:
    """The application on PostgreSQL, with empty tables."""
    shop = Shop(postgres_url, "postgresql")
    shop.run(
        "DROP SCHEMA public CASCADE", "CREATE SCHEMA public",
        outbox.ddl("postgresql"), "CREATE TABLE orders (id text PRIMARY KEY)",
    )  # fmt: skip
    return shop


def sqlite_shop(folder: Path) -> Shop:
    """A file in WAL mode, as an application that serves many would have it."""
    shop = Shop(f"sqlite:///{folder}/shop.db", "sqlite")
    with closing(shop.connect()) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(outbox.ddl("sqlite"))
        connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")
        connection.commit()
    return shop


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """The same application on either database."""
    if request.param == "sqlite":
        return sqlite_shop(tmp_path)
    return request.getfixturevalue("postgres_shop")


class Place:
    """A sink that keeps what it gets, unless it is told to refuse it."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.tries = 0
        self.refuses: Callable[[Message], BusError | None] = lambda message: None

    async def send(self, messages: Sequence[Message]) -> None:
        """In order, up to the first that is refused."""
        self.tries += 1
        for message in messages:
            if error := self.refuses(message):
                raise error
            self.got.append(message)

    async def close(self) -> None:
        """Nothing to let go of."""

    def bodies(self, target: str = "") -> list[bytes | None]:
        """Of all that came, or of what came for a target."""
        return [one.value for one in self.got if not target or one.target == target]


def away(where: str = "broker") -> BusError:
    """An error that may pass."""
    return BusError(where, got="no connection")


def refused(where: str = "broker") -> BusError:
    """An error that will come again."""
    error = BusError(where, got="a message that is too large")
    error.retryable = False
    return error
