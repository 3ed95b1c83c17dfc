"""Keys of the people whom payloads are about; an erased one is gone for good."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlSubjects:
    """A SubjectStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
