"""`splice.Protect`: how personal data is masked, encrypted, kept, and where it may go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from splice.core.protection import PinnedProtection

Wrong = Callable[[str, str, str, str], None]


class Protect(msgspec.Struct, frozen=True, kw_only=True):
    """How personal data is masked, encrypted, kept, and where it may go."""


def read_protect(given: Any, wrong: Wrong) -> PinnedProtection | None:
    """What is pinned of it; notes what is wrong with it."""
    if given is None:
        return None
    if not isinstance(given, Protect):
        wrong(
            "protect", type(given).__name__, "a splice.Protect", "write protect = splice.Protect(…)"
        )
        return None
    return PinnedProtection()
