"""Time and call ids of a real process."""

from __future__ import annotations

import random
import time

from splice.core.ids import uuid7

_random = random.SystemRandom()
_AT_ONCE = 256
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


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
        unix_ms = time.time_ns() // 1_000_000
        if unix_ms != self._unix_ms:
            self._unix_ms, self._head = unix_ms, uuid7(unix_ms, 0)[:15]
        while True:
            try:
                return self._head + self._tails.pop()
            except IndexError:
                digits = self._bytes(10 * _AT_ONCE).hex()
                self._tails = [_tail(digits, at) for at in range(0, len(digits), 20)]


def _tail(digits: str, at: int) -> str:
    """What follows the version: 74 bits out of 20 hexadecimal digits, and the variant."""
    variant = _VARIANT[digits[at + 3]]
    return f"{digits[at : at + 3]}-{variant}{digits[at + 4 : at + 7]}-{digits[at + 7 : at + 19]}"
