"""Transactional outbox: an event of your application exists exactly if its business row does.

    with connection:  # your transaction
        connection.execute("INSERT INTO orders …")
        outbox.add(
            connection, aggregatetype="order", aggregateid="4711", type="OrderPlaced",
            payload={"customer": "c-1", "amount_eur": 99.5},
        )

`splice relay` then sends the row to Kafka or to an embedded queue, and Debezium can as well: the
table has the columns that its EventRouter reads. This module needs nothing but the connection that
your application has: one of DB-API 2.0 (sqlite3, psycopg), of SQLAlchemy, or of Django.
"""

from __future__ import annotations

import random
import re
import sqlite3
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack
from uuid import UUID

import msgspec

from splice.core.errors import InputMismatch
from splice.core.ids import uuid7
from splice.declare.bodies import refuse_not_finite

__all__ = ["Columns", "add", "ddl", "row"]

Dialect = Literal["postgresql", "sqlite"]

_TYPE = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)
_LONGEST = 255
_random = random.SystemRandom()

_POSTGRESQL = """\
CREATE TABLE {table} (
    id uuid PRIMARY KEY,
    aggregatetype varchar(255) NOT NULL,
    aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL,
    payload jsonb,
    headers jsonb,
    tracingspancontext varchar(1024),
    created_at timestamptz NOT NULL DEFAULT now(),
    seq bigint GENERATED ALWAYS AS IDENTITY,
    sent_at timestamptz
);
CREATE INDEX {name}_waiting ON {table} (seq) WHERE sent_at IS NULL;
"""

_SQLITE = """\
CREATE TABLE {table} (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    aggregatetype TEXT NOT NULL,
    aggregateid TEXT NOT NULL,
    type TEXT NOT NULL,
    payload,
    headers TEXT,
    tracingspancontext TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    sent_at TEXT
);
CREATE INDEX {name}_waiting ON {table} (seq) WHERE sent_at IS NULL;
"""


class _Needed(TypedDict):
    aggregatetype: str
    aggregateid: str | int | UUID
    type: str
    payload: Any  # whatever JSON can hold


class Columns(_Needed, total=False):
    """The columns of one event, by the names that Debezium's EventRouter gives them.

    `aggregatetype` says what the event is about and where it goes (`order`); it becomes a part of a
    topic's name. `aggregateid` is the key: events of one keep their order. `type` says what
    happened. `payload` is text or bytes, which are stored as they are, None for a tombstone, or
    anything else that JSON can hold. `id` is a fresh UUID where none is given. `headers` go with
    the message; `traceparent` (W3C) ties it to the trace that made it.
    """

    id: str | UUID
    headers: Mapping[str, str]
    traceparent: str


def ddl(dialect: Dialect, table: str = "outbox") -> str:
    """The statements that make the table and its index.

    Raises:
        InputMismatch: There is no such dialect, or the name is none that SQL takes unquoted.
    """
    texts = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}
    if dialect not in texts:
        raise InputMismatch("outbox.dialect", got=dialect, promised=" or ".join(texts))
    name = _table(table).rpartition(".")[2]
    return texts[dialect].format(table=table, name=name)


def add(connection: Any, table: str = "outbox", **columns: Unpack[Columns]) -> str:
    """Add an event to the outbox, in the transaction that the connection is in; gives its id.

    It is there if and only if your transaction commits. Nothing is committed here.

    Args:
        connection: Of DB-API 2.0, of SQLAlchemy (Connection or Session), or of Django. From an
            AsyncConnection or AsyncSession: `await session.run_sync(outbox.add, **columns)`.
        table: The outbox table, as `ddl` made it.
        **columns: See `Columns`.

    Raises:
        InputMismatch: A column does not hold what it may, or the connection commits each statement
            by itself and has no transaction open: then the event could exist without your row.
    """
    values = row(**columns)
    names = ", ".join(values)
    execute, style = _executor(connection)
    marks = ", ".join("?" if style == "qmark" else "%s" for _ in values)
    if style in ("numeric", "numeric_dollar", "named"):
        sign = {"numeric": ":", "numeric_dollar": "$", "named": ":p"}[style]
        marks = ", ".join(f"{sign}{number}" for number in range(1, len(values) + 1))
    given: Any = tuple(values.values())
    if style == "named":
        given = {f"p{number}": value for number, value in enumerate(given, 1)}
    execute(f"INSERT INTO {_table(table)} ({names}) VALUES ({marks})", given)  # noqa: S608
    return values["id"]


