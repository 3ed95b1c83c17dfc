"""API keys and budgets.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = (
    """
    CREATE TABLE api_keys (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        digest TEXT NOT NULL,
        team TEXT NOT NULL,
        tenant TEXT NOT NULL,
        integrations TEXT NOT NULL,
        models TEXT NOT NULL,
        addresses TEXT NOT NULL,
        expires_us BIGINT,
        revoked_us BIGINT,
        requests_per_minute BIGINT,
        tokens_per_minute BIGINT,
        created_us BIGINT NOT NULL,
        by TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE budgets (
        scope TEXT NOT NULL,
        of TEXT NOT NULL,
        period TEXT NOT NULL,
        amount_nano BIGINT NOT NULL,
        PRIMARY KEY (scope, of, period)
    )
    """,
    "INSERT INTO counters (name, next) VALUES ('access', 1)",
)

# A revoked key stays: where keys are asked for once one exists, taking the last one away would
# open the door to everybody.
_KEEP = {
    "postgresql": (
        "CREATE TRIGGER api_keys_no_delete BEFORE DELETE ON api_keys "
        "FOR EACH ROW EXECUTE FUNCTION splice_refuse()"
    ),
    "sqlite": (
        "CREATE TRIGGER api_keys_no_delete BEFORE DELETE ON api_keys "
        "BEGIN SELECT RAISE(ABORT, 'api_keys is append-only'); END"
    ),
}


def upgrade() -> None:
    """Create the tables, and the counter of their changes."""
    for statement in _TABLES:
        op.execute(statement)
    op.execute(_KEEP[op.get_bind().dialect.name])
