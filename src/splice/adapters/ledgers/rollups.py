"""Rollups of calls in SQL."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlRollups:
    """A RollupStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
