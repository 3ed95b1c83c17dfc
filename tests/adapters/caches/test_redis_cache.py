"""The cache in Redis: by its contract against a real server, and while that is away."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from splice.adapters.caches.redis import RedisCache
from splice.testing.contracts.caches import LONG, CacheContract

URL = os.environ.get("SPLICE_TEST_REDIS", "")
needs_redis = [
    pytest.mark.redis,
    pytest.mark.skipif(not URL, reason="needs SPLICE_TEST_REDIS (scripts/services start redis)"),
]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def cache() -> AsyncIterator[RedisCache]:
    # Generous: what is tested here is what it does, not how quick this machine is.
    made = RedisCache(URL, prefix=f"test-{uuid.uuid4()}", timeout_s=60)
    yield made
    await made.clear("")
    await made.close()


class TestRedisCache(CacheContract):
    pytestmark = needs_redis


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[str]:
    """A server that says what `talk` says; gives its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await talk(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def until(seen: Callable[[], bool]) -> None:
    """A server may come to its turn after its client gave up."""
    async with asyncio.timeout(30):
        while not seen():
            await asyncio.sleep(0.01)


class Way:
    """The way to the real server, which a test can close and open."""

    def __init__(self) -> None:
        self.open = True
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self.open:
            return
        self._writers.append(writer)
        url = urlsplit(URL)
        if url.scheme == "unix":
            there, back = await asyncio.open_unix_connection(url.path)
        else:
            there, back = await asyncio.open_connection(url.hostname, url.port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while part := await source.read(65536):
                sink.write(part)
                await sink.drain()

        answers = asyncio.create_task(pump(there, writer))
        try:
            await pump(reader, back)
        finally:
            answers.cancel()
            back.close()

    def close(self) -> None:
        self.open = False
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@pytest.mark.parametrize("talk", [silent, babbling, hanging_up])
async def test_a_server_that_is_no_redis_is_no_cache(talk: Talk) -> None:
    async with serving(talk) as url:
        cache = RedisCache(url)

        await cache.put("a", b"1", LONG)

        assert await cache.get("a") is None
        assert cache.trouble
        await cache.close()


async def test_where_nothing_listens_nothing_is_found_and_nothing_raised() -> None:
    async with serving(silent) as url:
        pass
    cache = RedisCache(url)

    await cache.put("a", b"1", LONG)

    assert await cache.get("a") is None
    assert await cache.clear("") == 0
    await cache.close()


async def test_a_silent_server_is_asked_once_and_then_left_alone_for_a_second() -> None:
    asked = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await silent(reader, writer)

    clock = Clock()
    async with serving(count) as url:
        cache = RedisCache(url, clock=clock)

        for _ in range(20):
            assert await cache.get("a") is None
        await until(lambda: asked > 0)
        assert asked == 1

        clock.now += 1.01
        # Of many who come when the second is over, one looks; none of the others waits.
        await asyncio.gather(*(cache.get("a") for _ in range(20)))
        await until(lambda: asked > 1)
        assert asked == 2
        await cache.close()


async def test_the_password_is_in_no_trouble_and_in_no_representation() -> None:
    async with serving(babbling) as url:
        cache = RedisCache(url.replace("redis://", "redis://:canary-4711@"))

        await cache.get("a")

        assert "canary" not in f"{cache.trouble} {cache!r}"
        await cache.close()


class TestAgainstRedis:
    pytestmark = needs_redis

    async def test_redis_that_goes_away_and_comes_back_is_used_again(self) -> None:
        way, clock = Way(), Clock()
        async with serving(way.talk) as url:
            cache = RedisCache(url, prefix=f"test-{uuid.uuid4()}", timeout_s=60, clock=clock)
            await cache.put("a", b"1", LONG)
            assert await cache.get("a") == b"1"

            way.close()
            assert await cache.get("a") is None
            await cache.put("a", b"2", LONG)
            seen = way.connections
            assert await cache.get("a") is None
            assert way.connections == seen

            way.open = True
            clock.now += 1.01
            assert await cache.get("a") == b"1"
            assert cache.trouble == ""
            await cache.clear("")
            await cache.close()

    async def test_a_value_of_another_type_is_not_found_and_redis_is_not_away(
        self, cache: RedisCache
    ) -> None:
        redis = Redis.from_url(URL)
        await redis.rpush(f"{cache._prefix}list", "x")  # pyright: ignore[reportPrivateUsage]
        await cache.put("a", b"1", LONG)

        assert await cache.get("list") is None

        assert await cache.get("a") == b"1"
        await redis.aclose()

    async def test_two_prefixes_know_nothing_of_each_other(self, cache: RedisCache) -> None:
        other = RedisCache(URL, prefix=f"test-{uuid.uuid4()}", timeout_s=60)
        await cache.put("a", b"1", LONG)

        assert await other.get("a") is None
        assert await other.clear("") == 0
        assert await cache.get("a") == b"1"
        await other.close()

    async def test_two_workers_share_what_is_kept(self, cache: RedisCache) -> None:
        other = RedisCache(URL, prefix=cache._prefix.strip("{}:"), timeout_s=60)  # pyright: ignore[reportPrivateUsage]

        await cache.put("a", b"1", LONG)

        assert await other.get("a") == b"1"
        await other.close()
