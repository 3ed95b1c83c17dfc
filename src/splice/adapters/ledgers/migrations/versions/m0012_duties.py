"""Duties: what people attest, incidents with their clocks, and evidence that is kept for them.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

_TABLES = """
CREATE TABLE attestations (
    id {id} NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    duty TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX attestations_by_integration ON attestations (integration, at_us);
CREATE TABLE incidents (
    id {id} NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    opened_us BIGINT NOT NULL,
    closed_us BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX incidents_by_integration ON incidents (integration, opened_us);
CREATE TABLE freezes (
    id {id} NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    lifted_us BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX freezes_by_integration ON freezes (integration, lifted_us)
"""


def upgrade() -> None:
    """Create the tables."""
    postgres = op.get_bind().dialect.name == "postgresql"
    script = _TABLES.format(id="UUID" if postgres else "BLOB")
    for statement in script.split(";"):
        op.execute(statement)
