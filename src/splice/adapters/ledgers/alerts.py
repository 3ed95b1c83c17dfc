"""Findings of monitors, and alerts in SQL."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlAlerts:
    """A AlertStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
