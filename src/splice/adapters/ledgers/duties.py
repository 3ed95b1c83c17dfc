"""What a person answered, attested and reported: questionnaires, attestations, incidents."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlDuties:
    """A DutyStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
