"""Tables that decisions are written into: `table:NAME`, in the ledger's own database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, inspect

from splice.adapters.ledgers.database import Database, Into
from splice.adapters.ledgers.event_tables import inbox
from splice.adapters.ledgers.tables import without_nul
from splice.core.errors import SettingsError
from splice.core.events import Message

_COLUMNS = (
    ("id", "text"), ("call_id", "text"), ("at_us", "bigint"), ("key", "text"), ("value", "text"),
    ("headers", "text"),
)  # fmt: skip
_TABLE = """
CREATE TABLE {name} (
    id TEXT NOT NULL PRIMARY KEY,
    call_id TEXT,
    at_us BIGINT NOT NULL,
    key TEXT,
    value TEXT,
    headers TEXT NOT NULL
)
"""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_OURS = re.compile(r"(sqlite|pg|splice|alembic)_.*|(calls|blocks)_day_\d+")


@lru_cache(maxsize=256)
def table_of(target: str) -> str:
    """The name in `table:NAME`.

    Raises:
        SettingsError: It is no name, or that of a table of ours.
    """
    name = target.removeprefix("table:")
    promised = "table:NAME of a-z, 0-9 and _, at most 51 characters, no digit first"
    if _NAME.fullmatch(name) is None:
        raise SettingsError(target, got=f"the name {name!r}", promised=promised)
    if name in inbox.metadata.tables or _OURS.fullmatch(name):
        raise SettingsError(target, got="a name of the ledger's own tables", mend="name another")
    return name


def row_of(message: Message, call_id: str | None, now_us: int) -> tuple[Any, ...]:
    """A row for people and programs that read SQL: what is not UTF-8 has U+FFFD in its place."""
    headers = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    return (
        without_nul(message.id), call_id, now_us, _text(message.key), _text(message.value),
        msgspec.json.encode(headers).decode(),
    )  # fmt: skip


class TargetTables:
    """Makes each when it is first wanted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._made: set[str] = set()

    def make(self, names: Iterable[str]) -> None:
        """Must not be called within a transaction.

        Raises:
            SettingsError: There is a table of that name, and it has other columns.
        """
        for name in sorted(set(names) - self._made):
            with self._database.write() as connection:
                self._database.lock(connection, "tables")
                found = inspect(connection)
                if not found.has_table(name):
                    connection.exec_driver_sql(_TABLE.format(name=name))
                elif missing := self._missing(found.get_columns(name)):
                    raise SettingsError(
                        f"table:{name}", got=f"a table without the columns {', '.join(missing)}",
                        mend="name another table, or rename that one",
                    )  # fmt: skip
            self._made.add(name)

    def forget(self) -> None:
        """Look again: one may have been dropped."""
        self._made.clear()

    def insert(self, connection: Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store rows; one whose id is there already is passed over."""
        values = [value for row in sorted(rows) for value in row]
        self._database.insert_rows(connection, Into(name, _COLUMNS, or_ignore=True), values)

    @staticmethod
    def _missing(columns: Sequence[Any]) -> list[str]:
        there = {column["name"] for column in columns}
        return [name for name, _ in _COLUMNS if name not in there]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else without_nul(raw.decode("utf-8", "replace"))
