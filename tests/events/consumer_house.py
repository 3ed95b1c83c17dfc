"""A consumer over a real ledger and a stream in memory that a test can break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import splice
from splice.app.application import App
from splice.app.settings import Settings
from splice.core.errors import BusError
from splice.core.events import Event, Headers, Message, Origin, Partition
from splice.ports.buses import Assigned, Exchange, Positions, Revoked
from splice.serve.events.consumer import Consumer
from splice.serve.events.envelope import Envelopes
from splice.serve.events.replies import Replies
from splice.serve.events.terms import Kit, Terms

STREAM = "kafka:orders"


class MemoryStream:
    """A topic: partitions of events, and the positions that a group has committed."""

    def __init__(self, partitions: int = 1) -> None:
        self.events: list[list[Event]] = [[] for _ in range(partitions)]
        self.committed: dict[Partition, int] = {}

    def put(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int = 0,
    ) -> Origin:
        """One more event at the end."""
        events = self.events[partition]
        origin = Origin(STREAM, partition, len(events))
        events.append(Event(origin, key, value, headers, 1_700_000_000_000_000))
        return origin


class MemorySource:
    """A member of a group that reads all partitions of a stream, or those it is told."""

    stream = STREAM

    def __init__(self, stream: MemoryStream, partitions: Sequence[int] | None = None) -> None:
        self.topic = stream
        chosen = range(len(stream.events)) if partitions is None else partitions
        self.partitions: list[Partition] = [(STREAM, one) for one in chosen]
        self.paused: set[Partition] = set()
        self.pauses: list[Partition] = []
        self.read: dict[Partition, int] = {}
        self.commits: list[dict[Partition, int]] = []
        self.broken: BusError | None = None
        self.closed = False
        self.started = asyncio.Event()

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        self.assigned, self.revoked = assigned, revoked
        await assigned(self.partitions)
        for partition in self.partitions:
            self.read[partition] = self.topic.committed.get(partition, 0)
        self.started.set()

    async def poll(self, limit: int, seconds: float, *, ahead: int = 0) -> Sequence[Event]:
        if self.broken is not None:
            raise self.broken
        out: list[Event] = []
        for partition in self.partitions:
            if partition in self.paused:
                continue
            events = self.topic.events[partition[1]]
            at = self.read[partition]
            some = events[at : at + limit - len(out)]
            self.read[partition] = at + len(some)
            out += some
        if not out:
            await asyncio.sleep(min(seconds, 0.01))
        return out

    def pause(self, partitions: Sequence[Partition]) -> None:
        self.paused |= set(partitions)
        self.pauses += partitions

    def resume(self, partitions: Sequence[Partition]) -> None:
        self.paused -= set(partitions)

    async def commit(self, positions: Positions) -> None:
        self.commits.append(dict(positions))
        self.topic.committed.update(positions)

    async def finished(self, events: Sequence[Event]) -> None:
        pass

    async def postpone(self, event: Event, due_us: int) -> bool:
        return False

    async def release(self, events: Sequence[Event]) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    async def take_away(self, partitions: Sequence[Partition], *, lost: bool = False) -> Positions:
        """What a rebalance does."""
        positions = await self.revoked(partitions, lost)
        self.topic.committed.update(positions)
        self.partitions = [one for one in self.partitions if one not in partitions]
        self.paused -= set(partitions)
        return positions

    async def give(self, partitions: Sequence[Partition]) -> None:
        """What the next rebalance does."""
        await self.assigned(partitions)
        for partition in partitions:
            self.read[partition] = self.topic.committed.get(partition, 0)
        self.partitions += partitions


class MemoryExchange:
    """Messages and positions in one step, which may be told to fail."""

    def __init__(self, stream: MemoryStream) -> None:
        self.topic = stream
        self.messages: list[Message] = []
        self.failures: list[BusError] = []

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def exchange(self, messages: Sequence[Message], positions: Positions) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.messages += messages
        self.topic.committed.update(positions)


class Running:
    """A consumer that runs, and what it runs on."""

    def __init__(self, app: App, consumer: Consumer, source: MemorySource) -> None:
        self.app, self.consumer, self.source = app, consumer, source
        self.stores = app.services.stores
        self.task = asyncio.create_task(consumer.run())

    async def until_committed(self, positions: dict[int, int]) -> None:
        """Wait until the group is so far."""
        wanted = {(STREAM, partition): offset for partition, offset in positions.items()}
        while any(self.source.topic.committed.get(p, 0) < o for p, o in wanted.items()):
            if self.task.done():
                self.task.result()
                raise AssertionError("the consumer ended")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Let it end."""
        self.consumer.stop()
        await self.task


@contextlib.asynccontextmanager
async def consuming(
    folder: Path,
    integration: type[splice.Integration],
    source: MemorySource,
    *,
    exchange: Exchange | None = None,
    targets: Sequence[str] = (),
    **terms: object,
) -> AsyncIterator[Running]:
    """A consumer of an integration, in the background, until the block ends."""
    async with App(integration, settings=Settings(root=str(folder))) as app:
        name = next(iter(app.engine.lines))
        stores = app.services.stores
        kit = Kit(
            app.engine, stores.events, stores.records, Envelopes(), Replies(name, targets),
            app.new_ids, lambda: None, exchange,
        )  # fmt: skip
        values = {"backoff_s": 0.02, "max_backoff_s": 0.1, "drain_s": 5.0} | terms
        consumer = Consumer(Terms(name, f"splice-{name}", **values), kit, source)  # type: ignore[arg-type]
        running = Running(app, consumer, source)
        await asyncio.wait(
            [running.task, asyncio.create_task(source.started.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        try:
            yield running
        finally:
            consumer.stop()
            await asyncio.gather(running.task, return_exceptions=True)
