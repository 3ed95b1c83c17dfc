"""Erasure: what is left of a person whose key was destroyed, and how a reader is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from splice.core.schedule import moment_text

ERASED = "erased: the key of whom it is about was destroyed"
"""How the note of a call begins whose texts nobody can read any more."""

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


def erased_note(at_us: int) -> str:
    """The note of a call whose texts nobody can read any more, with when if that is known."""
    return f"{ERASED}, {moment_text(at_us)}" if at_us else ERASED


def why_gone(notes: Sequence[str]) -> str:
    """The note that tells why the texts of a call are not there; empty where none tells it."""
    return next((one for one in notes if one.startswith((ERASED, EXPIRED, UNREADABLE))), "")


def in_place_of_texts(notes: Sequence[str]) -> str:
    """What stands where a text would: "erased, 2026-11-28 13:20 UTC"; empty where texts are kept.

    Args:
        notes: Of the call.
    """
    why = why_gone(notes)
    what, _, _ = why.partition(":")
    return what + why.removeprefix(ERASED) if is_erased(notes) else what


def is_erased(notes: Sequence[str]) -> bool:
    """Whether the person whom a call is about was erased."""
    return why_gone(notes).startswith(ERASED)


def is_tag(text: str) -> bool:
    """Whether a text stands for a person already."""
    return TAG.fullmatch(text) is not None


def receipt(erasure: Erasure) -> dict[str, Any]:
    """The receipt as JSON values; what was none is told, too."""
    counts = {"keys": erasure.keys, "calls": erasure.calls, "in_clear": erasure.in_clear}
    return {**msgspec.to_builtins(erasure), **counts}
