"""People and their sessions; roles of keys, and the secret that a rotation leaves valid for a time.

Expand: the code before it does not know the tables, and leaves the new columns as they are.
Lock: brief, no rewrite (a constant default, or null).
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

_STATEMENTS = (
    "ALTER TABLE api_keys ADD COLUMN grants TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE api_keys ADD COLUMN former TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE api_keys ADD COLUMN former_until_us BIGINT",
    """
    CREATE TABLE people (
        id TEXT NOT NULL PRIMARY KEY,
        body TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE sessions (
        digest TEXT NOT NULL PRIMARY KEY,
        person TEXT NOT NULL,
        state TEXT NOT NULL UNIQUE,
        expires_us BIGINT NOT NULL,
        body TEXT NOT NULL
    )
    """,
    "CREATE INDEX sessions_by_person ON sessions (person)",
    "CREATE INDEX sessions_by_end ON sessions (expires_us)",
)


def upgrade() -> None:
    """Create the tables, and the columns of keys."""
    for statement in _STATEMENTS:
        op.execute(statement)
