"""Erasure: what is left of a person whose key was destroyed, and how a reader is told."""

from __future__ import annotations

import re
from typing import Any

import msgspec

ERASED = "erased: the key of whom it is about was destroyed"
"""The note of a call whose texts nobody can read any more."""

UNREADABLE = "not readable here: the key of its texts cannot be had"
"""The note of a call whose texts could be read where the keys are."""

EXPIRED = "no longer kept: protect.keep has passed"
"""The note of a call whose texts were dropped because they were old enough."""

TAG = re.compile(r"hmac:[0-9a-f]{32}")
"""What stands for a person in indexes: an HMAC under the key of this deployment."""


class Erasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One person erased: the receipt. It names nobody; `tag` is an HMAC.

    Attributes:
        tag: `hmac:` and 32 hexadecimal digits.
        at_us: When, in Unix microseconds.
        by: Who did it.
        why: The reason that he gave; it must not name the person either.
        integrations: Where it holds.
        keys: How many keys were destroyed, of those and of earlier erasures.
        calls: Calls that cannot be read any more.
        dropped: What was deleted beside: kind (`outcomes`, `dead_letters`, …) to how many.
        final: Whether older copies of the key store are useless already; else they are once the
            key that wrapped it (`kek`) is destroyed, too.
        kek: The key-encryption key that the destroyed keys were wrapped by.
        in_clear: Calls about him that were recorded without encryption: they stay as they are.
    """

    tag: str
    at_us: int
    by: str
    why: str
    integrations: tuple[str, ...] = ()
    keys: int = 0
    calls: int = 0
    dropped: dict[str, int] = {}
    final: bool = False
    kek: str = ""
    in_clear: int = 0


class Expiry(msgspec.Struct, frozen=True):
    """Texts that retention dropped: of calls of an integration that were asked before a time."""

    integration: str
    before_us: int
    at_us: int
    calls: int


def is_tag(text: str) -> bool:
    """Whether a text stands for a person already."""
    return TAG.fullmatch(text) is not None


def receipt(erasure: Erasure) -> dict[str, Any]:
    """The receipt as JSON values; what was none is told, too."""
    counts = {"keys": erasure.keys, "calls": erasure.calls, "in_clear": erasure.in_clear}
    return {**msgspec.to_builtins(erasure), **counts}
