"""Time and call ids of a real process."""

from __future__ import annotations

import random
import time
from array import array
from functools import cache

from splice.core.ids import uuid7

_random = random.SystemRandom()
_AT_ONCE = 256
_VARIANT = "89ab"


def now_us() -> int:
    """Unix time in microseconds."""
    return time.time_ns() // 1000


class Onward:
    """A clock that is not set back while the process runs: what has ended stays ended.

    Set forward, it follows; set right again, it returns to the time that has really passed.
    """

    def __init__(self) -> None:
        self._wall_us, self._steady_s = now_us(), time.monotonic()

    def now_us(self) -> int:
        """Unix time in microseconds."""
        passed_us = round((time.monotonic() - self._steady_s) * 1e6)
        return max(now_us(), self._wall_us + passed_us)


class Ids:
    """Fresh UUIDv7s; unlike those of any other process, for the seed is the system's."""

    def __init__(self) -> None:
        # An id is a name, not a secret: a seeded generator is enough, and twenty times faster.
        self._bytes = random.Random(_random.getrandbits(256)).randbytes  # noqa: S311
        self._unix_ms = 0
        self._head = ""
        self._tails: list[str] = []  # random parts in store: to write many takes half as long

    def new(self) -> str:
        """A fresh call id: what `core.ids.uuid7` gives, with the text of the time kept."""
        head = self._now()
        while True:
            try:
                return head + self._tails.pop()
            except IndexError:
                self._tails = self._made(_AT_ONCE)

    def many(self, count: int) -> list[str]:
        """So many fresh call ids, all of this millisecond, in their order."""
        head = self._now()
        return [head + tail for tail in sorted(self._made(count))]

    def _now(self) -> str:
        unix_ms = time.time_ns() // 1_000_000
        if unix_ms != self._unix_ms:
            self._unix_ms, self._head = unix_ms, uuid7(unix_ms, 0)[:15]
        return self._head

    def _made(self, count: int) -> list[str]:
        """What follows the version, so many times: 12 random bits, the variant, 14 and 48 more."""
        raw, digits = self._bytes(10 * count), _three_digits()
        nodes = raw[4 * count :].hex("-", 6).split("-")
        first, second = array("H", raw[: 2 * count]), array("H", raw[2 * count : 4 * count])
        return [
            f"{digits[one & 0xFFF]}-{_VARIANT[two >> 14]}{digits[two & 0xFFF]}-{node}"
            for one, two, node in zip(first, second, nodes, strict=False)
        ]


@cache
def _three_digits() -> list[str]:
    return [f"{number:03x}" for number in range(0x1000)]
