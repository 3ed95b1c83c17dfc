"""Merkle trees over calls and audit events, and their signed heads."""

from __future__ import annotations

from splice.adapters.ledgers.database import Database


class SqlCheckpoints:
    """A CheckpointStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
