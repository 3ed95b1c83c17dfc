"""The tables of duties: attestations, incidents, freezes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table

from splice.adapters.ledgers.tables import CallId, Words, metadata

attestations = Table(
    "attestations", metadata,
    Column("id", CallId, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("duty", Words, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of an Attestation
)  # fmt: skip

incidents = Table(
    "incidents", metadata,
    Column("id", CallId, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of an Incident
)  # fmt: skip

freezes = Table(
    "freezes", metadata,
    Column("id", CallId, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("lifted_us", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of a Freeze
)  # fmt: skip
