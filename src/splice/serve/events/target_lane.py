"""A lane of the sender: the messages of one target on their way, in the order of each key."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

from splice.core.errors import BusError
from splice.engine.faults import faults
from splice.ports.buses import Sink
from splice.ports.events import Waiting

_FAILED_IN_A_ROW = 3
_REFUSED_IN_A_ROW = 10
"""So many messages in a row, and none that got through: it is the target that is wrong."""


class Plan(Protocol):
    """What a lane reads of the sender's plan."""

    @property
    def batch(self) -> int:
        """Messages that one call of a sink gets."""
        ...

    @property
    def keys(self) -> int:
        """Keys at once, where each message is sent by itself."""
        ...

    @property
    def lane(self) -> int:
        """Messages in memory."""
        ...

    @property
    def attempts(self) -> int:
        """Tries of a message, where it is not tried for ever."""
        ...

    @property
    def backoff_s(self) -> float:
        """The first wait."""
        ...

    @property
    def max_backoff_s(self) -> float:
        """The longest."""
        ...

    @property
    def send_s(self) -> float:
        """Longest time that one message takes."""
        ...


class Report(Protocol):
    """Who is told what became of messages."""

    def sent(self, numbers: Sequence[int]) -> None:
        """They were delivered."""
        ...

    async def failed_for_now(self, one: Waiting, wait_s: float, error: BusError) -> None:
        """It was tried and may go later."""
        ...

    async def failed_for_good(self, one: Waiting, error: BusError) -> None:
        """It was tried and never will go."""
        ...

    async def not_tried(self, some: Sequence[Waiting], wait_s: float) -> None:
        """They may go later."""
        ...


