"""Mover: what is settled moves the position of its partition.

Where decisions and positions are one transaction of the bus, a decision is sent with the position
that passes its event, and never before: one that was sent ahead of its turn would be sent again
after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain

from splice.core.errors import BusError
from splice.core.events import Event, Message, Partition
from splice.ports.buses import Exchange, Source
from splice.serve.events.lanes import Taken
from splice.serve.events.progress import Progress

log = logging.getLogger("splice.events")

_AGAIN_S = 0.2
_LONGEST_S = 5.0


class Mover:
    """Tells the bus how far we are.

    Args:
        source: Takes positions.
        progress: Knows them.
        exchange: Takes them with the messages; None where messages go by the outbox.
    """

    def __init__(self, source: Source, progress: Progress, exchange: Exchange | None) -> None:
        self._source, self._progress, self._exchange = source, progress, exchange
        self._held: dict[Partition, dict[int, Sequence[Message]]] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.trouble = ""

    def start(self) -> asyncio.Task[None]:
        """Begin; the task ends only where another process has taken over."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def stop(self) -> None:
        """Stop; what was not told comes again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hold(self, taken: Sequence[Taken], messages: Sequence[Sequence[Message]]) -> None:
        """These go with the position that passes their event: some, or none, for each."""
        place: Partition | None = None
        held: dict[int, Sequence[Message]] = {}
        for one, some in zip(taken, messages, strict=True):
            if not some:
                continue
            if one.partition is not place:
                place = one.partition
                held = self._held.setdefault(place, {})
            held[one.event.origin.offset] = some

    def drop(self, event: Event) -> None:
        """Another has answered it: what we would have sent is not sent."""
        held = self._held.get((event.origin.stream, event.origin.partition))
        if held is not None:
            held.pop(event.origin.offset, None)

    def forget(self, partitions: Sequence[Partition]) -> None:
        """Their next reader sends what is still held."""
        for partition in partitions:
            self._held.pop(partition, None)

    def wake(self) -> None:
        """Something was settled."""
        self._some.set()

    async def move(self) -> None:
        """Tell how far we are, once.

        Raises:
            BusError: It was not taken; `retryable` where it may be tried again.
        """
        async with self._turn:
            positions = self._progress.moved()
            if not positions:
                if self.trouble and self._exchange is not None:
                    # They were taken away, and who has them next waits until it is known whether
                    # the last transaction was committed.
                    await self._exchange.exchange((), {})
                return
            if self._exchange is None:
                await self._source.commit(positions)
            else:
                await self._exchange.exchange(self._due(positions), positions)
                for partition, position in positions.items():
                    self._sent(partition, position)
            self._progress.told(positions)

    def _due(self, positions: dict[Partition, int]) -> list[Message]:
        messages: list[Message] = []
        for partition, position in positions.items():
            if held := self._held.get(partition):
                offsets = sorted(held)
                del offsets[bisect_left(offsets, position) :]
                messages += chain.from_iterable([held[offset] for offset in offsets])
        return messages

    def _sent(self, partition: Partition, position: int) -> None:
        if held := self._held.get(partition):
            self._held[partition] = {
                offset: some for offset, some in held.items() if offset >= position
            }

    async def _run(self) -> None:
        wait_s = _AGAIN_S
        while True:
            await self._some.wait()
            self._some.clear()
            try:
                await self.move()
            except BusError as error:
                if not error.retryable:
                    raise
                if not self.trouble:
                    log.warning("positions cannot be told, and wait: %s", error)
                self.trouble = str(error)
                self._some.set()
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_S)
            else:
                self.trouble, wait_s = "", _AGAIN_S
