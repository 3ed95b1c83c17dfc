"""Reviews: calls that a person must look at, and what was decided.

Expand: the code before it does not know this table, and goes on beside it.
Lock: none that matters, the table is new.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLES = """
CREATE TABLE reviews (
    id {id} NOT NULL PRIMARY KEY,
    call_id {id} NOT NULL,
    integration TEXT NOT NULL,
    state TEXT NOT NULL,
    waits INTEGER NOT NULL,
    origin TEXT NOT NULL,
    asked_us BIGINT NOT NULL,
    opened_us BIGINT NOT NULL,
    due_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    decided_us BIGINT NOT NULL,
    holder TEXT NOT NULL,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX reviews_by_call ON reviews (call_id);
CREATE INDEX reviews_waiting ON reviews (due_us, id) WHERE waits = 1;
CREATE INDEX reviews_ended ON reviews (decided_us, id) WHERE waits = 0;
CREATE INDEX reviews_of_integration ON reviews (integration, waits, due_us)
"""

_SQLITE = {"id": "BLOB"}
_POSTGRES = {"id": "UUID"}


def upgrade() -> None:
    """Create the table."""
    postgres = op.get_bind().dialect.name == "postgresql"
    script = _TABLES.format(**(_POSTGRES if postgres else _SQLITE))
    for statement in script.split(";"):
        if statement.strip():
            op.execute(statement)
