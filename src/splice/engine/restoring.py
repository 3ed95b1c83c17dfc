"""Restoring: counters learn what the ledger knows was spent before they began to count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from splice.core.access import Budget
from splice.engine.counters import Counter, counter_of, slot_of
from splice.ports.keys import Spending
from splice.ports.meters import Meter

Spent: TypeAlias = Callable[[int], Awaitable[Spending]]
"""What recorded calls cost since a moment (Unix microseconds), as the ledger knows it.

Raises StoreError where it cannot be read.
"""

_WAIT_S = 5.0
"""A call waits at most this long until a budget that was just set knows what was spent already."""


class Restoring:
    """Brings each budget's counter up to the ledger once, and again where the meter lost it.

    Args:
        meter: Counts what is spent.
        spent: The ledger; without it every counter begins at 0.
    """

    def __init__(self, meter: Meter, spent: Spent | None) -> None:
        self._meter = meter
        self._spent = spent
        self._done: set[Counter] = set()
        self._epoch = ""
        self._task: asyncio.Task[None] | None = None

    def is_done(self, budgets: Iterable[Budget]) -> bool:
        """Whether these counters count all that was spent, unless the meter lost them since."""
        return self._spent is None or self._done.issuperset(map(counter_of, budgets))

    @property
    def epoch(self) -> str:
        """Of the meter, when the counters were brought up."""
        return self._epoch

    def look(self) -> None:
        """Know of none as brought up, if the meter began from nothing since."""
        if self._meter.epoch() != self._epoch:
            self._epoch = self._meter.epoch()
            self._done.clear()

    async def now(self, budgets: Iterable[Budget]) -> None:
        """Bring these up.

        Raises:
            StoreError: The ledger or the meter cannot be reached.
        """
        if (spent := self._spent) is None:
            return
        await self._meter.used(())  # learns what time it is there, and since when it counts
        self.look()
        epoch, now = self._epoch, self._meter.now_us()
        since: dict[int, dict[Counter, Budget]] = {}
        for one in budgets:
            if counter_of(one) not in self._done:
                since.setdefault(one.period.window(now)[0], {})[counter_of(one)] = one
        for begin, wanted in since.items():
            spending = await spent(begin)
            for counter, one in wanted.items():
                amount = spending.of(one.scope, one.of)
                if amount > 0:
                    await self._meter.raise_to(slot_of(one, now), amount)
                if self._epoch != epoch:
                    return  # lost again meanwhile; who waits for it begins again
                self._done.add(counter)

    async def soon(self, budgets: Sequence[Budget]) -> None:
        """Wait until these are brought up; many who wait ask the ledger once.

        Raises:
            StoreError: The ledger or the meter cannot be reached.
            TimeoutError: It takes too long; it goes on, for the calls to come.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _WAIT_S
        while not self.is_done(budgets):
            if self._task is None or self._task.done():
                self._task = loop.create_task(self.now(budgets))
                self._task.add_done_callback(_looked_at)
            # Not asyncio.timeout: a simple call runs without a task of its own.
            done, _ = await asyncio.wait({self._task}, timeout=until - loop.time())
            if not done:
                raise TimeoutError
            self._task.result()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _looked_at(task: asyncio.Task[None]) -> None:
    """What failed was told to those who wait for it; perhaps nobody does any more."""
    if not task.cancelled():
        task.exception()
