"""Time and call ids of a real process."""

from __future__ import annotations

import random
import time

from splice.core.ids import uuid7

_random = random.SystemRandom()


def now_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1000


class Ids:
    """Fresh UUIDv7s; unlike those of any other process, for the seed is the system's."""

    def __init__(self) -> None:
        # An id is a name, not a secret: a seeded generator is enough, and twenty times faster.
        self._bits = random.Random(_random.getrandbits(256)).getrandbits  # noqa: S311

    def new(self) -> str:
        """A fresh call id."""
        return uuid7(time.time_ns() // 1_000_000, self._bits(74))
