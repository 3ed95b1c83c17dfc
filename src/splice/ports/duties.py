"""What a person answered, attested and reported: questionnaires, attestations, incidents."""

from __future__ import annotations

from typing import Protocol


class DutyStore(Protocol):
    """What a person answered, attested and reported. Blocks."""
