"""The table of reviews."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table

from splice.adapters.ledgers.tables import CallId, Words, metadata

reviews = Table(
    "reviews", metadata,
    Column("id", CallId, primary_key=True),
    Column("call_id", CallId, nullable=False),
    Column("integration", Words, nullable=False),
    Column("state", Words, nullable=False),  # open, escalated, decided, expired
    Column("waits", Integer, nullable=False),  # 1 where it is open or escalated
    Column("origin", Words, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("holder", Words, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of a Review
)  # fmt: skip
