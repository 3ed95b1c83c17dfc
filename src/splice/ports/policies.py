"""Detectors: what policies ask whether a text holds what must not be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from splice.core.policies import PinnedPolicy


class Found(msgspec.Struct, frozen=True, gc=False):
    """What a detector found: the kind of it in a word or two, never the words, and how often."""

    what: str
    count: int = 1


class Detector(Protocol):
    """Looks at texts for one policy. Safe to be asked by several threads at once.

    `immediate` detectors answer within microseconds, in time that grows with the length of the text
    only; others are asked in a thread, and given up after the policy's timeout.
    One that has `masks` (true) redacts for policies that refuse, too, and what it finds is not
    recorded.
    """

    immediate: bool

    def find(self, text: str) -> Found | None:
        """What is wrong with a text, or None.

        Whatever it raises means that it cannot tell; then the call is refused.
        """
        ...

    def redact(self, text: str) -> str:
        """The text with what it finds taken out. Asked only of policies that redact."""
        ...


Detectors: TypeAlias = "Callable[[PinnedPolicy], Detector]"
"""Makes the detector of a policy.

Raises:
    SpliceError: It cannot be had: its library is missing, or its rule is unknown.
"""
