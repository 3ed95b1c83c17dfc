"""What is in doubt is brought to its end, also where nothing is left to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from consumer_house import MemorySource, MemoryStream

from splice.core.errors import BusError
from splice.core.events import Message, Partition
from splice.ports.buses import Positions
from splice.serve.events.moving import Mover
from splice.serve.events.progress import Progress

PLACE: Partition = ("kafka:orders", 0)


class InDoubt:
    """An exchange that nobody hears of, once."""

    def __init__(self) -> None:
        self.asked: list[Positions] = []
        self.heard = asyncio.Event()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def exchange(self, messages: Sequence[Message], positions: Positions) -> None:
        self.asked.append(dict(positions))
        if len(self.asked) == 1:
            error = BusError("kafka", got="no answer")
            error.retryable = True
            raise error
        self.heard.set()


async def test_an_exchange_in_doubt_ends_although_its_partition_was_taken_away() -> None:
    progress, exchange = Progress(), InDoubt()
    mover = Mover(MemorySource(MemoryStream()), progress, exchange)
    progress.begin(PLACE, [0, 1])
    progress.done(PLACE, [0, 1])
    mover.start()

    mover.wake()
    while not mover.trouble:
        await asyncio.sleep(0)
    progress.forget([PLACE])
    mover.forget([PLACE])
    async with asyncio.timeout(20):
        await exchange.heard.wait()
    while mover.trouble:
        await asyncio.sleep(0)
    mover.wake()
    await asyncio.sleep(0.05)
    await mover.stop()

    assert exchange.asked == [{PLACE: 2}, {}]  # and with nothing in doubt it is not asked
