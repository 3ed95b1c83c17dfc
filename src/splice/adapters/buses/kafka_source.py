"""A stream on Kafka, read as a member of a consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer

from splice.adapters.buses.kafka_reader import Plan, Reader
from splice.core.errors import BusError
from splice.core.events import Event, Partition
from splice.ports.buses import Assigned, Positions, Revoked

_TOLD_S = 60.0  # the client itself gives up after the time of a session: 45 s


class KafkaSource:
    """A Source on Kafka.

    After a BusError of `poll` that is not retryable it must be closed. `revoked` is not called by
    `close`: whoever closes has told what there was to tell.

    Args:
        make: Makes a consumer, given callbacks by librdkafka's names.
        plan: What to read, and how.
    """

    def __init__(self, make: Callable[[dict[str, Any]], Consumer], plan: Plan) -> None:
        self._make, self._plan = make, plan
        self._reader: Reader | None = None
        self._arrived = asyncio.Event()
        self._telling = asyncio.Lock()
        self.stream, self.group = plan.stream, plan.group

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """Join the group."""
        loop = asyncio.get_running_loop()
        reader = Reader(self._make, self._plan, loop, assigned, revoked, self._arrived.set)
        await reader.open()
        self._reader = reader

    async def poll(self, limit: int, seconds: float, *, ahead: int = 0) -> Sequence[Event]:
        """The next events, which are read ahead in any case."""
        reader = self._started()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            self._arrived.clear()
            if events := reader.buffer.take(limit):
                return events
            if error := reader.failed or reader.trouble():
                raise error
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                return ()

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Hold these back."""
        if self._reader is not None:
            self._reader.buffer.pause(self._reader.ours.intersection(partitions))

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Go on with them."""
        if self._reader is not None:
            self._reader.buffer.resume(partitions)
            self._arrived.set()

    async def commit(self, positions: Positions) -> None:
        """Commit, durably."""
        if not positions:
            return
        async with self._telling:
            try:
                async with asyncio.timeout(_TOLD_S):
                    await self._started().tell(dict(positions))
            except TimeoutError:
                raise BusError(
                    self.stream, got=f"no answer to a commit in {_TOLD_S:.0f} s",
                    mend="see whether the broker is well",
                ) from None  # fmt: skip

    def membership(self, positions: Positions) -> Any:
        """What a transaction needs to tell these positions in the name of this member."""
        return self._started().membership(positions)

    async def finished(self, events: Sequence[Event]) -> None:
        """Kafka has no leases: positions say it."""

    async def postpone(self, event: Event, due_us: int) -> bool:
        """Kafka cannot: whoever reads must hold it, and pause its partition."""
        return False

    async def release(self, events: Sequence[Event]) -> None:
        """Kafka has no leases: what is not committed comes again."""

    async def close(self) -> None:
        """Leave the group."""
        if self._reader is not None:
            await self._reader.close()

    def _started(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("start() it first")
        return self._reader
