"""Checkpoints: Merkle trees over the calls and the audit log, and their signed heads.

Expand: three columns with a default and new tables; the code before them goes on beside them.
Lock: brief, no rewrite (constant defaults).
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_TABLES = """
ALTER TABLE audit_events ADD COLUMN before TEXT NOT NULL DEFAULT 'null';
ALTER TABLE audit_events ADD COLUMN after TEXT NOT NULL DEFAULT 'null';
ALTER TABLE audit_events ADD COLUMN origin TEXT NOT NULL DEFAULT '{}';
"""


def upgrade() -> None:
    """Add the columns."""
    for statement in _TABLES.split(";"):
        if statement.strip():
            op.execute(statement)
