"""What every cache must do, wherever it keeps its bytes."""

from __future__ import annotations

import asyncio
import math

import pytest

from splice.ports.caches import Cache, SemanticCache

HOSTILE = (
    "",
    " ",
    "*",
    "a*b",
    "[a-z]",
    "?",
    "a\\b",
    "ü" * 300,
    "line\nbreak",
    "{tag}",
    "a:b:c",
    "\0",
)
SOON = 0.2
LONG = 60.0


class CacheContract:
    """Inherit it, and give it the fixture `cache`: empty, with room for a megabyte in one value."""

    async def wait(self, seconds: float) -> None:
        """Let so much of the cache's time pass."""
        await asyncio.sleep(seconds)

    async def test_what_was_put_is_there(self, cache: Cache) -> None:
        await cache.put("a", b"one", LONG)

        assert await cache.get("a") == b"one"
        assert await cache.get("b") is None

    @pytest.mark.parametrize("value", [b"", bytes(range(256)), b"\xff" * 1000])
    async def test_any_bytes_come_back_as_they_were(self, cache: Cache, value: bytes) -> None:
        await cache.put("a", value, LONG)

        assert await cache.get("a") == value

    async def test_it_is_gone_after_its_time(self, cache: Cache) -> None:
        await cache.put("soon", b"1", SOON)
        await cache.put("long", b"1", LONG)

        await self.wait(SOON + 0.05)

        assert await cache.get("soon") is None
        assert await cache.get("long") == b"1"

    async def test_a_second_value_takes_the_place_and_the_time_of_the_first(
        self, cache: Cache
    ) -> None:
        await cache.put("a", b"old", SOON)
        await cache.put("a", b"new", LONG)

        await self.wait(SOON + 0.05)

        assert await cache.get("a") == b"new"

    @pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
    async def test_no_time_keeps_nothing_not_even_what_was_there(
        self, cache: Cache, seconds: float
    ) -> None:
        await cache.put("a", b"old", LONG)

        await cache.put("a", b"new", seconds)

        assert await cache.get("a") is None

    async def test_a_very_long_time_is_a_time(self, cache: Cache) -> None:
        await cache.put("a", b"1", 1e12)

        assert await cache.get("a") == b"1"

    async def test_a_value_too_large_is_not_kept_and_takes_the_old_one_with_it(
        self, cache: Cache
    ) -> None:
        await cache.put("a", b"old", LONG)
        await cache.put("b", b"other", LONG)

        await cache.put("a", b"x" * (64 << 20), LONG)

        assert await cache.get("a") is None
        assert await cache.get("b") == b"other"

    @pytest.mark.parametrize("key", HOSTILE)
    async def test_any_text_is_a_key_of_its_own(self, cache: Cache, key: str) -> None:
        await cache.put("ab", b"other", LONG)

        await cache.put(key, b"mine", LONG)

        assert await cache.get(key) == b"mine"
        assert await cache.get("ab") == b"other"

    async def test_clearing_takes_all_that_begin_so_and_nothing_else(self, cache: Cache) -> None:
        for key in ("x/a/1", "x/a/2", "x/ab/1", "y/x/a/1"):
            await cache.put(key, b"1", LONG)

        assert await cache.clear("x/a/") == 2

        assert await cache.get("x/a/1") is None
        assert await cache.get("x/ab/1") == b"1"
        assert await cache.get("y/x/a/1") == b"1"

    @pytest.mark.parametrize("prefix", ["*", "x/?", "[x]", "x\\"])
    async def test_a_prefix_is_no_pattern(self, cache: Cache, prefix: str) -> None:
        await cache.put("x/a", b"1", LONG)

        assert await cache.clear(prefix) == 0

        assert await cache.get("x/a") == b"1"

    async def test_clearing_finds_thousands(self, cache: Cache) -> None:
        for n in range(2500):
            await cache.put(f"many/{n}", b"1", LONG)

        assert await cache.clear("many/") == 2500

    async def test_callers_at_the_same_time_get_each_his_own(self, cache: Cache) -> None:
        async def put_and_get(n: int) -> bytes | None:
            await cache.put(f"k{n}", b"%d" % n, LONG)
            return await cache.get(f"k{n}")

        assert await asyncio.gather(*map(put_and_get, range(100))) == [
            b"%d" % n for n in range(100)
        ]

    async def test_a_cancelled_read_leaves_the_next_one_its_own_answer(self, cache: Cache) -> None:
        await cache.put("a", b"for a", LONG)
        await cache.put("b", b"for b", LONG)

        for _ in range(20):
            reading = asyncio.create_task(cache.get("a"))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

        assert await cache.get("b") == b"for b"

    async def test_closing_twice_is_harmless_and_a_closed_cache_finds_nothing(
        self, cache: Cache
    ) -> None:
        await cache.put("a", b"1", LONG)
        await cache.close()
        await cache.close()

        await cache.put("b", b"1", LONG)

        assert await cache.get("a") is None
        assert await cache.get("b") is None
        assert await cache.clear("") == 0


