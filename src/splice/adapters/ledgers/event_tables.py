"""The tables of events: inbox, queues and outbox, dead letters, marks and counted attempts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from splice.adapters.ledgers.tables import CallId, Words, metadata

inbox = Table(
    "inbox", metadata,
    Column("event", LargeBinary, primary_key=True),  # 16 bytes, see splice.core.events
    Column("body", LargeBinary, nullable=False),
    Column("call_id", CallId, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)  # fmt: skip

# Events of embedded queues and messages of the outbox: see queued.py for what a state means. What
# changes often is apart from the bodies, for every change writes the whole row anew.
queued = Table(
    "queued", metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("queue", Words, nullable=False),  # queue:NAME or outbox:TARGET
    Column("lane", BigInteger),  # hash of queue and key; none where there is no key
    Column("held", BigInteger),  # the same, of rows that were ever leased, waited or were passed
    Column("state", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),  # of the body, in bytes
    Column("when_us", BigInteger, nullable=False),  # what the state waits for
    Column("due_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("holder", Words, nullable=False),
    Column("why", Words, nullable=False),
)  # fmt: skip

queued_bodies = Table(
    "queued_bodies", metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # msgpack
)  # fmt: skip

dead_letters = Table(
    "dead_letters", metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # of the event, its place and its integration
    Column("integration", Words, nullable=False),
    Column("stream", Words, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", LargeBinary, nullable=False),  # msgpack
    Column("sent_us", BigInteger, nullable=False),
    Column("code", Words, nullable=False),
    Column("place", Words, nullable=False),
    Column("detail", Words, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("state", Words, nullable=False),  # dead, replayed, dropped
    Column("by", Words, nullable=False),
)  # fmt: skip

event_marks = Table(
    "event_marks", metadata,
    Column("consumer", Words, primary_key=True),
    Column("stream", Words, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
)  # fmt: skip

event_attempts = Table(
    "event_attempts", metadata,
    Column("consumer", Words, primary_key=True),
    Column("stream", Words, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("attempts", Integer, nullable=False),
)  # fmt: skip
