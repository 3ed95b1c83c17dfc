"""A meter in memory, for a deployment of one process."""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Sequence

from splice.adapters.meters.clock import ForwardClock
from splice.ports.meters import BegunAnew, Slot, Take


class MemoryMeter:
    """A Meter of one event loop: nothing in it waits, so nothing comes in between.

    Args:
        clock: Unix microseconds that never run backwards; its own if left out.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self.now_us: Callable[[], int] = clock or ForwardClock().now_us
        self._used: dict[str, int] = {}
        self._epoch = f"memory-{secrets.token_hex(8)}"
        self._ends: list[tuple[int, str]] = []  # heap: when each counter may be forgotten

    async def reserve(self, takes: Sequence[Take], since: str = "") -> Take | None:
        """Add every amount, or none of them."""
        if since and since != self._epoch:
            raise BegunAnew
        self._forget()
        used = self._used
        after: dict[str, int] = {}
        for take in takes:
            slot, amount = take.slot, take.amount
            name = slot.name
            total = (after[name] if name in after else used.get(name, 0)) + amount
            if amount > 0:
                if total > slot.limit:
                    return take
            elif amount < 0:
                raise ValueError(f"an amount of {amount}")
            after[name] = total
        for take in takes:
            self._set(take.slot, after[take.slot.name])
        return None

    async def settle(self, changes: Sequence[Take], once: str = "") -> None:
        """Add the amounts, whatever the bounds say; never below 0.

        It never fails, so that nobody tries again, and `once` need not be remembered.
        """
        self._forget()
        for change in changes:
            total = self._used.get(change.slot.name, 0) + change.amount
            self._set(change.slot, max(0, total))

    async def used(self, slots: Sequence[Slot]) -> list[int]:
        """What is counted now."""
        self._forget()
        return [self._used.get(slot.name, 0) for slot in slots]

    async def raise_to(self, slot: Slot, amount: int) -> None:
        """Make a counter at least `amount`."""
        self._forget()
        self._set(slot, max(amount, self._used.get(slot.name, 0)))

    def epoch(self) -> str:
        """The same as long as the process lives: what is counted is lost with it, and only so."""
        return self._epoch

    async def close(self) -> None:
        """Nothing to close."""

    def _set(self, slot: Slot, total: int) -> None:
        if slot.name not in self._used:
            if not total:
                return
            heapq.heappush(self._ends, (slot.until_us, slot.name))
        self._used[slot.name] = total

    def _forget(self) -> None:
        now = self.now_us()
        while self._ends and self._ends[0][0] <= now:
            self._used.pop(heapq.heappop(self._ends)[1], None)
