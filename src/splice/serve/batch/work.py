"""Work: what the two halves of an offline job share: route, shards, and rows worked together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from splice.core.call import Record
from splice.core.errors import Overloaded
from splice.engine.engine import Engine
from splice.engine.offline import OfflineRoute
from splice.ports.stores import RecordStore
from splice.serve.batch.plan import Plan
from splice.serve.batch.shards import Shard, Shards

T = TypeVar("T")

_BUSY_S = 0.05


class Work:
    """One run of an offline job.

    Args:
        engine: Runs the calls.
        records: The ledger, for rows that an earlier run has answered.
        route: What is asked.
        plan: What the job does.
        shards: Its batches.
        concurrency: Rows worked at once.
    """

    def __init__(
        self,
        engine: Engine,
        records: RecordStore,
        route: OfflineRoute,
        plan: Plan,
        shards: Shards,
        concurrency: int,
    ) -> None:
        self._engine = engine
        self._records = records
        self._concurrency = concurrency
        self._ending = False
        self.route = route
        self.plan = plan
        self.shards = shards
        self.all = shards.load()
        self.refused: set[int] = set()
        """Numbers of shards whose batches the provider refused as a whole in this run."""

    def advances(self, shard: Shard) -> bool:
        """Whether something may still become of a shard in this run."""
        return shard.state != "done" and shard.number not in self.refused

    async def recorded(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """Those of the calls that the ledger holds."""
        return await asyncio.to_thread(self._records.get_many, call_ids)

    async def flush(self) -> None:
        """Return once what was put is in the ledger."""
        await self._engine.recorder.flush()

    async def together(self, works: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """What each gives, in their order, some at once.

        A run that is told to end begins none, and lets those end that are under way: cut short,
        they would be paid and not recorded.
        """
        gate = asyncio.Semaphore(self._concurrency)

        async def one(work: Callable[[], Awaitable[T]]) -> T:
            async with gate:
                while not self._ending:
                    line = self.route.line
                    if (live := self._engine.lines.get(line.name)) is not None:
                        line.stopped = live.stopped  # the switch is for every release
                        line.ended = live.ended
                    try:
                        return await work()
                    except Overloaded:  # a batch has time: let the ledger catch up
                        await asyncio.sleep(_BUSY_S)
            raise asyncio.CancelledError

        try:
            return await asyncio.shield(asyncio.gather(*map(one, works)))
        except BaseException:
            self._ending = True
            raise
