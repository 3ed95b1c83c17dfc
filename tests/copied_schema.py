"""New SQLite ledgers without the wait for their migrations: the schema is that of the first one.

Thousands of tests open a ledger of their own, and to migrate each takes 35 ms. The first of a
process is migrated; what that made is written into those that follow, in 10 ms. Every command,
worker and server that the tests start as a process migrates as it would anywhere.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlalchemy import Connection

_OF_A_TRANSACTION = ("BEGIN TRANSACTION;", "COMMIT;")


class CopiedSchema:
    """Takes the place of what runs the migrations of a ledger.

    Args:
        upgrade: That.
    """

    def __init__(self, upgrade: Callable[[Connection], None]) -> None:
        self._upgrade = upgrade
        self._made: list[str] = []

    def __call__(self, connection: Connection) -> None:
        """Bring a schema up to date."""
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection) or _has_tables(driver):
            self._upgrade(connection)
        elif not self._made:
            self._upgrade(connection)
            self._made = [one for one in driver.iterdump() if one not in _OF_A_TRANSACTION]
        else:
            for statement in self._made:
                driver.execute(statement)


def _has_tables(driver: sqlite3.Connection) -> bool:
    return driver.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
