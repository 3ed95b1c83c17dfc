"""Whoever shows one wrong key after the other waits: longer with each."""

from __future__ import annotations

import time
from collections.abc import Callable

from splice.core.errors import RateLimited

_FREE = 5  # slips of a person
_LONGEST_S = 60.0
_FORGOTTEN_S = 900.0
_MOST = 4096  # addresses


class Slowing:
    """Failures by address, in this process.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, tuple[int, float]] = {}

    def check(self, address: str) -> None:
        """Passes whoever need not wait.

        Raises:
            RateLimited: He must.
        """
        count, last = self._failed.get(address, (0, 0.0))
        if count < _FREE:
            return
        left = last + min(2.0 ** (count - _FREE), _LONGEST_S) - self._clock()
        if left > 0:
            raise RateLimited(
                "sign-in", retry_after=left, got=f"{count} wrong keys one after the other"
            )

    def failed(self, address: str) -> None:
        """He showed a wrong key."""
        now = self._clock()
        count, last = self._failed.pop(address, (0, now))
        if len(self._failed) >= _MOST:
            del self._failed[next(iter(self._failed))]  # whoever failed longest ago
        self._failed[address] = (1 if now - last > _FORGOTTEN_S else count + 1, now)

    def passed(self, address: str) -> None:
        """He showed a right one."""
        self._failed.pop(address, None)
