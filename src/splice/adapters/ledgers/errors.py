"""Foreign errors turned into StoreError, in the one place that knows their words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from splice.core.errors import StoreError, Unstorable

_MENDS = (  # words in the driver's message, what we say came, what to do
    (("database is locked", "database table is locked", "busy"),
     "a database that another process kept locked for {busy:g} s",
     "find what holds {where} (a backup, an open shell, a copy), or give it a longer busy timeout"),
    (("disk is full", "no space left", "could not extend file"),
     "a full disk", "free space on the volume of {where}"),
    (("readonly", "read-only"),
     "a database that may not be written",
     "let the user of this process write to {where} and to its folder"),
    (("unable to open",),
     "a file that cannot be opened", "check that the folder of {where} exists and may be written"),
    (("malformed", "not a database"),
     "a file that is damaged or not a ledger", "restore {where} from a backup"),
    (('database "',),
     "a server without this database", "create the database, or correct the ledger's URL"),
    (("password authentication", "no password supplied", "role ", "pg_hba"),
     "a login that the server refused", "check user and password in the ledger's URL"),
    (("no such table", "does not exist", "no such column"),
     "a ledger without its tables", "open it once with migrations switched on"),
    (("canceling statement", "lock timeout", "deadlock"),
     "a statement that waited too long", "look for long transactions in {where}"),
    (("connection", "connect", "server closed", "terminating", "starting up", "shutting down"),
     "no connection", "check that {where} runs and can be reached from here"),
)  # fmt: skip


class Place:
    """A ledger as messages name it: never with a password."""

    def __init__(self, where: str, *, busy_s: float, secret: str = "") -> None:
        self.where = where
        self.busy_s = busy_s
        self._secret = secret

    def __str__(self) -> str:
        return self.where

    def error(self, got: str, mend: str, *, promised: str = "") -> StoreError:
        """A StoreError about this ledger."""
        return StoreError(self.where, got=self._clean(got), promised=promised, mend=mend)

    def foreign(self, error: BaseException) -> StoreError:
        """A StoreError that says what a driver's error means and what to do about it."""
        said = _first_line(error)
        lower = said.lower()
        for words, got, mend in _MENDS:
            if any(word in lower for word in words):
                got = got.format(busy=self.busy_s)
                return self.error(f"{got} ({said})", mend.format(where=self.where))
        return self.error(said, f"look into {self.where}; nothing of this was stored")

    @contextmanager
    def errors(self) -> Generator[None]:
        """Whatever a driver raises within comes out as a StoreError.

        The cause is left out of the traceback on purpose: drivers put values of rows into their
        messages, and those are personal data.
        """
        try:
            yield
        except StoreError:
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self.foreign(error) from None
        except (TypeError, ValueError, OverflowError) as error:  # of a record, before any driver
            raise Unstorable(
                self.where,
                got=self._clean(f"a value that cannot be stored ({_first_line(error)})"),
                mend="send JSON values: text without lone surrogates, numbers of at most 64 bits",
            ) from None

    def _clean(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text


def _first_line(error: BaseException) -> str:
    """The driver's primary message: details of it would quote stored values."""
    if isinstance(error, PoolTimeout):
        return "every connection of the pool is in use"
    if isinstance(error, UnicodeError):
        return type(error).__name__
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(original, OSError) and original.errno == errno.ENOSPC:
        return "no space left on device"
    diag = getattr(original, "diag", None)  # psycopg's, which is not always installed
    text = getattr(diag, "message_primary", None) or str(original)
    lines = text.strip().splitlines()
    return lines[0] if lines else type(original).__name__
