"""Labels, which are outcomes joined with predictions in SQL."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlLabels:
    """A LabelStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
