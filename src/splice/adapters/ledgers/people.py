"""People who signed in, and what roles they have."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlPeople:
    """A PeopleStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
