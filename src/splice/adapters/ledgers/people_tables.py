"""The tables of people: who they are, and their sessions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table

from splice.adapters.ledgers.tables import Words, metadata

people = Table(
    "people", metadata,
    Column("id", Words, primary_key=True),
    Column("body", Words, nullable=False),  # JSON of a Person
)  # fmt: skip

sessions = Table(
    "sessions", metadata,
    Column("digest", Words, primary_key=True),
    Column("person", Words, nullable=False),
    Column("state", Words, nullable=False),  # unique
    Column("expires_us", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of a Session
)  # fmt: skip