def row(**columns: Unpack[Columns]) -> dict[str, Any]:
    """The same event as a row, column to value, for those who insert it by means of their own.

    Raises:
        InputMismatch: A column does not hold what it may.
    """
    known = Columns.__required_keys__ | Columns.__optional_keys__
    for wrong in sorted((Columns.__required_keys__ - columns.keys()) | (columns.keys() - known)):
        got = "nothing" if wrong in known else "a column that is not known"
        raise InputMismatch(f"outbox.{wrong}", got=got, promised=", ".join(sorted(known)))
    values: dict[str, Any] = {
        "id": _id(columns.get("id")),
        "aggregatetype": columns["aggregatetype"],
        "aggregateid": _bounded("aggregateid", columns["aggregateid"]),
        "type": _bounded("type", columns["type"]),
        "payload": _payload(columns["payload"]),
    }
    if not isinstance(values["aggregatetype"], str) or not _TYPE.fullmatch(values["aggregatetype"]):
        raise InputMismatch(
            "outbox.aggregatetype",
            got=str(values["aggregatetype"])[:100] or "nothing",
            promised="up to 200 letters, digits, points, _ or -, as the name of a topic has them",
        )
    if headers := columns.get("headers"):
        values["headers"] = msgspec.json.encode(dict(headers)).decode()
    if trace := columns.get("traceparent"):
        values["tracingspancontext"] = f"traceparent={trace}\n"  # as java.util.Properties has it
    return values


def _id(given: str | UUID | None) -> str:
    if given is None:
        return uuid7(time.time_ns() // 1_000_000, _random.getrandbits(74))
    try:
        return str(UUID(str(given)))
    except ValueError:
        raise InputMismatch("outbox.id", got=str(given)[:100], promised="a UUID") from None


def _bounded(name: str, value: str | int | UUID) -> str:
    text = str(value)
    if not 0 < len(text) <= _LONGEST or "\0" in text:
        raise InputMismatch(
            f"outbox.{name}",
            got=f"{len(text)} characters",
            promised=f"1 to {_LONGEST}, without NUL",
        )
    return text


def _payload(value: Any) -> str | bytes | None:
    if value is None or isinstance(value, (str, bytes)):
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    if hasattr(value, "model_dump_json"):  # a pydantic model
        return value.model_dump_json()
    refuse_not_finite(value, "outbox.payload")
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputMismatch("outbox.payload", got=str(error), promised="JSON values") from None


def _table(table: str) -> str:
    if not _TABLE.fullmatch(table):
        raise InputMismatch("outbox.table", got=table[:100], promised="a name such as shop.outbox")
    return table


def _executor(connection: Any) -> tuple[Any, str]:
    """What executes a statement on a connection, and how its parameters are written."""
    if hasattr(connection, "get_bind") and callable(getattr(connection, "connection", None)):
        connection = connection.connection()  # a Session of SQLAlchemy
    if hasattr(connection, "exec_driver_sql"):
        if not connection.in_transaction():
            connection.exec_driver_sql("SELECT 1").close()  # SQLAlchemy begins one by itself
        _refuse_autocommit(connection.connection.driver_connection)
        return connection.exec_driver_sql, connection.dialect.paramstyle
    if not hasattr(connection, "cursor"):
        got = f"{type(connection).__module__}.{type(connection).__qualname__}"
        raise InputMismatch(
            "outbox.connection", got=got, promised="a connection of DB-API 2.0 or of SQLAlchemy"
        )
    _refuse_autocommit(connection)

    def execute(statement: str, values: Any) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(statement, values)
        finally:
            cursor.close()

    module = sys.modules.get(type(connection).__module__.partition(".")[0])
    style = getattr(module, "paramstyle", "format")  # Django's own takes %s for every database
    if isinstance(connection, sqlite3.Connection):  # a subclass stands in another module
        style = "qmark"
    return execute, style


def _refuse_autocommit(connection: Any) -> None:
    """Passes a connection whose next statement is a part of a transaction.

    Raises:
        InputMismatch: It would be committed by itself.
    """
    if not _commits_alone(connection):
        return
    raise InputMismatch(
        "outbox.connection",
        got="one in autocommit mode, without a transaction",
        promised="the transaction that your business row is in",
        mend="begin a transaction, and do both in it",
    )


def _commits_alone(connection: Any) -> bool:
    if isinstance(connection, sqlite3.Connection):
        if connection.in_transaction:
            return False
        mode = getattr(connection, "autocommit", -1)  # since Python 3.12; -1: as it always was
        return mode is True or (mode == -1 and connection.isolation_level is None)
    if hasattr(connection, "in_atomic_block"):  # Django's
        return not connection.in_atomic_block and bool(connection.get_autocommit())
    if getattr(connection, "autocommit", False) is not True:
        return False
    status = getattr(getattr(connection, "info", None), "transaction_status", 0)
    return int(status) == 0  # libpq's word for idle
