"""People: who signed in, and what roles they have.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the tables."""
