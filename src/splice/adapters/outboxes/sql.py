"""An outbox table in PostgreSQL or SQLite, read by one relay at a time.

Rows are taken by what is there, never by a position: a row whose transaction commits late has a
lower number than rows that were sent already, and whoever remembers a number would miss it. Where
an application changes one aggregate after the other (as it must for its own sake), what it wrote
last has the highest number and is seen last.

One relay at a time has the right to send. In PostgreSQL it is a lock of the transaction that
reads, is kept open while the rows are sent, and deletes them: it ends with its connection, and it
passes through a pooler such as PgBouncer. In SQLite, where an open transaction would keep the
application from writing, it is a lock on a small file beside the database; rows are read in one
short transaction and deleted in another.

A relay that loses its right without knowing may send what it took once more, beside its successor.
Both send in order, and what the successor sends begins at the same row or before, so the first
time that each event comes is in order too: whoever drops repeated ids sees no difference.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import msgspec
from sqlalchemy import (
    JSON,
    URL,
    Connection,
    Engine,
    LargeBinary,
    String,
    Text,
    Uuid,
    column,
    create_engine,
    delete,
    func,
    inspect,
    make_url,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy import cast as as_type
from sqlalchemy import table as table_of
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from splice.core.errors import SettingsError, StoreError
from splice.ports.outboxes import Held, OutboxRow

_NEEDED = ("id", "aggregatetype", "aggregateid", "type", "payload")
_BUSY_S = 10.0
_LOCK = 0x53504C << 40  # "SPL" before the table's number: nobody else's advisory lock
_OPTIONS = "-c synchronous_commit=on -c statement_timeout=60s -c lock_timeout=10s"


class SqlOutboxTable:
    """`splice.ports.outboxes.OutboxTable` over SQLAlchemy.

    Args:
        url: Of the application's database: `postgresql://…` or `sqlite:///…`.
        table: Its name, with a schema where it has one.
        order_by: The column that says in which order rows were written.
        mark: Keep the rows that were sent, with the time in `sent_at`.

    Raises:
        SettingsError: The URL is none, or of another kind of database.
    """

    def __init__(
        self, url: str, table: str = "outbox", *, order_by: str = "seq", mark: bool = False
    ) -> None:
        self._url = _url(url)
        self._schema, _, self._name = table.rpartition(".")
        self._order_by = order_by
        self._mark = mark
        shown = self._url.set(password=None, query={}).render_as_string()
        self._where = f"{table} in {shown}"
        self._secret = str(self._url.password or "")
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = self._open()
        self._connection: Connection | None = None  # of the transaction that holds the right
        self._lock: sqlite3.Connection | None = None
        self._select: Any = None  # SQLAlchemy's types of a SELECT name each column
        self._as_id: Callable[[str], Any] = str
        self._table = table_of(self._name, column("id"), schema=self._schema or None)

    def take(self, limit: int, held: Held) -> list[OutboxRow] | None:
        """See `splice.ports.outboxes.OutboxTable`."""
        with self._errors():
            if self._connection is not None:
                self._end(self._connection.rollback)
            if self._sqlite and not self._locked():
                return None
            connection = self._connection = self._engine.connect()
            if not self._sqlite and not self._may_send(connection):
                self._end(connection.rollback)
                return None
            query = _without(self._query(connection), held).limit(limit)
            rows = [_row(*one) for one in connection.execute(query)]
            if self._sqlite:
                self._end(connection.rollback)  # the application must be able to write
            return rows

    def done(self, sent: Sequence[OutboxRow]) -> None:
        """See `splice.ports.outboxes.OutboxTable`."""
        with self._errors():
            if self._connection is None and sent:
                self._connection = self._engine.connect()
            if self._connection is None:
                return
            if sent:
                self._forget(self._connection, [row.id for row in sent])
            self._end(self._connection.commit if sent else self._connection.rollback)

    def close(self) -> None:
        """See `splice.ports.outboxes.OutboxTable`."""
        with suppress(StoreError), self._errors():
            if self._connection is not None:
                self._end(self._connection.rollback)
        self._engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _open(self) -> Engine:
        if self._sqlite:
            return create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        return create_engine(
            self._url.set(drivername="postgresql+psycopg"),
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",  # rows are looked at once the right was got
            hide_parameters=True,
            connect_args={
                "connect_timeout": 10,
                "application_name": "splice relay",
                "options": " ".join([_OPTIONS, *self._url.normalized_query.get("options", ())]),
                "tcp_user_timeout": 10_000,  # ms: a server that vanished is noticed in 10 s
            },
        )

    def _connect(self) -> sqlite3.Connection:
        file = quote(str(Path(self._url.database or "").absolute()))
        # `rw`: a slip in the path must not make an empty database.
        return sqlite3.connect(
            f"file:{file}?mode=rw", uri=True, timeout=_BUSY_S, check_same_thread=False
        )

    def _locked(self) -> bool:
        """Whether this process has the lock beside the file; it keeps it until it ends."""
        if self._lock is not None:
            return True
        self._connect().close()  # says so where there is no such database
        file = f"{self._url.database}-{self._name}-relay"
        lock = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            lock.close()
            if "locked" in str(error):
                return False
            raise
        self._lock = lock
        return True

    def _may_send(self, connection: Connection) -> bool:
        named = f'"{self._schema}"."{self._name}"' if self._schema else f'"{self._name}"'
        number = connection.execute(
            text("SELECT CAST(to_regclass(:named) AS oid)"), {"named": named}
        ).scalar()
        if number is None:
            raise NoSuchTableError(self._name)
        key = _LOCK | int(number)
        right = text("SELECT pg_try_advisory_xact_lock(:key)")
        return bool(connection.execute(right, {"key": key}).scalar())

    def _query(self, connection: Connection) -> Any:
        """All that a row has, by the columns that the table has; looked up once."""
        if self._select is not None:
            return self._select
        found = inspect(connection).get_columns(self._name, schema=self._schema or None)
        kinds = {one["name"]: one["type"] for one in found}
        needed = [*_NEEDED, self._order_by, *(("sent_at",) if self._mark else ())]
        missing = [name for name in needed if name not in kinds]
        if missing:
            raise StoreError(
                self._where,
                got=f"a table without the columns {', '.join(missing)}",
                promised="an outbox as splice outbox ddl makes it",
                mend="add them; another order than by seq is order_by in the relay's settings",
            )

        def shown(name: str) -> Any:
            if name not in kinds:
                return text("NULL")
            plain = cast("Any", column(name))
            is_text = isinstance(kinds[name], JSON) or (name == "id" and not self._sqlite)
            return as_type(plain, Text) if is_text else plain

        if isinstance(kinds["id"], Uuid):
            self._as_id = UUID
        binary = isinstance(kinds["payload"], LargeBinary)
        if not (self._sqlite or binary or isinstance(kinds["payload"], (JSON, String))):
            raise StoreError(
                self._where, got=f"a payload of type {kinds['payload']}",
                promised="jsonb, json, text or bytea",
            )  # fmt: skip
        columns = [shown(name) for name in _NEEDED]
        columns += [text("1" if binary else "0"), shown("headers"), shown("tracingspancontext")]
        columns.append(shown("created_at"))
        query = select(*columns).select_from(self._table).order_by(column(self._order_by))
        if "sent_at" in kinds:
            query = query.where(column("sent_at").is_(None))
        self._select = query
        return query

    def _forget(self, connection: Connection, ids: list[str]) -> None:
        known = cast("Any", column("id"))
        given = [self._as_id(one) for one in ids]
        if self._mark:
            now: Any = _now_text() if self._sqlite else func.now()
            table = table_of(self._name, column("sent_at"), schema=self._schema or None)
            connection.execute(update(table).where(known.in_(given)).values(sent_at=now))
        else:
            connection.execute(delete(self._table).where(known.in_(given)))

    def _end(self, how: Callable[[], None]) -> None:
        connection, self._connection = self._connection, None
        try:
            how()
        finally:
            if connection is not None:
                connection.close()

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(SQLAlchemyError):
                    connection.invalidate()
                    connection.close()
            raise self._foreign(error) from None

    def _foreign(self, error: BaseException) -> StoreError:
        original = error.orig if isinstance(error, DBAPIError) and error.orig else error
        said = (str(original).strip().splitlines() or [type(original).__name__])[0]
        if isinstance(error, NoSuchTableError):
            said = "no such table"
        if self._secret:
            said = said.replace(self._secret, "***")
        mend = "check that the database runs, and that the table is there: splice outbox ddl"
        return StoreError(self._where, got=said, mend=mend)


def _url(given: str) -> URL:
    try:
        url = make_url(given)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "sqlite"):
        raise SettingsError(
            "relay.url_env",
            got="a variable that holds no URL of a database" if url is None else url.drivername,
            promised="postgresql://… or sqlite:///…",
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise SettingsError("relay.url_env", got="a database in memory", promised="a file")
    return url


def _without(query: Any, held: Held) -> Any:
    if held.types:
        query = query.where(column("aggregatetype").not_in(held.types))
    if held.keys:
        key = tuple_(column("aggregatetype"), column("aggregateid"))
        query = query.where(key.not_in(held.keys))
    return query


def _row(
    id_: Any, aggregatetype: str, aggregateid: str, type_: str, payload: Any, binary: int,
    headers: Any, tracing: Any, created: Any,
) -> OutboxRow:  # fmt: skip
    if not isinstance(id_, str):
        raise StoreError("outbox.id", got=type(id_).__name__, promised="the text of a UUID")
    if isinstance(payload, (int, float)):  # SQLite keeps whatever it is given
        payload = msgspec.json.encode(payload).decode()
    if isinstance(payload, str):
        body: bytes | None = payload.encode("utf-8", "surrogatepass")
    else:
        body = None if payload is None else bytes(payload)
    bytes_ = bool(binary) or isinstance(payload, bytes)
    named = (*_headers(headers), *_traced(tracing))
    return OutboxRow(
        id_, aggregatetype, str(aggregateid), type_, body, bytes_, named, _unix_us(created)
    )


def _headers(given: Any) -> list[tuple[str, str]]:
    """Of a JSON object the members; anything else is one header, as Debezium would send it."""
    if given is None:
        return []
    said = given if isinstance(given, str) else str(given)
    try:
        found: object = msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return [("headers", said)]
    if not isinstance(found, dict):
        return [("headers", said)]
    return [
        (name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in cast("dict[str, Any]", found).items()
    ]


def _traced(given: Any) -> list[tuple[str, str]]:
    """Of a text of java.util.Properties, as Debezium's tracing writes it, the W3C context."""
    lines = given.splitlines() if isinstance(given, str) else []
    pairs = (line.partition("=") for line in lines)
    named = {name.strip(): value.strip() for name, _, value in pairs}
    return [(name, named[name]) for name in ("traceparent", "tracestate") if named.get(name)]


def _unix_us(created: Any) -> int:
    if isinstance(created, str):
        try:
            created = datetime.fromisoformat(created)
        except ValueError:
            return 0
    if not isinstance(created, datetime):
        return 0
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    with suppress(OverflowError, ValueError):
        return max(0, int(created.timestamp() * 1e6))
    return 0


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
