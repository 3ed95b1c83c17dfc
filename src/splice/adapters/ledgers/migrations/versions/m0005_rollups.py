"""Rollups: which calls are not in them yet, a table a purpose, and which calls were archived.

Expand: the code before it does not know these tables, and goes on beside them; calls that it
records from now on are in no rollup. Calls may be deleted once they are archived, and only then.
Lock: none that matters, the tables are new; `claims` gets a nullable column: no rewrite.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = """
CREATE TABLE unrolled (
    block {number} NOT NULL PRIMARY KEY,
    day INTEGER NOT NULL,
    ids {bytes} NOT NULL
);
CREATE INDEX unrolled_day ON unrolled (day);
CREATE TABLE unrolled_history (
    below BIGINT NOT NULL PRIMARY KEY,
    after {id} NOT NULL
);
INSERT INTO unrolled_history (below, after)
    SELECT next, {no_id} FROM counters
    WHERE name = 'blocks' AND EXISTS (SELECT 1 FROM calls);
CREATE TABLE roll_kept (
    name TEXT NOT NULL PRIMARY KEY,
    since_s BIGINT NOT NULL
);
CREATE TABLE roll_series (
    span INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    start_s BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    costed BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (span, kind, start_s)
) {by_key};
CREATE TABLE roll_latency (
    span INTEGER NOT NULL,
    integration TEXT NOT NULL,
    start_s BIGINT NOT NULL,
    release INTEGER NOT NULL,
    variant TEXT NOT NULL,
    route TEXT NOT NULL,
    durations {bytes} NOT NULL,
    first_tokens {bytes} NOT NULL,
    PRIMARY KEY (span, integration, start_s, release, variant, route)
);
CREATE TABLE roll_cost (
    span INTEGER NOT NULL,
    integration TEXT NOT NULL,
    start_s BIGINT NOT NULL,
    release INTEGER NOT NULL,
    variant TEXT NOT NULL,
    route TEXT NOT NULL,
    version TEXT NOT NULL,
    ended TEXT NOT NULL,
    calls BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    costed BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    latency_us BIGINT NOT NULL,
    PRIMARY KEY (span, integration, start_s, release, variant, route, version, ended)
) {by_key};
CREATE TABLE roll_callers (
    span INTEGER NOT NULL,
    integration TEXT NOT NULL,
    start_s BIGINT NOT NULL,
    release INTEGER NOT NULL,
    variant TEXT NOT NULL,
    caller TEXT NOT NULL,
    calls BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    costed BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    PRIMARY KEY (span, integration, start_s, release, variant, caller)
) {by_key};
CREATE TABLE roll_profile (
    span INTEGER NOT NULL,
    integration TEXT NOT NULL,
    start_s BIGINT NOT NULL,
    release INTEGER NOT NULL,
    variant TEXT NOT NULL,
    segment TEXT NOT NULL,
    field TEXT NOT NULL,
    body {bytes} NOT NULL,
    PRIMARY KEY (span, integration, start_s, release, variant, segment, field)
);
CREATE TABLE roll_damage (
    call_id {id} NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    why TEXT NOT NULL
);
CREATE TABLE archives (
    day INTEGER NOT NULL,
    integration TEXT NOT NULL,
    part INTEGER NOT NULL,
    first_id {id} NOT NULL,
    end_id {id} NOT NULL,
    state TEXT NOT NULL,
    file TEXT NOT NULL,
    calls BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (day, integration, part)
);
CREATE INDEX archives_state ON archives (state, day);
ALTER TABLE claims ADD COLUMN archived INTEGER;
"""

_SQLITE = {
    "id": "BLOB",
    "no_id": "zeroblob(16)",
    "bytes": "BLOB",
    "number": "INTEGER",
    "by_key": "WITHOUT ROWID",  # the rows are the index: one page is touched for each, not two
}
_POSTGRES = {
    "id": "UUID",
    "no_id": "'00000000-0000-0000-0000-000000000000'::uuid",
    "bytes": "BYTEA",
    "number": "BIGINT",
    "by_key": "",
}

# PostgreSQL drops the partition of a day, which no trigger sees. Here, only while a day is being
# removed whose calls are all in files.
_UNLESS_ARCHIVED = """
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
WHEN NOT EXISTS (SELECT 1 FROM archives WHERE state = 'removing' AND {of_day})
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""
_OF_DAY = {
    "calls": "OLD.id >= first_id AND OLD.id < end_id",
    "blocks": "OLD.day = day",
}


def upgrade() -> None:
    """Create the tables, queue what is recorded already, let archived calls be deleted."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    script = _TABLES.format(**(_SQLITE if sqlite else _POSTGRES))
    for statement in script.split(";"):
        if statement.strip():
            op.execute(statement)
    if not sqlite:
        # Histograms and profiles change with each batch: packing them anew each time costs more
        # than it saves.
        for table, column in (("roll_latency", "durations"), ("roll_profile", "body")):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
        return
    for table, of_day in _OF_DAY.items():
        op.execute(f"DROP TRIGGER {table}_no_delete")
        op.execute(_UNLESS_ARCHIVED.format(table=table, of_day=of_day))
