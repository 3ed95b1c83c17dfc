"""A project whose calls are encrypted, and eyes that look through every byte it leaves."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import zstandard
from sqlalchemy import make_url

from splice.adapters.vaults.file import FileVault
from splice.app.settings import Settings, load
from splice.app.tending import eraser_of
from splice.app.wiring import Stores
from splice.testing.project import Project

DECLARED = '''
import splice


class Visit(splice.Request):
    patient: splice.Entity
    complaint: str
    age: int
    ward: str = "east"


class Triage(splice.Reply):
    urgency: float
    advice: str


def rule(context):
    if context["age"] > 200:
        raise ValueError("no age for " + context["complaint"])
    return 0.9 if context["age"] > 60 else 0.2


class Triages(splice.Integration):
    """See the urgent ones first."""

    risk = splice.Risk.HIGH
    protect = splice.Protect(encrypt=True{more})
    routes = [splice.Rule(rule)]

    async def context(self, visit: Visit, look: splice.Lookup) -> dict:
        return {"age": visit.age, "complaint": visit.complaint, "ward": visit.ward}

    def decide(self, visit: Visit, prediction: splice.Prediction) -> Triage:
        if visit.age < 0:
            raise ValueError("no such age: " + visit.complaint)
        return Triage(prediction.score, "rest, " + visit.complaint)
'''


class House:
    """A project folder with a ledger in SQLite or PostgreSQL."""

    def __init__(self, folder: Path, ledger: str = "", *, more: str = "", toml: str = "") -> None:
        self.folder = folder
        self.postgres = ledger
        where = f'[ledger]\nurl = "{ledger}"\n' if ledger else ""
        keys = '[encryption]\nkeys = "sqlite:///.splice-keys/people.db"\n' if ledger else ""
        self.project = Project(folder, f'[project]\napply = "new"\n{where}{keys}{toml}')
        self.project.declare(DECLARED.replace("{more}", more))
        self.vault = FileVault(folder / ".splice-keys" / "vault.json")
        self.vault.make(1)

    @property
    def settings(self) -> Settings:
        return load(self.folder, {})

    def stores(self) -> Stores:
        return Stores(self.settings)

    def erase(self, person: str, **options: Any) -> Any:
        with closing(self.stores()) as stores:
            given = {"by": "ada", "why": "letter 7", "now_us": 1_900_000_000_000_000} | options
            return eraser_of(stores).erase(person, **given)

    def everything(self) -> bytes:
        """Every byte of the ledger and of the files beside it; not of the keys."""
        return b"\n".join([*self._files(), *self._rows()])

    def _files(self) -> Iterator[bytes]:
        for path in sorted((self.folder / ".splice").rglob("*")):
            if path.is_file():
                yield path.read_bytes()
                if path.suffix == ".parquet":
                    yield _parquet(path)

    def _rows(self) -> Iterator[bytes]:
        """Values of all tables, unpacked where they are packed."""
        for value in self._values():
            if isinstance(value, (bytes, memoryview)):
                yield bytes(value)
                with suppress(zstandard.ZstdError):
                    yield zstandard.ZstdDecompressor().decompress(bytes(value), 1 << 24)
            elif value is not None:
                yield str(value).encode()

    def _values(self) -> Iterator[Any]:
        if self.postgres:
            import psycopg

            with psycopg.connect(self.postgres) as connection:
                names = connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                ).fetchall()
                for (name,) in names:
                    for row in connection.execute(f'SELECT * FROM "{name}"'.encode()):
                        yield from row
            return
        with closing(sqlite3.connect(self.folder / ".splice" / "ledger.db")) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (name,) in names.fetchall():
                for row in connection.execute(f'SELECT * FROM "{name}"'):
                    yield from row

    def back_up(self) -> Any:
        """A copy of the ledger, and of nothing else."""
        if not self.postgres:
            copy = self.folder / "backup"
            shutil.copytree(self.folder / ".splice", copy)
            return copy
        name = f"backup_{uuid.uuid4().hex[:12]}"
        self._server(f'CREATE DATABASE {name} TEMPLATE "{self._database}"')
        return name

    def restore(self, copy: Any) -> None:
        """The ledger is that copy again."""
        if not self.postgres:
            shutil.rmtree(self.folder / ".splice")
            copy.rename(self.folder / ".splice")
            return
        self._server(f'DROP DATABASE "{self._database}" WITH (FORCE)')
        self._server(f'ALTER DATABASE {copy} RENAME TO "{self._database}"')

    @property
    def _database(self) -> str:
        return str(make_url(self.postgres).database)

    def _server(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(os.environ["SPLICE_TEST_POSTGRES"], autocommit=True) as connection:
            connection.execute(statement.encode())


def _parquet(path: Path) -> bytes:
    import pyarrow.parquet as pq

    return str(pq.read_table(path).to_pylist()).encode()
