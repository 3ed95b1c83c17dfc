"""Studies of experiments in SQL."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlStudies:
    """A StudyStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
