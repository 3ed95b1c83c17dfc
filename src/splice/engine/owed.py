"""Owed: what a meter must still be told, because it was away when a call ended."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import deque
from collections.abc import Sequence

import msgspec

from splice.core.errors import StoreError
from splice.ports.meters import ONCE_S, Meter, Take

_MOST = 10_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 5.0
_SURE_S = ONCE_S - 30
"""After this long the meter may have forgotten that a change worked after all."""


class _Entry(msgspec.Struct, gc=False):
    once: str
    changes: Sequence[Take]
    since: float


class Owed:
    """Changes that go on being tried in the background, each of them counted once.

    What is given back is dropped where it can no longer be told apart from what was given back
    already, and where too much waits: a budget then counts too much, never too little.

    Args:
        meter: What is owed to.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._waiting: deque[_Entry] = deque()
        self._spent: dict[str, Take] = {}  # what did not fit there, by counter
        self._task: asyncio.Task[None] | None = None
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many changes wait."""
        return len(self._waiting) + len(self._spent)

    def new_id(self) -> str:
        """An id for a change."""
        return f"{self._name}-{next(self._numbers)}"

    def add(self, once: str, changes: Sequence[Take]) -> None:
        """Try these again until they worked. `once` is the id that they were tried with."""
        if len(self._waiting) >= _MOST:
            self._keep_spent(self._waiting.popleft().changes)
        self._waiting.append(_Entry(once, changes, time.monotonic()))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._pay_all())

    async def close(self) -> None:
        """One last try, and no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        try:
            await self._pay()
        except StoreError:
            return  # what was reserved stays counted

    async def _pay_all(self) -> None:
        wait = _FIRST_WAIT_S
        while self:
            await asyncio.sleep(wait)
            wait = min(_LONGEST_WAIT_S, wait * 2)
            try:
                await self._pay()
            except StoreError:
                continue

    async def _pay(self) -> None:
        """Settle everything that waits, oldest first, until the meter fails."""
        while self:
            if not self._waiting:
                rest, self._spent = tuple(self._spent.values()), {}
                self._waiting.append(_Entry(self.new_id(), rest, time.monotonic()))
            oldest = self._waiting[0]
            changes = oldest.changes
            if time.monotonic() - oldest.since > _SURE_S:
                changes = [one for one in changes if one.amount > 0]
            if changes:
                await self._meter.settle(changes, oldest.once)
            if self._waiting and self._waiting[0] is oldest:
                self._waiting.popleft()

    def _keep_spent(self, changes: Sequence[Take]) -> None:
        for one in changes:
            name = one.slot.name
            before = self._spent.get(name)
            if one.amount > 0 and (before is not None or len(self._spent) < _MOST):
                total = one.amount + (0 if before is None else before.amount)
                self._spent[name] = Take(one.slot, total)
