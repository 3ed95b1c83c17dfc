"""The tables of monitors: findings, mutes, alerts, notes and messages."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table

from splice.adapters.ledgers.tables import CallId, Words, metadata

monitor_findings = Table(
    "monitor_findings", metadata,
    Column("integration", Words, primary_key=True),
    Column("monitor", Words, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of a Finding
)  # fmt: skip

monitor_mutes = Table(
    "monitor_mutes", metadata,
    Column("integration", Words, primary_key=True),
    Column("monitor", Words, primary_key=True),  # empty: all of the integration
    Column("until_us", BigInteger, nullable=False),
    Column("by", Words, nullable=False),
    Column("why", Words, nullable=False),
)  # fmt: skip

alerts = Table(
    "alerts", metadata,
    Column("id", CallId, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("monitor", Words, nullable=False),
    Column("state", Words, nullable=False),  # open, resolved
    Column("opened_us", BigInteger, nullable=False),
    Column("resolved_us", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of an Alert
)  # fmt: skip

alert_notes = Table(
    "alert_notes", metadata,
    # Never used again: who gathers notes names them by their numbers.
    Column("number", BigInteger, primary_key=True),
    Column("channel", Words, nullable=False),
    Column("body", Words, nullable=False),  # JSON of a Note
)  # fmt: skip

alert_messages = Table(
    "alert_messages", metadata,
    Column("id", CallId, primary_key=True),
    Column("channel", Words, nullable=False),
    Column("integration", Words, nullable=False),
    Column("state", Words, nullable=False),  # waiting, sent, refused
    Column("at_us", BigInteger, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Words, nullable=False),
    Column("token", Words, nullable=False),  # of whoever tries it now
    Column("held_until_us", BigInteger, nullable=False),
    Column("body", Words, nullable=False),  # JSON of the Message
)  # fmt: skip
