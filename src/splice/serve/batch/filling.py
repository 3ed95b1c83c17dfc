"""Filling: rows of the input become shards, as far as budgets have room for them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice

import msgspec
from msgspec import UNSET

from splice.core.call import Call
from splice.core.errors import OverBudget, RequestError
from splice.engine.spend import Reservation
from splice.serve.batch import job
from splice.serve.batch.rows import Row
from splice.serve.batch.shards import Entry, Shard
from splice.serve.batch.work import Work

MOST_ROWS = 10_000
"""Rows of one batch. Vendors take more; so many, with their answers, a process holds in memory."""
MOST_BYTES = 64 << 20
"""Of the requests of one batch."""


class Filling:
    """Makes the shards of one run.

    Args:
        work: The run.
        source: The rows of the input; those that earlier runs put into shards are passed over.
        epoch: Of the counters in which room is reserved.
    """

    def __init__(self, work: Work, source: Iterator[Row], epoch: str) -> None:
        begin = work.all[-1].next_row if work.all else 0
        self._work = work
        self._rows = (row for row in source if row.number >= begin)
        self._epoch = epoch
        self._queue: deque[Entry] = deque()  # prepared, and in no shard
        self._open: list[Entry] = []
        self._bytes = 0
        self._held = Reservation()
        self.read_all = False
        self.no_room: OverBudget | None = None

    @property
    def left(self) -> int:
        """Rows that were read and are in no shard."""
        return len(self._queue) + len(self._open)

    async def next(self) -> Shard | None:
        """One more shard; None where no row is left, or no room for one (`no_room` says so).

        Raises:
            OverBudget: No room, and nothing is under way that could give some back.
            RefusedError: The calls may not run now.
        """
        self.no_room = None
        while True:
            while self._queue:
                entry = self._queue[0]
                if self._is_full(entry):
                    return self._close()
                try:
                    held = await self._work.route.reserve(entry.call)
                except OverBudget as error:
                    if self._open:
                        return self._close()
                    if not any(map(self._work.advances, self._work.all)):
                        raise
                    self.no_room = error
                    return None
                if self._open and not _alike(held, self._held):
                    # Another period began, and its counters are others.
                    await self._work.route.settle(held, 0)
                    return self._close()
                self._queue.popleft()
                amount = held.amount_nano + self._held.amount_nano
                self._held = msgspec.structs.replace(held, amount_nano=amount)
                self._open.append(entry)
                self._bytes += _size(entry)
            chunk = await asyncio.to_thread(lambda: list(islice(self._rows, job.CHUNK)))
            if not chunk:
                self.read_all = True
                return self._close() if self._open else None
            self._queue.extend(await self._prepared(chunk))

    async def give_back(self) -> None:
        """What was reserved for rows that got into no shard."""
        held, self._held = self._held, Reservation()
        await self._work.route.settle(held, 0)

    def _is_full(self, entry: Entry) -> bool:
        offline = self._work.route.offline
        most = min(MOST_BYTES, offline.most_bytes)
        return len(self._open) >= min(MOST_ROWS, offline.most_requests) or (
            bool(self._open) and self._bytes + _size(entry) > most
        )

    def _close(self) -> Shard:
        shard = Shard(
            number=len(self._work.all),
            rows=len(self._open),
            requests=sum(one.call.sent is not UNSET for one in self._open),
            next_row=self._open[-1].row + 1,
            place=self._work.route.place,
            held=self._held,
            epoch=self._epoch,
        )
        self._work.shards.add(shard, self._open)
        self._work.all.append(shard)
        self._open, self._bytes, self._held = [], 0, Reservation()
        return shard

    async def _prepared(self, chunk: Sequence[Row]) -> list[Entry]:
        """Those rows of a chunk that are still to be asked, each with its request."""
        work, now_us = self._work, time.time_ns() // 1000
        rows = [row for row in chunk if row.wrong is None]
        known = await work.recorded([work.plan.call_id(row.number) for row in rows])

        def preparing(row: Row) -> Callable[[], Awaitable[Entry | None]]:
            call_id = work.plan.call_id(row.number)
            call = Call(call_id, work.plan.integration, row.body, now_us, "batch")

            async def prepare() -> Entry | None:
                try:
                    return Entry(row.number, await work.route.prepare(call))
                except RequestError:
                    return None  # the last pass over the rows says what is wrong with it

            return prepare

        asked = [row for row in rows if work.plan.call_id(row.number) not in known]
        found = await work.together([preparing(row) for row in asked])
        return [one for one in found if one is not None]


def _alike(one: Reservation, other: Reservation) -> bool:
    return (one.slots, one.priced) == (other.slots, other.priced)


def _size(entry: Entry) -> int:
    return 0 if entry.call.sent is UNSET else len(entry.call.sent) + 2
