"""Brings a ledger's schema up to date, by one process at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from splice.adapters.ledgers.database import Database

HEAD = "0013"
"""The newest file in `migrations/versions`: told here so that a ledger that is up to date is
recognised without importing Alembic, which takes longer than the rest of the start."""


def schema_version(connection: Connection) -> str:
    """The number of the last migration that ran; empty where none did."""
    # The dialect's own look-up, and not a SELECT that may fail: in PostgreSQL a failed statement
    # spoils the transaction around it.
    if not connection.dialect.has_table(connection, "alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def migrate(database: Database) -> None:
    """Run the migrations that are missing. A schema newer than this code is left as it is.

    Raises:
        StoreError: The database cannot be reached or changed.
    """
    with database.read() as connection:
        if schema_version(connection) >= HEAD:
            return
    with database.write() as connection:
        database.lock(connection, "migrate")
        if schema_version(connection) < HEAD:  # another process may have been faster
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    # Imported here to spare 0.3 s of every later start.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory

    folder = Path(__file__).parent / "migrations"
    script = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])

    def steps(revision: Any, _: MigrationContext) -> list[RevisionStep]:  # of Alembic's own types
        return script._upgrade_revs("head", revision)  # pyright: ignore[reportPrivateUsage]

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        # The transaction is ours: BEGIN IMMEDIATE or an advisory lock already guards it.
        environment.configure(connection=connection, transactional_ddl=False)
        environment.run_migrations()
