"""Subjects: keys of the people whom payloads are about, and what was erased.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the tables."""