class SemanticCacheContract:
    """Inherit it, and give it the fixture `semantic`: empty, with an encoder of sentences."""

    async def wait(self, seconds: float) -> None:
        """Let so much of the cache's time pass."""
        await asyncio.sleep(seconds)

    async def test_the_same_text_is_found(self, semantic: SemanticCache) -> None:
        await semantic.put("s", "Where is invoice 4711?", b"there", LONG)

        near = await semantic.near("s", "Where is invoice 4711?", 1.0)

        assert near is not None
        assert (near.text, near.value) == ("Where is invoice 4711?", b"there")
        assert near.cosine == pytest.approx(1.0, abs=1e-4)

    async def test_a_text_that_asks_the_same_is_found(self, semantic: SemanticCache) -> None:
        await semantic.put("s", "How do I reset my password?", b"so", LONG)

        near = await semantic.near("s", "How can I reset my password?", 0.5)

        assert near is not None
        assert near.value == b"so"

    @pytest.mark.parametrize(
        "text",
        ["Where is invoice 4712?", "Why is invoice 4711?", "Where is invoice 4711 not?"],
    )
    async def test_a_text_that_only_looks_like_it_is_not_found(
        self, semantic: SemanticCache, text: str
    ) -> None:
        await semantic.put("s", "Where is invoice 4711?", b"there", LONG)

        assert await semantic.near("s", text, 0.0) is None

    async def test_the_bound_of_the_cosine_holds(self, semantic: SemanticCache) -> None:
        await semantic.put("s", "How do I reset my password?", b"so", LONG)

        assert await semantic.near("s", "How can I reset my password?", 1.0) is None

    async def test_spaces_know_nothing_of_each_other(self, semantic: SemanticCache) -> None:
        await semantic.put("s/1", "Where is my order?", b"1", LONG)
        await semantic.put("s/2", "Where is my order?", b"2", LONG)

        found = [await semantic.near(space, "Where is my order?", 0.9) for space in ("s/1", "s/2")]

        assert [near.value for near in found if near] == [b"1", b"2"]
        assert await semantic.near("s/3", "Where is my order?", 0.0) is None

    async def test_it_is_gone_after_its_time(self, semantic: SemanticCache) -> None:
        await semantic.put("s", "Where is my order?", b"1", SOON)

        await self.wait(SOON + 0.05)

        assert await semantic.near("s", "Where is my order?", 0.9) is None

    async def test_a_second_answer_takes_the_place_of_the_first(
        self, semantic: SemanticCache
    ) -> None:
        await semantic.put("s", "Where is my order?", b"old", LONG)
        await semantic.put("s", "Where is my order?", b"new", LONG)

        near = await semantic.near("s", "Where is my order?", 0.9)

        assert near is not None
        assert near.value == b"new"

    async def test_clearing_takes_the_spaces_that_begin_so(self, semantic: SemanticCache) -> None:
        await semantic.put("s/1", "Where is my order?", b"1", LONG)
        await semantic.put("s/1", "When are you open?", b"1", LONG)
        await semantic.put("t/1", "Where is my order?", b"2", LONG)

        assert await semantic.clear("s/") == 2

        assert await semantic.near("s/1", "Where is my order?", 0.9) is None
        assert await semantic.near("t/1", "Where is my order?", 0.9) is not None

    async def test_a_closed_cache_finds_nothing(self, semantic: SemanticCache) -> None:
        await semantic.put("s", "Where is my order?", b"1", LONG)
        await semantic.close()
        await semantic.close()

        await semantic.put("s", "Where is my order?", b"1", LONG)

        assert await semantic.near("s", "Where is my order?", 0.9) is None
