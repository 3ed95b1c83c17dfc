"""Checkpoints: Merkle trees over the calls and the audit log, and their signed heads.

Expand: the code before it does not know these tables, and goes on beside them.
Lock: none that matters, the tables are new.
"""

from __future__ import annotations

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the tables."""
