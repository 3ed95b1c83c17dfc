"""The tables of erasure and retention."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table

from splice.adapters.ledgers.tables import Words, metadata

erasures = Table(
    "erasures", metadata,
    Column("number", Integer, primary_key=True),
    Column("tag", Words, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of an Erasure
)  # fmt: skip

expiries = Table(
    "expiries", metadata,
    Column("integration", Words, primary_key=True),
    Column("before_us", BigInteger, nullable=False),  # of calls asked before, no text is left
    Column("at_us", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
)  # fmt: skip

# What a transaction opens that is append-only otherwise: a row lives as long as it.
openings = Table("openings", metadata, Column("name", Words, primary_key=True))