class Lane:
    """Messages of one target.

    Args:
        target: Its URL.
        sink: Takes them there.
        report: Is told what became of them.
        plan: How to go about it.
        together: The sink takes many at once, of all keys; else each goes by itself, and several
            keys at a time.
    """

    def __init__(
        self, target: str, sink: Sink, report: Report, plan: Plan, *, together: bool
    ) -> None:
        self.target = target
        self.down_until = 0.0
        self.fails = 0
        self.turns = 0  # changes whenever messages go back to the store, before and after
        self._shown = target.partition("?")[0]  # what follows may be a secret
        self._sink = sink
        self._report = report
        self._plan = plan
        self._together = together
        self._queues: dict[bytes | None, deque[tuple[Waiting, float]]] = {}
        self._idle: deque[bytes | None] = deque()  # keys that nobody works at
        self._count = 0  # waiting and running
        self._refused = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._returning = 0

    @property
    def idle(self) -> bool:
        """Whether nothing of it waits or runs."""
        return self._count == 0 and not self._workers and not self._returning

    def has_room(self, now: float) -> bool:
        """Whether more may be taken of this target.

        Not while messages of it go back to the store: those behind them would be taken first.
        """
        return not self._returning and self.down_until <= now and self._count < self._plan.lane

    def add(self, some: Sequence[Waiting], until: float) -> None:
        """Messages to be sent, leased until then (by the monotonic clock)."""
        for one in some:
            key = None if self._together else one.message.key
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = deque()
                self._idle.append(key)
            queue.append((one, until))
        self._count += len(some)
        self._work()

    def stop(self) -> list[Waiting]:
        """Begin nothing new; gives what was not begun."""
        self._stopped = True
        return self._drop(list(self._queues))

    async def ended(self) -> None:
        """Wait for what runs."""
        while self._workers:
            await asyncio.wait(set(self._workers))

    def cancel(self) -> None:
        """End what runs."""
        for worker in self._workers:
            worker.cancel()

    def _work(self) -> None:
        # After a failure one message goes ahead: the others follow when it got through.
        most = 1 if self._together or self.fails else self._plan.keys
        while self._idle and len(self._workers) < most and not self._stopped:
            worker = asyncio.create_task(self._worker(self._idle.popleft()))
            self._workers.add(worker)
            worker.add_done_callback(self._ended)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled():
            worker.result()
        self._work()

    async def _worker(self, key: bytes | None) -> None:
        """Send what waits of a key, until the lane fails."""
        queue = self._queues[key]
        while queue:
            some = self._next(queue)
            if some:
                await (self._send_all(some) if self._together else self._send(some[0]))
            else:  # too late for what is held
                late = [queue.popleft()[0] for _ in range(len(queue))]
                self._count -= len(late)
                with self._giving_back():
                    await self._report.not_tried(late, 0.0)
        if self._queues.get(key) is queue:
            del self._queues[key]

    def _next(self, queue: deque[tuple[Waiting, float]]) -> list[Waiting]:
        """The next messages to be sent; none where their lease could end meanwhile."""
        most = self._plan.batch if self._together else 1
        latest = time.monotonic() + self._plan.send_s
        some: list[Waiting] = []
        while queue and len(some) < most and queue[0][1] > latest:
            some.append(queue.popleft()[0])
        return some

    async def _send(self, one: Waiting) -> None:
        try:
            await self._deliver([one])
        except BusError as error:
            await self._failed(one, (), error)
        else:
            self._went_well([one])

    async def _send_all(self, some: list[Waiting]) -> None:
        try:
            await self._deliver(some)
        except BusError as error:
            if error.retryable or len(some) == 1:
                await self._failed(some[0], some[1:], error)
                return
        else:
            self._went_well(some)
            return
        for at, one in enumerate(some):  # one of them is to blame
            try:
                await self._deliver([one])
            except BusError as error:
                if await self._failed(one, some[at + 1 :], error):
                    return
            else:
                self._went_well([one])

    async def _deliver(self, some: Sequence[Waiting]) -> None:
        """Hand them to the sink.

        Raises:
            BusError: It did not take all of them, or not in time.
        """
        try:
            async with asyncio.timeout(self._plan.send_s):
                await self._sink.send([one.message for one in some])
        except TimeoutError:
            late = f"no answer within {self._plan.send_s:g} s"
            raise BusError(self._shown, got=late) from None
        except BusError:
            raise
        except Exception as error:  # whatever a sink does, the others go on
            faults.told("a sink of the outbox", error)
            raise BusError(self._shown, got=f"an unforeseen {type(error).__name__}") from error

    def _went_well(self, some: Sequence[Waiting]) -> None:
        self._count -= len(some)
        self.fails = self._refused = 0
        self.down_until = 0.0
        self._report.sent([one.number for one in some])
        self._work()

    async def _failed(self, one: Waiting, others: Sequence[Waiting], error: BusError) -> bool:
        """Whether the message, and with it `others`, must wait."""
        self._refused += 0 if error.retryable else 1
        tried = one.attempts + 1
        out_of_tries = not self._together and tried >= self._plan.attempts
        if (not error.retryable and self._refused < _REFUSED_IN_A_ROW) or out_of_tries:
            self._count -= 1
            await self._report.failed_for_good(one, error)
            return False
        now = time.monotonic()
        wait = backoff_s(tried, self._plan.backoff_s, self._plan.max_backoff_s)
        if self.down_until <= now:  # those that failed at the same time are one failure
            self.fails += 1
        all_wrong = self._together or error.retry_after > 0 or not error.retryable
        if all_wrong or self.fails >= _FAILED_IN_A_ROW:
            if self.down_until <= now:
                steps = self.fails if self._together else max(1, self.fails - _FAILED_IN_A_ROW + 1)
                pause = backoff_s(steps, self._plan.backoff_s, self._plan.max_backoff_s)
                self.down_until = now + max(pause, error.retry_after)
            wait = self.down_until - now
            held = [*others, *self._drop(list(self._queues))]
        else:
            held = [*others, *self._drop([one.message.key])]
        self._count -= 1 + len(others)
        with self._giving_back():
            await self._report.failed_for_now(one, wait, error)
            await self._report.not_tried(held, wait)
        return True

    @contextmanager
    def _giving_back(self) -> Generator[None]:
        """While messages go back: what was taken meanwhile may be what is behind them."""
        self.turns += 1
        self._returning += 1
        try:
            yield
        finally:
            self.turns += 1
            self._returning -= 1

    def _drop(self, keys: Sequence[bytes | None]) -> list[Waiting]:
        """What waits of these keys, out of memory."""
        left: list[Waiting] = []
        for key in keys:
            queue = self._queues.get(key)
            if queue is not None:
                left += [one for one, _ in queue]
                queue.clear()  # a worker that has it ends
                if key in self._idle:
                    self._idle.remove(key)
                    del self._queues[key]
        self._count -= len(left)
        return left


def backoff_s(times: int, first_s: float, most_s: float) -> float:
    """How long to wait after so many failures: twice as long each time, with some chance in it."""
    most = min(most_s, first_s * 2.0 ** min(times - 1, 40))
    return most * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, and hides nothing
