"""The embedded queue as a bus: the ledger's own queues, read by several processes with leases."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from splice.core.errors import BusError, StoreError
from splice.core.events import Event, Partition
from splice.ports.buses import Assigned, Positions, Revoked
from splice.ports.events import QueueStore

log = logging.getLogger("splice.events")

T = TypeVar("T")

_FIRST_WAIT_S = 0.005
_LONGEST_WAIT_S = 0.2
"""How long an empty queue is left alone: what comes meanwhile waits so long at most."""

_EXTEND = 3  # times within a lease


class QueueSource:
    """A Source over a queue of the ledger. It has one partition, 0, and its events have tokens.

    Args:
        store: The queues.
        queue: Name of this one.
        lease_s: How long an event is held before another process may take it; it is extended while
            it is worked on here.
    """

    def __init__(self, store: QueueStore, queue: str, *, lease_s: float = 30.0) -> None:
        self.stream = f"queue:{queue}"
        self._store, self._queue = store, queue
        self._lease_us = int(lease_s * 1e6)
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._thread = ThreadPoolExecutor(1, f"queue {queue}")
        self._held: dict[int, Event] = {}  # by number of the row
        self._taking: deque[tuple[int, asyncio.Future[list[Event]]]] = deque()  # by their numbers
        self._left: list[Event] = []  # taken, and not handed out
        self._takes = 0  # begun so far
        self._left_of = 0  # which of them what is left is of
        self._overtaken: dict[bytes, int] = {}  # by key, the last take from before a postponing
        self._owed: deque[tuple[Sequence[Event], int, bool]] = deque()  # until when, and if tried
        self._paused = False
        self._wait_s = _FIRST_WAIT_S
        self._extending: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """Everybody may take from a queue: its partition is never taken away."""
        await assigned([(self.stream, 0)])
        self._extending = asyncio.get_running_loop().create_task(self._extend())

    async def poll(self, limit: int, seconds: float, *, ahead: int = 0) -> Sequence[Event]:
        """The oldest events that are due, in their order."""
        until = time.monotonic() + seconds
        while True:
            free = not self._paused and not self._closed
            if free and (events := await self._take(limit, ahead=ahead)):
                self._wait_s = _FIRST_WAIT_S
                return events
            left = until - time.monotonic()
            if left <= 0:
                return ()
            await asyncio.sleep(min(self._wait_s, left))
            self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Take nothing more."""
        self._paused = self._paused or (self.stream, 0) in partitions

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Go on."""
        self._paused = self._paused and (self.stream, 0) not in partitions

    async def commit(self, positions: Positions) -> None:
        """A queue has no positions: what is settled is deleted."""

    async def finished(self, events: Sequence[Event]) -> None:
        """Hold them no longer."""
        for one in events:
            self._forget(one)

    async def postpone(self, event: Event, due_us: int) -> bool:
        """It comes again at `due_us`; its attempt counts.

        Those of its key that came after it go back with it, unharmed, and before it: once it is
        due it may be taken at any moment, and those behind them must not be taken with it.
        """
        key, number = event.key, event.origin.offset
        if key is not None:
            self._overtaken[key] = self._takes
            held = self._held.values()
            self._owe([one for one in held if one.key == key and one.origin.offset > number])
        self._owe([event], due_us=due_us, tried=True)
        await self._blocking(self._pay)
        return True

    async def release(self, events: Sequence[Event]) -> None:
        """They come again at once; no attempt was made."""
        self._owe(events)
        await self._blocking(self._pay)

    async def close(self) -> None:
        """Give back what is held still."""
        if self._closed:
            return
        self._closed = True
        if self._extending is not None:
            self._extending.cancel()
            await asyncio.gather(self._extending, return_exceptions=True)
        try:
            if self._taking:
                await asyncio.wait([taking for _, taking in self._taking])
            await self.release(self._ours())
        except BusError as error:  # their leases end them
            log.warning("%s: leases are left to end by themselves: %s", self.stream, error)
        self._thread.shutdown(wait=False)

    def _owe(self, events: Sequence[Event], *, due_us: int = 0, tried: bool = False) -> None:
        for one in events:
            self._forget(one)
        if events:
            self._owed.append((events, due_us, tried))

    def _pay(self) -> None:
        """Give back what is to go back. Until that is done nothing is taken."""
        while self._owed:
            events, due_us, tried = self._owed[0]
            self._store.give_back(self._queue, events, due_us=due_us, tried=tried)
            self._owed.popleft()

    async def _take(self, limit: int, *, ahead: int) -> list[Event]:
        if not self._left:
            if not self._taking:
                self._begin(limit)
            await asyncio.wait([self._taking[0][1]])  # goes on where this poll is given up
            self._left_of, taking = self._taking.popleft()
            self._left = taking.result()
            self._held.update((one.origin.offset, one) for one in self._left)
        events, self._left = self._left[:limit], self._left[limit:]
        is_full = len(events) >= limit
        if self._overtaken:
            events = await self._in_order(events)
        # Not while some of what was taken may have to go back.
        if ahead and is_full and not (self._taking or self._overtaken or self._closed):
            self._begin(max(ahead - ahead % limit, limit))  # whole batches
        return events

    def _begin(self, limit: int) -> None:
        """Here and now: a task would begin only once the event loop is free."""
        self._takes += 1
        self._taking.append((self._takes, self._blocking(lambda: self._taken(limit))))

    async def _in_order(self, events: list[Event]) -> list[Event]:
        """Without those that must not be handed out any more: they go back unharmed.

        They were taken before one of their key was postponed, and have not been seen since.
        """
        over = self._left_of
        while late := [
            one for one in events
            if one.key is not None and self._overtaken.get(one.key, 0) >= over
        ]:  # fmt: skip
            numbers = {one.origin.offset for one in late}
            events = [one for one in events if one.origin.offset not in numbers]
            await self.release(late)  # meanwhile another may be postponed
        if not self._left:  # of a later take nothing is too early
            self._overtaken = {k: n for k, n in self._overtaken.items() if n > over}
        return events

    def _taken(self, limit: int) -> list[Event]:
        self._pay()
        now_us = time.time_ns() // 1000
        return self._store.take(
            self._queue, limit, self._holder, now_us=now_us, lease_us=self._lease_us
        )

    def _ours(self) -> list[Event]:
        """All that is held, also what nobody has asked for yet."""
        held = list(self._held.values())
        for _, taking in self._taking:
            if taking.done() and taking.exception() is None:
                held += taking.result()
        return held

    def _forget(self, event: Event) -> None:
        held = self._held.get(event.origin.offset)
        if held is not None and held.token == event.token:
            del self._held[event.origin.offset]

    async def _extend(self) -> None:
        while True:
            await asyncio.sleep(self._lease_us / 1e6 / _EXTEND)
            held = self._ours()
            if not held:
                continue
            until_us = time.time_ns() // 1000 + self._lease_us

            def extend(held: list[Event] = held, until_us: int = until_us) -> list[Event]:
                return self._store.extend(self._queue, held, until_us=until_us)

            try:
                lost = await self._blocking(extend)
            except BusError as error:
                log.warning("%s: leases cannot be extended: %s", self.stream, error)
                continue
            for one in lost:  # what becomes of them here is refused by their tokens
                self._forget(one)

    def _blocking(self, work: Callable[[], T]) -> asyncio.Future[T]:
        def done() -> T:
            try:
                return work()
            except StoreError as error:
                away = BusError(
                    self.stream, got=error.detail, mend="see /readyz: the ledger is away"
                )
                away.retryable = error.retryable
                raise away from error

        return asyncio.get_running_loop().run_in_executor(self._thread, done)
