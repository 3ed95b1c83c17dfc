"""People who signed in, and what roles they have."""

from __future__ import annotations

from typing import Protocol


class PeopleStore(Protocol):
    """People who signed in, and what roles they have. Blocks."""
