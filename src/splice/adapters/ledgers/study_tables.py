"""The tables of studies: their state, and the units that they are reckoned from."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, SmallInteger, Table

from splice.adapters.ledgers.tables import Words, metadata

studies = Table(
    "studies", metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Words, nullable=False),
    Column("integration", Words, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("progress", Words, nullable=False),  # JSON
    Column("body", Words),  # JSON; none before it is reckoned for the first time
)  # fmt: skip

study_units = Table(
    "study_units", metadata,
    Column("study", Integer, primary_key=True, autoincrement=False),
    Column("unit", Words, primary_key=True),
    Column("arm", SmallInteger, nullable=False),  # 0 control, 1 treated, -1 both
    Column("first_us", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("asked", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("costed", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
)  # fmt: skip

study_outcomes = Table(
    "study_outcomes", metadata,
    Column("study", Integer, primary_key=True, autoincrement=False),
    Column("outcome", Words, primary_key=True),
    Column("unit", Words, primary_key=True),
    Column("arm", SmallInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("total", Double, nullable=False),
    Column("past_calls", BigInteger, nullable=False),
    Column("past_total", Double, nullable=False),
)  # fmt: skip

study_cells = Table(
    "study_cells", metadata,
    Column("kpi", Words, primary_key=True),
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # see splice.core.kpis
)  # fmt: skip
