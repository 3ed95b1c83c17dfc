"""A cache in this process: the least recently used goes first, and nothing outlives its time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_OVERHEAD = 300
"""Bytes that an entry takes beside its key and value: two objects, a tuple, its place in the dict
(measured with sys.getsizeof; rounded up)."""

_LARGEST_SHARE = 8
"""One entry takes at most an eighth of the room: a single huge answer must not empty the cache."""


class MemoryCache:
    """A Cache of one process, bounded in bytes. Other workers have their own.

    Args:
        max_bytes: Room for keys, values and what it takes to hold them.
        clock: Seconds that never run backwards; the cache knows no other time.
    """

    def __init__(
        self, max_bytes: int = 64 * 1024 * 1024, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._closed = False

    @property
    def bytes(self) -> int:
        """Bytes in use."""
        return self._bytes

    async def get(self, key: str) -> bytes | None:
        """The bytes, or None where nothing is kept any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock() >= entry[1]:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep it for so many seconds; where there is no room, the least recently used goes."""
        self._drop(key)
        size = _size(key, value)
        # Not `seconds <= 0`: that is false for a NaN.
        if self._closed or not seconds > 0 or size * _LARGEST_SHARE > self._max_bytes:
            return
        self._entries[key] = (bytes(value), self._clock() + seconds)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def clear(self, prefix: str) -> int:
        """Forget every key that begins so; returns how many."""
        gone = [key for key in self._entries if key.startswith(prefix)]
        for key in gone:
            self._drop(key)
        return len(gone)

    async def close(self) -> None:
        """Forget everything; from then on nothing is kept."""
        self._closed = True
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[0])


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD
