"""A database behind the ledger: connections, transactions, what each dialect does its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, ClassVar, TypeAlias

import msgspec
from sqlalchemy import Connection, Engine, Insert, Table, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from splice.adapters.ledgers.errors import Place
from splice.adapters.ledgers.payloads import Packed

Params: TypeAlias = "Mapping[str, Any] | tuple[Any, ...]"  # whatever the driver takes


class Into(msgspec.Struct, frozen=True):
    """Where rows are put, many in one statement: columns with their types in PostgreSQL.

    With `or_ignore`, rows whose key is taken are passed over; `then` is an `ON CONFLICT …` of its
    own.
    """

    table: str
    columns: tuple[tuple[str, str], ...]
    or_ignore: bool = False
    then: str = ""


class Database(ABC):
    """One engine. Statements outside `write()` commit by themselves."""

    begin: ClassVar[str]
    least: ClassVar[str]  # the function that gives the smaller of two values
    sum: ClassVar[str]  # of whole numbers in {0}, as one of 64 bits whatever they are

    def __init__(self, engine: Engine, place: Place) -> None:
        self.engine = engine
        self.place = place
        self._closed = False
        event.listen(engine, "checkin", self._checked_in)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A connection for reading."""
        with self.place.errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A connection in a transaction: all of it is durable at the end, or nothing happened."""
        with self.place.errors(), self.transaction() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """The same, and errors come out as the driver raised them."""
        with self.turn() as waited_s, self.engine.connect() as connection:
            self.start(connection, waited_s)
            try:
                yield connection
                self.run(connection, "COMMIT", ())
            except BaseException:
                with suppress(SQLAlchemyError):  # the first error is the one to tell
                    connection.exec_driver_sql("ROLLBACK")
                raise

    def turn(self) -> AbstractContextManager[float]:
        """Waits until this thread may write, where only one may; gives the seconds that took."""
        return nullcontext(0.0)

    def start(self, connection: Connection, waited_s: float) -> None:
        """Begins a transaction that writes; so long was waited for the turn."""
        connection.exec_driver_sql(self.begin)

    def close(self) -> None:
        """Close all connections; one that is in use, when it is given back."""
        self._closed = True
        with self.place.errors():
            self.engine.dispose()

    def _checked_in(self, _: object, record: ConnectionPoolEntry) -> None:
        if self._closed:  # its pool was let go of meanwhile: nobody else would close it
            record.invalidate()

    @abstractmethod
    def lock(self, connection: Connection, name: str) -> None:
        """Until the transaction ends, nobody else gets past this line with the same name."""

    @abstractmethod
    def insert_new(self, table: Table) -> Insert:
        """An INSERT that passes over rows whose key is taken."""

    @abstractmethod
    def append(
        self, packed: Sequence[Packed], also: Callable[[Connection], None] | None = None
    ) -> None:
        """Store calls and payload blocks in one transaction, passing over calls that are stored.

        What `also` does is in the same transaction, after them.
        """

    @abstractmethod
    def sql(self, text: str) -> str:
        """A statement as the driver takes it.

        It is written with `:name` for a parameter and `each(:name) n` for a set of whole numbers,
        whose parameter `ints()` makes and whose column is `n.value`.
        """

    @abstractmethod
    def ints(self, numbers: Sequence[int]) -> Any:
        """A set of whole numbers as a parameter of the driver's own type."""

    @abstractmethod
    def among(self, values: Sequence[bytes]) -> tuple[str, tuple[Any, ...]]:
        """What follows a column of bytes to say that it is one of these, and its parameters."""

    @abstractmethod
    def among_ids(self, ids: Sequence[bytes]) -> tuple[str, tuple[Any, ...]]:
        """What follows a column of call ids to say that it is one of these, and its parameters."""

    @abstractmethod
    def among_rows(
        self, types: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> tuple[str, tuple[Any, ...]]:
        """What follows a tuple of columns to say that it is one of these rows, and its parameters.

        `types` are those of the columns in PostgreSQL.
        """

    @abstractmethod
    def id_param(self, call_id: bytes) -> Any:
        """A call id as a parameter of the driver's own type."""

    @abstractmethod
    def run(self, connection: Connection, text: str, params: Params) -> int:
        """Do a statement; gives how many rows it was about."""

    @abstractmethod
    def alone(self, name: str, text: str, params: Params) -> int:
        """Do a statement as a transaction of its own, locked by `name`; gives how many rows."""

    @abstractmethod
    def rows(
        self, connection: Connection, text: str, params: Params, kinds: str
    ) -> Sequence[Sequence[Any]]:
        """All rows of a query, a letter of `kinds` a column: `b` bytes, `u` call id, `v` any other.

        The GIL is given away once for all of them and not for each row: a busy event loop hands it
        back only after milliseconds.
        """

    @abstractmethod
    def insert_rows(self, connection: Connection, into: Into, values: Sequence[Any]) -> int:
        """Store rows, their columns one after the other in `values`; gives how many were new."""

    @abstractmethod
    def numbers(self, connection: Connection, count: int) -> list[int]:
        """So many numbers for rows of queues, higher than all before, never used again."""

    @abstractmethod
    def problem(self) -> str:
        """Why it could not be written now, as far as that is cheap to tell; or empty."""
