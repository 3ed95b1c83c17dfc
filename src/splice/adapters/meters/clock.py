"""A clock that never runs backwards, and never stands still."""

from __future__ import annotations

import time
from collections.abc import Callable


def _wall_us() -> int:
    return time.time_ns() // 1000


def _steady_us() -> int:
    return time.monotonic_ns() // 1000


class ForwardClock:
    """Unix microseconds by the wall clock, or by the time that passed where that was set back.

    A clock that only held the latest time it saw would stand still for as long as the wall clock
    was set back, and with it the minute of every rate limit.

    Args:
        wall: Unix microseconds; may jump.
        steady: Microseconds from any beginning; may not.
    """

    def __init__(
        self, wall: Callable[[], int] = _wall_us, steady: Callable[[], int] = _steady_us
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._last = wall()
        self._last_steady = steady()

    def now_us(self) -> int:
        """The time."""
        return self.at_least(self._wall())

    def at_least(self, told_us: int) -> int:
        """The time, after somebody else told his: the later of the two."""
        steady = self._steady()
        now = self._last + steady - self._last_steady
        now = max(now, told_us)
        self._last, self._last_steady = now, steady
        return now
