"""The tables of labels: what is to be joined, what was, and its counts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from splice.adapters.ledgers.tables import CallId, Words, metadata

# Calls in rollups that were not looked at for labels, some to a row.
unscored = Table(
    "unscored", metadata,
    Column("number", Integer, primary_key=True),
    Column("ids", LargeBinary, nullable=False),  # 16 bytes each
)  # fmt: skip

unjoined = Table(
    "unjoined", metadata,
    Column("outcome", BigInteger, primary_key=True, autoincrement=False),
    Column("due_us", BigInteger, nullable=False),  # when it happens: not to be joined before
    Column("after_us", BigInteger),  # the last call of its entity that was joined
    Column("after_id", CallId),
)  # fmt: skip

labels = Table(
    "labels", metadata,
    Column("call_id", CallId, primary_key=True),
    Column("outcome", Words, primary_key=True),
    Column("integration", Words, nullable=False),
    Column("release", Integer, nullable=False),
    Column("variant", Words, nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("said", Integer, nullable=False),
    Column("value", Words, nullable=False),  # JSON
    Column("foretold", LargeBinary, nullable=False),  # msgpack
)  # fmt: skip

label_shadows = Table(
    "label_shadows", metadata,
    Column("shadowed", CallId, primary_key=True),
    Column("call_id", CallId, primary_key=True),
)  # fmt: skip

quality = Table(
    "quality", metadata,
    Column("integration", Words, primary_key=True),
    Column("outcome", Words, primary_key=True),
    Column("segment", Words, primary_key=True),
    Column("start_s", BigInteger, primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("variant", Words, primary_key=True),
    Column("asked", LargeBinary, nullable=False),  # tallies, see splice.core.tallies
    Column("told", LargeBinary, nullable=False),
)  # fmt: skip

quality_segments = Table(
    "quality_segments", metadata,
    Column("integration", Words, primary_key=True),
    Column("outcome", Words, primary_key=True),
    Column("segment", Words, primary_key=True),
)  # fmt: skip
