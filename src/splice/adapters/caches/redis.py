"""A cache in Redis, shared by all workers; while Redis is away, nothing is found and nothing kept.

A cache must never cost more than it spares: every command has a tenth of a second, and when one
has failed, the next second goes by without a try. Then a single call looks whether Redis is back.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

_AWAY_S = 1.0
_CLEAR_S = 10.0
"""Clearing is an operator's command and walks over all keys; nobody's answer waits for it."""

_CONNECTIONS = 32
_MAX_SECONDS = 10 * 366 * 86_400.0
_SCAN = 1000

_T = TypeVar("_T")


class RedisCache:
    """A Cache in Redis 6 or later (or what speaks its protocol).

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`; may hold a password, and is never shown.
        prefix: Begins every key, in braces, so that a Redis Cluster keeps them in one place and
            `clear` finds them all there.
        timeout_s: The longest that one command may hold a call up.
        max_value_bytes: Longer values are not kept: they would take longer than that.
        clock: Seconds that never run backwards.

    Raises:
        ValueError: The URL is none of Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "splice",
        timeout_s: float = 0.1,
        max_value_bytes: int = 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        pools: Any = BlockingConnectionPool  # its types leave most arguments out
        self._pool: Any = pools.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self._redis: Any = Redis.from_pool(self._pool)
        self._prefix = f"{{{prefix}}}:"
        self._timeout_s = timeout_s
        self._max_value_bytes = max_value_bytes
        self._clock = clock
        self._away_until = 0.0
        self._closed = False
        self.trouble = ""
        """The kind of error with which the last command failed; empty while all is well."""

    async def get(self, key: str) -> bytes | None:
        """The bytes, or None where nothing is kept, or where Redis does not say so in time."""
        if self._is_away():
            return None
        value = await self._said(lambda: self._redis.get(self._prefix + key), self._timeout_s)
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep it; Redis forgets it by its own clock, or earlier where it has no room."""
        if self._is_away():
            return
        name = self._prefix + key
        # Not `seconds <= 0`: that is false for a NaN.
        if not seconds > 0 or len(value) > self._max_value_bytes:
            await self._said(lambda: self._redis.unlink(name), self._timeout_s)  # no older one
            return
        milliseconds = max(1, int(min(seconds, _MAX_SECONDS) * 1000))
        await self._said(lambda: self._redis.set(name, value, px=milliseconds), self._timeout_s)

    async def clear(self, prefix: str) -> int:
        """Forget every key that begins so; returns how many. Ten seconds at most."""
        if self._closed:
            return 0
        gone = [0]
        await self._said(lambda: self._clear(_literally(self._prefix + prefix), gone), _CLEAR_S)
        return gone[0]

    async def close(self) -> None:
        """Close connections; from then on nothing is found."""
        self._closed = True
        await self._said(self._pool.disconnect, self._timeout_s)

    async def _clear(self, pattern: str, gone: list[int]) -> None:
        cursor: int = 0
        while True:
            cursor, keys = await self._redis.scan(cursor, match=pattern + "*", count=_SCAN)
            if keys:
                gone[0] += int(await self._redis.unlink(*keys))
            if not cursor:
                return

    def _is_away(self) -> bool:
        if self._closed:
            return True
        if self._away_until:
            now = self._clock()
            if now < self._away_until:
                return True
            # This call looks whether it is back; the others need not wait for that.
            self._away_until = now + _AWAY_S
        return False

    async def _said(self, command: Callable[[], Awaitable[_T]], seconds: float) -> _T | None:
        """What Redis answers; None where it does not."""
        try:
            async with asyncio.timeout(seconds):
                answer = await command()
        except ResponseError as error:  # no room, no permission, a value of another type
            self.trouble = type(error).__name__
            self._away_until = 0.0  # it is there, and said so
            return None
        except Exception as error:  # noqa: BLE001 - the port's promise: a cache never raises
            self.trouble = type(error).__name__
            self._away_until = self._clock() + _AWAY_S
            return None
        self.trouble = ""
        self._away_until = 0.0
        return answer


def _literally(text: str) -> str:
    """A pattern of Redis that matches this text only."""
    return re.sub(r"([\[\]*?\\^-])", r"\\\1", text)
