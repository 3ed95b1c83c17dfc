"""`splice.Assessment`: what the integration is for, in the words of the risk questionnaire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from splice.core.duties import PinnedAssessment

Wrong = Callable[[str, str, str, str], None]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What the integration is for, in the words of the risk questionnaire."""


def read_assessment(given: Any, wrong: Wrong) -> PinnedAssessment | None:
    """What is pinned of it; notes what is wrong with it."""
    if given is None:
        return None
    if not isinstance(given, Assessment):
        wrong(
            "assessment",
            type(given).__name__,
            "a splice.Assessment",
            "write assessment = splice.Assessment(…)",
        )
        return None
    return PinnedAssessment()
