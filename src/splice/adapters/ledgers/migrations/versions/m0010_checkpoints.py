"""Checkpoints: Merkle trees over the calls and the audit log, and their signed heads.

Expand: three columns with a default and new tables; the code before them goes on beside them, but
calls that it records from now on are in no tree.
Lock: brief, no rewrite (constant defaults).
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_TABLES = """
ALTER TABLE audit_events ADD COLUMN before TEXT NOT NULL DEFAULT 'null';
ALTER TABLE audit_events ADD COLUMN after TEXT NOT NULL DEFAULT 'null';
ALTER TABLE audit_events ADD COLUMN origin TEXT NOT NULL DEFAULT '{{}}';
CREATE TABLE leaf_queue (
    block {number} NOT NULL PRIMARY KEY,
    day INTEGER NOT NULL,
    ids {bytes} NOT NULL,
    leaves {bytes} NOT NULL,
    whole INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX leaf_queue_day ON leaf_queue (day);
CREATE TABLE leaf_history (
    below BIGINT NOT NULL PRIMARY KEY,
    after {id} NOT NULL
);
INSERT INTO leaf_history (below, after)
    SELECT next, {no_id} FROM counters
    WHERE name = 'blocks' AND EXISTS (SELECT 1 FROM calls);
CREATE TABLE trees (
    name TEXT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL
);
INSERT INTO trees (name, size) VALUES ('calls', 0);
INSERT INTO trees (name, size) VALUES ('events', 0);
CREATE TABLE tree_tiles (
    tree TEXT NOT NULL,
    level INTEGER NOT NULL,
    place BIGINT NOT NULL,
    hashes {bytes} NOT NULL,
    PRIMARY KEY (tree, level, place)
);
CREATE TABLE tree_calls (
    first {number} NOT NULL PRIMARY KEY,
    low {bytes} NOT NULL,
    high {bytes} NOT NULL,
    ids {bytes} NOT NULL
);
CREATE INDEX tree_calls_by_id ON tree_calls (low, high);
CREATE TABLE tree_heads (
    number BIGINT NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    events BIGINT NOT NULL,
    note TEXT NOT NULL
);
"""

# INTEGER in SQLite: only by that word the primary key is the row id.
_SQLITE = {"number": "INTEGER", "bytes": "BLOB", "id": "BLOB", "no_id": "zeroblob(16)"}
_POSTGRES = {
    "number": "BIGINT", "bytes": "BYTEA", "id": "UUID",
    "no_id": "'00000000-0000-0000-0000-000000000000'::uuid",
}  # fmt: skip


def upgrade() -> None:
    """Create the tables; a signed head refuses to be changed."""
    postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _TABLES.format(**(_POSTGRES if postgres else _SQLITE)).split(";"):
        if statement.strip():
            op.execute(statement)
    for verb in ("UPDATE", "DELETE"):
        name = f"tree_heads_no_{verb.lower()}"
        if postgres:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {verb} ON tree_heads "
                "FOR EACH ROW EXECUTE FUNCTION splice_refuse()"
            )
        else:
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {verb} ON tree_heads "
                "BEGIN SELECT RAISE(ABORT, 'tree_heads is append-only'); END"
            )
