"""A meter in Redis, shared by all workers: each operation is one script, all of it or nothing.

While Redis is away a caller learns that at once: every operation has half a second, and when one
has failed, the next second goes by without a try. Then a single one looks whether it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from splice.adapters.meters.clock import ForwardClock
from splice.core.errors import StoreError
from splice.ports.meters import ONCE_S, BegunAnew, Slot, Take

_AWAY_S = 1.0
_CONNECTIONS = 32
_BASE = 10**9
_T = TypeVar("_T")

# Redis computes in floating point, which is exact to 2**53: nine million of a currency in
# billionths. So a number is two: its billions, and what is left.
_COMMON = """
local n = #KEYS - 1
local function read(key)
    local text = redis.call('GET', key)
    if not text then return 0, 0 end
    if #text <= 9 then return 0, tonumber(text) end
    return tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9))
end
local function add(high, low, more_high, more_low)
    high, low = high + more_high, low + more_low
    if low >= 1000000000 then return high + 1, low - 1000000000 end
    return high, low
end
local function write(key, high, low, until_ms)
    local text = string.format('%.0f', low)
    if high > 0 then text = string.format('%.0f%09.0f', high, low) end
    redis.call('SET', key, text)
    redis.call('PEXPIREAT', key, until_ms)
end
local function said(first)
    local now = redis.call('TIME')
    local born = redis.call('GET', KEYS[n + 1])
    if not born then
        born = now[1] .. '.' .. now[2]
        redis.call('SET', KEYS[n + 1], born)
    end
    return {first, now[1], now[2], born}
end
"""
_RESERVE = """
local since, reply = ARGV[1], said(0)
if since ~= '' and reply[4] ~= since then
    reply[1] = -1
    return reply
end
local after = {}
for i = 1, n do
    local at = 1 + (i - 1) * 5
    local high, low
    if after[KEYS[i]] then high, low = after[KEYS[i]][1], after[KEYS[i]][2]
    else high, low = read(KEYS[i]) end
    local more_high, more_low = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local most_high, most_low = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    high, low = add(high, low, more_high, more_low)
    local is_more = high > most_high or (high == most_high and low > most_low)
    if is_more and (more_high > 0 or more_low > 0) then
        reply[1] = i
        return reply
    end
    after[KEYS[i]] = {high, low, ARGV[at + 5]}
end
for key, total in pairs(after) do
    if total[1] > 0 or total[2] > 0 then write(key, total[1], total[2], total[3]) end
