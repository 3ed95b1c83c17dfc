"""`splice.Review`: which calls a person must look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from splice.core.reviews import PinnedReview

Wrong = Callable[[str, str, str, str], None]


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls a person must look at."""


def read_review(given: Any, wrong: Wrong) -> PinnedReview | None:
    """What is pinned of it; notes what is wrong with it."""
    if given is None:
        return None
    if not isinstance(given, Review):
        wrong("review", type(given).__name__, "a splice.Review", "write review = splice.Review(…)")
        return None
    return PinnedReview()
