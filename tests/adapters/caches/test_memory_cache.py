"""The cache in this process, by its contract and by its bounds."""

from __future__ import annotations

import pytest

from splice.adapters.caches.memory import MemoryCache
from splice.testing.contracts.caches import LONG, CacheContract


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture
def cache() -> MemoryCache:
    return MemoryCache(clock=CLOCK)


class TestMemoryCache(CacheContract):
    async def wait(self, seconds: float) -> None:
        CLOCK.now += seconds


async def test_the_least_recently_used_goes_first() -> None:
    cache = MemoryCache(max_bytes=20_000)
    for key in "abcdefghij":
        await cache.put(key, b"x" * 1600, LONG)
    await cache.get("a")

    await cache.put("k", b"x" * 1600, LONG)

    assert await cache.get("a") is not None
    assert await cache.get("b") is None
    assert await cache.get("k") is not None


async def test_the_bound_holds_whatever_is_put() -> None:
    cache = MemoryCache(max_bytes=100_000)

    for n in range(3000):
        await cache.put(f"{n % 700}", b"x" * (n % 1900), LONG)
        assert cache.bytes <= 100_000

    await cache.clear("")
    assert cache.bytes == 0


async def test_one_huge_value_does_not_empty_the_cache() -> None:
    cache = MemoryCache(max_bytes=100_000)
    await cache.put("small", b"x", LONG)

    await cache.put("huge", b"x" * 90_000, LONG)

    assert await cache.get("small") == b"x"
    assert await cache.get("huge") is None


async def test_what_has_timed_out_gives_its_room_back() -> None:
    clock = Clock()
    cache = MemoryCache(clock=clock)
    await cache.put("a", b"x" * 1000, 5)

    clock.now += 5

    assert await cache.get("a") is None
    assert cache.bytes == 0
