"""A database behind the ledger: connections, transactions, what each dialect does its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import ClassVar

from sqlalchemy import Connection, Engine, Insert, Table, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from splice.adapters.ledgers.errors import Place
from splice.adapters.ledgers.payloads import Packed


class Database(ABC):
    """One engine. Statements outside `write()` commit by themselves."""

    begin: ClassVar[str]

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
        with self.place.errors(), self.turn(), self.engine.connect() as connection:
            connection.exec_driver_sql(self.begin)
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                with suppress(SQLAlchemyError):  # the first error is the one to tell
                    connection.exec_driver_sql("ROLLBACK")
                raise

    def turn(self) -> AbstractContextManager[None]:
        """Waits until this thread may write, where only one may."""
        return nullcontext()

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
    def append(self, packed: Sequence[Packed]) -> None:
        """Store calls and payload blocks in one transaction, passing over calls that are stored."""

    @abstractmethod
    def problem(self) -> str:
        """Why it could not be written now, as far as that is cheap to tell; or empty."""
