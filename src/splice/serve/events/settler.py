"""Settler: what became of events is stored many at a time, one transaction after the other.

What is put while one transaction runs makes the next, and where more is known to come at once, what
is there waits for it a little: a transaction costs some milliseconds, however few it stores. Order
is kept: what was put first is stored first, so effects of one key are in the order of its events.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress

from splice.core.errors import StoreError, Unstorable
from splice.core.events import DeadLetter, Settled
from splice.ports.events import EventStore
from splice.serve.events.lanes import Taken

log = logging.getLogger("splice.events")

MOST = 4000
"""Events in one transaction."""

_GATHER_S = 0.2
_SOME = 300
_EXPECT_S = 0.05
"""So many events, or those of so long, wait for more that is known to come at once. With more of
them each one costs more: they leave the caches before they are stored. With fewer, more commits are
waited for. Measured from 200 to 500: 3 % less on one core, 8 % more on two."""

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class Settler:
    """The one writer of a consumer.

    Args:
        store: Where events are kept.
        threads: It blocks there.
        then: Is told what was stored, and which of it came too late; awaited before the next.
    """

    def __init__(
        self,
        store: EventStore,
        threads: Executor,
        then: Callable[[Sequence[Taken], Sequence[Settled]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._threads = threads
        self._then = then
        self._waiting: list[Taken] = []
        self._storing = 0
        self._gathering = 0
        self._expecting = False
        self._first_put = 0.0  # of those that wait
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.busy = False
        self.trouble = ""

    @property
    def idle(self) -> bool:
        """Whether all that was put is stored."""
        return not (self.busy or self._waiting)

    @property
    def unsettled(self) -> int:
        """Events that were put and are not stored."""
        return len(self._waiting) + self._storing

    def put(self, taken: Sequence[Taken]) -> None:
        """Store what became of these with the next: each has it as `settled`."""
        first = not self._waiting
        if first:
            self._first_put = time.monotonic()
        self._waiting += taken
        if first or self._is_due:
            self._some.set()

    @contextmanager
    def gathering(self) -> Generator[None]:
        """What is put meanwhile makes one transaction, if it is not too much and too long."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1
            if self._waiting:
                self._some.set()

    def expect(self, *, more: bool) -> None:
        """Whether more comes at once: what is put waits for it, not for long."""
        self._expecting = more
        if self._waiting and not more:
            self._some.set()

    @property
    def _is_due(self) -> bool:
        if self._gathering:
            return len(self._waiting) >= MOST or self._left_s(_GATHER_S) <= 0
        if self._expecting:
            return len(self._waiting) >= _SOME or self._left_s(_EXPECT_S) <= 0
        return True

    def _left_s(self, most_s: float) -> float:
        return self._first_put + most_s - time.monotonic()

    def start(self) -> asyncio.Task[None]:
        """Begin; the task ends only by an error that nobody can mend here."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def stop(self) -> None:
        """Stop; what was not stored comes again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._woken()
            while self._waiting and self._is_due:
                self.busy = True
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                self._storing, self._first_put = len(batch), time.monotonic()
                try:
                    settled = [one.settled for one in batch if one.settled is not None]
                    late = await self._stored(settled)
                    self._storing = 0  # whoever is told counts them as settled from here on
                    await self._then(batch, late)
                finally:
                    self.busy, self._storing = False, 0

    async def _woken(self) -> None:
        """Once some are put, or have waited long enough for others."""
        left_s = self._left_s(_EXPECT_S) if self._waiting and not self._gathering else None
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._some.wait()
        self._some.clear()

    async def _stored(self, batch: Sequence[Settled]) -> Sequence[Settled]:
        """Tries until it is stored: events wait as long as the ledger is away, and none is lost."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                late = await self._settle(batch)
            except Unstorable as error:
                return await self._one_by_one(batch, error)
            except StoreError as error:
                if not self.trouble:
                    log.error("events cannot be settled, and wait: %s", error)
                self.trouble = str(error)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            else:
                if self.trouble:
                    log.warning("events are settled again")
                self.trouble = ""
                return late

    async def _one_by_one(self, batch: Sequence[Settled], error: Unstorable) -> Sequence[Settled]:
        """One that the store can never hold becomes a dead letter; its neighbours go on."""
        if len(batch) > 1:
            late = [lost for one in batch for lost in await self._stored([one])]
            return late
        one = batch[0]
        if one.record is None and one.inbox is None:  # a dead letter already: its bytes are kept
            log.error("%s cannot be kept as a dead letter: %s", one.event.origin, error)
            one.dead = None
            return ()
        integration = one.record.integration if one.record is not None else ""
        one.dead = DeadLetter(
            integration, one.event, error.code, error.where, error.detail,
            one.event.attempts + 1, time.time_ns() // 1000,
        )  # fmt: skip
        one.record, one.inbox, one.messages = None, None, ()
        return await self._stored([one])

    async def _settle(self, batch: Sequence[Settled]) -> Sequence[Settled]:
        loop = asyncio.get_running_loop()

        def settle() -> Sequence[Settled]:
            return self._store.settle(batch, now_us=time.time_ns() // 1000)

        return await loop.run_in_executor(self._threads, settle)
