"""Reviews: calls that a person must look at, and what was decided.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the tables."""