end
return reply
"""
_SETTLE = """
local once, once_ms = ARGV[1], ARGV[2]
if once ~= '' and not redis.call('SET', once, '1', 'PX', once_ms, 'NX') then return said(0) end
for i = 1, n do
    local at = 2 + (i - 1) * 3
    local high, low = read(KEYS[i])
    high, low = add(high, low, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
    if high < 0 then high, low = 0, 0 end
    write(KEYS[i], high, low, ARGV[at + 3])
end
return said(0)
"""
_RAISE = """
local high, low = read(KEYS[1])
local least_high, least_low = tonumber(ARGV[1]), tonumber(ARGV[2])
if high < least_high or (high == least_high and low < least_low) then
    write(KEYS[1], least_high, least_low, ARGV[3])
end
return said(0)
"""
_USED = """
local reply = said(0)
for i = 1, n do reply[4 + i] = redis.call('GET', KEYS[i]) or '0' end
return reply
"""


class RedisMeter:
    """A Meter in Redis 5 or later (or what speaks its protocol and runs its scripts).

    The server should not evict what does not expire (`maxmemory-policy` `noeviction` or
    `volatile-…`), and keep its data over a restart; where it comes back empty, `epoch` says so.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`; may hold a password, and is never shown.
        prefix: Begins every key, in braces, so that a Redis Cluster keeps them in one place.
        timeout_s: The longest that one operation may take.
        clock: Microseconds since 1970 of this machine; its own if left out.

    Raises:
        ValueError: The URL is none of Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "splice",
        timeout_s: float = 0.5,
        clock: Callable[[], int] | None = None,
    ) -> None:
        pools: Any = BlockingConnectionPool  # its types leave most arguments out
        self._pool: Any = pools.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Whoever repeats a script that was lost on the way may count twice.
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self._redis: Any = Redis.from_pool(self._pool)
        self._prefix = f"{{{prefix}}}:meter:"
        self._born_key = self._prefix + "born"
        self._timeout_s = timeout_s
        self._clock = ForwardClock() if clock is None else ForwardClock(clock)
        self._reserve = self._redis.register_script(_COMMON + _RESERVE)
        self._settle = self._redis.register_script(_COMMON + _SETTLE)
        self._raise = self._redis.register_script(_COMMON + _RAISE)
        self._used = self._redis.register_script(_COMMON + _USED)
        self._born = ""
        self._away_until = 0.0
        self._trouble = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def reserve(self, takes: Sequence[Take], since: str = "") -> Take | None:
        """Add every amount, or none of them. Returns the first that has no room."""
        arguments: list[int | str] = [since]
        for take in takes:
            if take.amount < 0:
                raise ValueError(f"an amount of {take.amount}")
            slot = take.slot
            most = divmod(max(0, slot.limit), _BASE)
            arguments += (*divmod(take.amount, _BASE), *most, _ms(slot.until_us))
        asking = self._asking(self._reserve, [one.slot for one in takes], arguments)
        try:
            reply = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # Nobody will settle what a caller reserved who is gone.
            asking.add_done_callback(lambda done: self._give_back(done, takes))
            raise
        refused = int(reply[0])
        if refused < 0:
            raise BegunAnew
        return takes[refused - 1] if refused else None

    async def settle(self, changes: Sequence[Take], once: str = "") -> None:
        """Add the amounts, whatever the bounds say; never below 0."""
        marker = f"{self._prefix}once:{once}" if once else ""
        arguments: list[int | str] = [marker, ONCE_S * 1000]
        for change in changes:
            arguments += (*divmod(change.amount, _BASE), _ms(change.slot.until_us))
        await asyncio.shield(self._asking(self._settle, [one.slot for one in changes], arguments))

    async def used(self, slots: Sequence[Slot]) -> list[int]:
        """What is counted now."""
        reply = await asyncio.shield(self._asking(self._used, slots, []))
        return [int(one) for one in reply[4:]]

    async def raise_to(self, slot: Slot, amount: int) -> None:
        """Make a counter at least `amount`."""
        arguments = [*divmod(amount, _BASE), _ms(slot.until_us)]
        await asyncio.shield(self._asking(self._raise, [slot], arguments))

    def now_us(self) -> int:
        """The later of this machine's clock and of Redis' as it was last told."""
        return self._clock.now_us()

    def epoch(self) -> str:
        """When Redis last began from nothing; empty before the first operation."""
        return self._born

    async def close(self) -> None:
        """Close connections."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._pool.disconnect()

    def _asking(
        self, script: Any, slots: Sequence[Slot], arguments: Sequence[Any]
    ) -> asyncio.Task[list[Any]]:
        """Asks in a task: a caller may have none of its own, and may be cancelled."""
        return self._run(self._ask(script, slots, arguments))

    async def _ask(self, script: Any, slots: Sequence[Slot], arguments: Sequence[Any]) -> list[Any]:
        """Whatever the script says; its first four values are the same in each."""
        if self._is_away():
            raise self._error()
        keys = [*(self._prefix + slot.name for slot in slots), self._born_key]
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = cast("list[Any]", await script(keys=keys, args=arguments))
        except Exception as error:  # noqa: BLE001 - the library raises of many trees
            # Its kind only: the text may hold the address, and that a password.
            self._trouble = type(error).__name__
            self._away_until = time.monotonic() + _AWAY_S
            raise self._error() from None
        self._away_until, self._trouble = 0.0, ""
        self._clock.at_least(int(reply[1]) * 1_000_000 + int(reply[2]))
        self._born = reply[3].decode()
        return reply

    @property
    def trouble(self) -> str:
        """What kept it from counting the last time; empty while it counts."""
        return self._trouble

    def _is_away(self) -> bool:
        if not self._away_until:
            return False
        now = time.monotonic()
        if now < self._away_until:
            return True
        # This one looks whether it is back; the others need not wait for that.
        self._away_until = now + _AWAY_S
        return False

    def _error(self) -> StoreError:
        return StoreError(
            "meter",
            got=f"no answer from Redis ({self._trouble})",
            mend="check meters.url, and that Redis can be reached",
        )

    def _give_back(self, asked: asyncio.Future[list[Any]], takes: Sequence[Take]) -> None:
        if asked.cancelled() or asked.exception() is not None or int(asked.result()[0]):
            return
        self._run(self.settle([Take(one.slot, -one.amount) for one in takes]))

    def _run(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ran)
        return task

    def _ran(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: those who wait for it were told


def _ms(until_us: int) -> int:
    return -(-until_us // 1000)
