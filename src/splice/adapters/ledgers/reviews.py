"""Calls that a person must look at, and what was decided."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlReviews:
    """A ReviewStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
