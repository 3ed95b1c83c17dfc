"""Duties: answers of the risk questionnaire, attestations, incidents.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the tables."""
