"""A member of a consumer group, for tests of rebalances; run as a program it can be killed.

As a program it copies one topic to another by exchanges, batch by batch, and says on its standard
output what it does, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from splice.adapters.buses.kafka import KafkaBus
from splice.adapters.buses.kafka_source import KafkaSource
from splice.core.errors import BusError
from splice.core.events import Event, Message, Partition

PATIENCE_S = 60
QUICK = {
    "session.timeout.ms": 3000,
    "heartbeat.interval.ms": 300,
    "topic.metadata.propagation.max.ms": 500,
}


class Member:
    """Reads, and has done each event as soon as it has it."""

    def __init__(self, source: KafkaSource, *, pace_s: float = 0.0) -> None:
        self.source, self.pace_s = source, pace_s
        self.came: list[Event] = []
        self.ours: set[Partition] = set()
        self.done: dict[Partition, int] = {}
        self.lost: list[Partition] = []
        self.turn = 0  # grows as partitions go
        self.strays: list[Event] = []  # came while their partition was not ours
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.source.start(self._assigned, self._revoked)
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for event in await self.source.poll(20, 0.2):
                place = event.origin.stream, event.origin.partition
                if place not in self.ours:
                    self.strays.append(event)
                self.came.append(event)
                self.done[place] = event.origin.offset + 1
            await asyncio.sleep(self.pace_s)

    async def _assigned(self, partitions: Sequence[Partition]) -> None:
        self.ours.update(partitions)

    async def _revoked(self, partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        self.ours.difference_update(partitions)
        self.turn += 1
        if lost:
            self.lost += partitions
        return {place: at for place in partitions if (at := self.done.pop(place, None))}

    async def stop(self) -> None:
        """Leave as a consumer does: say how far it is, then go."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(BusError):  # a rebalance may be on its way
            await self.source.commit(self.done)
        await self.source.close()


async def until(true: Callable[[], Any], what: str = "it") -> None:
    """Wait for it."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true") from None


async def copy_batch(source: KafkaSource, exchange: Any, target: str, limit: int) -> list[Event]:
    """Read some, and exchange them for copies."""
    events = list(await source.poll(limit, 0.2))
    if events:
        messages = [Message(str(e.origin), target, e.key, e.value) for e in events]
        positions = {(e.origin.stream, e.origin.partition): e.origin.offset + 1 for e in events}
        await exchange.exchange(messages, positions)
    return events


async def main(servers: str, come: str, go: str, group: str, identity: str) -> None:
    """Copy until killed; at a line on standard input, one more exchange of what it holds."""
    bus = KafkaBus(servers, QUICK)
    source = bus.source([come], group)
    exchange = bus.exchange(source, identity)
    say(said="begun")
    await exchange.start()

    async def assigned(partitions: Sequence[Partition]) -> None:
        say(said="assigned", partitions=[number for _, number in partitions])

    async def revoked(partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        return {}

    await source.start(assigned, revoked)
    while True:
        if events := await copy_batch(source, exchange, f"kafka:{go}", 7):
            say(said="copied", count=len(events))


async def hold(servers: str, come: str, go: str, group: str, identity: str) -> None:
    """Read a batch, hold it until a line comes on standard input, and exchange it then."""
    bus = KafkaBus(servers, QUICK)
    source = bus.source([come], group)
    exchange = bus.exchange(source, identity)
    await exchange.start()

    async def assigned(partitions: Sequence[Partition]) -> None:
        """Nothing to do."""

    async def revoked(partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        say(said="revoked", lost=lost)
        return {}

    await source.start(assigned, revoked)
    events: list[Event] = []
    while not events:
        events = list(await source.poll(5, 0.2))
    say(said="holds", count=len(events))
    await asyncio.to_thread(sys.stdin.readline)
    messages = [Message(str(e.origin), f"kafka:{go}", e.key, b"zombie") for e in events]
    positions = {(e.origin.stream, e.origin.partition): e.origin.offset + 1 for e in events}
    try:
        await exchange.exchange(messages, positions)
        say(said="exchanged")
    except BusError as error:
        say(said="refused", code=error.code, retryable=error.retryable, text=str(error))
    await exchange.close()
    await source.close()


def say(**what: Any) -> None:
    """One line for the test."""
    print(json.dumps(what), flush=True)


class Child:
    """The program, in a process of its own."""

    def __init__(self, role: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, role, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def next(self, said: str) -> dict[str, Any]:
        """What it says next of this kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if found["said"] == said:
                return found
        raise AssertionError(f"it ended without saying {said}")

    def tell(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


def new_group() -> str:
    """A group, or a transactional id, that nobody else has."""
    return f"splice-test-{uuid.uuid4().hex}"


if __name__ == "__main__":
    asyncio.run({"copy": main, "hold": hold}[sys.argv[1]](*sys.argv[2:]))
