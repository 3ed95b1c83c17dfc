"""An offline job: its rows go to the provider in batches, and come back hours later for less.

The same steps are taken again and again until every row is answered: make batches of the rows that
are left, look how those at the provider stand, take in what has ended. Each step is written down
before and after it is taken, so that a kill between any two costs no row and sends none twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from splice.core.call import Call
from splice.core.errors import (
    Overloaded,
    OverBudget,
    ProviderFailed,
    RequestError,
    RouteError,
    SpliceError,
)
from splice.core.units import NANO
from splice.engine.offline import OfflineRoute
from splice.engine.spend import Reservation
from splice.ports.offline import Delivered, Sought, Standing
from splice.serve.batch import job
from splice.serve.batch.files import Row, rows
from splice.serve.batch.job import Job, Plan, Result
from splice.serve.batch.lines import alone, line_of_error, line_of_record
from splice.serve.batch.shards import Entry, Shard, Shards

MOST_ROWS = 10_000
"""Rows of one batch. Vendors take more; so many, with their answers, one process holds in memory."""
MOST_BYTES = 64 << 20
SURE_S = 60.0
"""A batch that was being made when its maker was killed, and that its provider does not list so
long after, was not made."""
FIRST_POLL_S, LONGEST_POLL_S = 2.0, 60.0

_BUSY_S = 0.05

Progress = Callable[[float, Result], None]


class OfflineJob(Job):
    """One integration over one file, by its provider's batch endpoint; see `Job` for the rest.

    Attributes:
        route_of: The route, with the deployment that has the batches of an earlier run.
        epoch: Tells the counters of budgets from those of another time; see `Meter.epoch`.
    """

    route_of: Callable[[str], OfflineRoute]
    epoch: str = ""

    async def work(self, plan: Plan, progress: Progress, *, wait: bool) -> Result:
        """Takes every step that can be taken; with `wait`, until all rows are answered.

        `pending` of the result are rows that are not.

        Raises:
            SettingsError: The input cannot be read, or the target cannot be written, or another
                process works at this job.
            RouteError: The provider could not be asked, or refused a batch as a whole.
            RefusedError: The integration was stopped, or its budget has no room for one row.
        """
        with alone(self.parts):
            run = _Run(self, plan)
            pause = FIRST_POLL_S
            try:
                await run.hold_again()
                while not await run.step():
                    progress(run.share, run.result)
                    if run.trouble is not None and not (wait and run.trouble.retryable):
                        raise run.trouble
                    if not wait:
                        return run.result
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_POLL_S)
            finally:
                self._ending = True
                await run.give_back()
            self._ending = False
            self._route = run.route
            return await self.run(plan, progress, _Given(run.shards.lines()))

    async def standings(self) -> list[tuple[Shard, Standing | None]]:
        """Every batch, and how it stands where the provider has it. Changes nothing.

        Raises:
            RouteError: The provider could not be asked.
        """
        shards = Shards(self.parts)
        if not shards.begun:
            return []
        all_of_them = shards.load()
        route = self.route_of(all_of_them[0].place if all_of_them else "")
        return [
            (one, await route.offline.status(one.batch) if one.state == "sent" else None)
            for one in all_of_them
        ]

    async def cancel(self) -> int:
        """Ends the batches that the provider has, and gives how many. What they answered is kept.

        Raises:
            RouteError: The provider could not be asked.
        """
        ended = 0
        for shard, standing in await self.standings():
            if standing is not None and standing.state == "running" and not standing.cancelled:
                await self.route_of(shard.place).offline.cancel(shard.batch)
                ended += 1
        return ended

    async def _ask_one(self, row: Row, call_id: str) -> dict[str, Any]:
        """The line of a row that no batch had: it is no call of this integration."""
        call = Call(call_id, self._line.name, row.body, time.time_ns() // 1000, "batch")
        try:
            await self._route.prepare(call)
        except SpliceError as error:
            return line_of_error(row.number, "failed", error)
        raise AssertionError(f"row {row.number} was in no batch")

    # For a run, which is of this file.

    def source_rows(self, plan: Plan) -> Iterator[Row]:
        """The rows of the input."""
        where = f"{self._line.name}.input"
        return rows(self._source, self._line.request, where, ignore_extra=plan.ignore_extra)

    async def recorded(self, ids: Sequence[str]) -> dict[str, Any]:
        """Those of the calls that the ledger holds."""
        return await asyncio.to_thread(self._records.get_many, ids)

    async def together(self, works: Sequence[Callable[[], Any]]) -> list[Any]:
        """What each gives, `concurrency` at once. Told to end, those that run end, and no more."""
        gate = asyncio.Semaphore(self._concurrency)

        async def one(work: Callable[[], Any]) -> Any:
            async with gate:
                while not self._ending:
                    if (live := self._engine.lines.get(self._line.name)) is not None:
                        self._line.stopped = live.stopped  # the switch is for every release
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

    async def flush(self) -> None:
        """Return once what was put is in the ledger."""
        await self._engine.recorder.flush()


class _Run:
    """One run of an offline job: the rows it reads, the shard it fills, and all others."""

    def __init__(self, whole: OfflineJob, plan: Plan) -> None:
        self._whole = whole
        self._plan = plan
        self.shards = Shards(whole.parts)
        self._all = self.shards.load()
        self.route = whole.route_of(self._all[0].place if self._all else "")
        begin = self._all[-1].next_row if self._all else 0
        source = whole.source_rows(plan)
        self._rows = (row for row in source if row.number >= begin)
        self._read_all = False
        self._queue: deque[Entry] = deque()  # prepared, and in no shard yet
        self._filling: list[Entry] = []
        self._bytes = 0
        self._held = Reservation()
        self._refused: set[int] = set()  # by the provider, in this run
        self.trouble: SpliceError | None = None
        self.share = 0.0
        self._standings: dict[int, Standing] = {}

    @property
    def result(self) -> Result:
        """What is known so far."""
        result = Result()
        for one in self._all:
            tally = one.tally
            result.answered += tally.answered
            result.failed += tally.failed
            result.rows += one.rows
            if one.state != "done":
                result.pending += one.rows
            if tally.cost_nano is None or result.cost_nano is None:
                result.cost_nano = None
            else:
                result.cost_nano += tally.cost_nano
        left = len(self._queue) + len(self._filling)
        result.rows += left
        result.pending += left
        return result

    async def step(self) -> bool:
        """Every step that can be taken now; whether all rows are answered."""
        self.trouble = None
        before = len(self._all)
        await self._fill()
        for shard in self._all[:before]:  # those that were just made wait for the next time
            await self._advance(shard)
        done = sum(one.rows for one in self._all if one.state == "done")
        running = sum(one.answered + one.failed for one in self._standings.values())
        known = sum(one.rows for one in self._all) + len(self._queue)
        self.share = (done + running) / known if known else 0.0
        return self._read_all and all(one.state == "done" for one in self._all)

    # Rows become shards

    async def _fill(self) -> None:
        """Shards of the rows that are left, as far as budgets have room for them."""
        while not self._read_all:
            while self._queue:
                if not await self._take(self._queue[0]):
                    return
                self._queue.popleft()
            chunk = await asyncio.to_thread(lambda: list(islice(self._rows, job.CHUNK)))
            if chunk:
                self._queue.extend(await self._prepared(chunk))
            else:
                await self._close()
                self._read_all = True

    async def _prepared(self, chunk: Sequence[Row]) -> list[Entry]:
        """Those rows of a chunk that are still to be asked, each with its request."""
        line, now_us = self.route.line, time.time_ns() // 1000
        rows = [row for row in chunk if row.wrong is None]
        ids = [self._plan.call_id(row.number) for row in rows]
        known = await self._whole.recorded(ids)

        def work(row: Row, call_id: str) -> Callable[[], Any]:
            async def prepare() -> Entry | None:
                call = Call(call_id, line.name, row.body, now_us, "batch")
                try:
                    return Entry(row.number, await self.route.prepare(call))
                except RequestError:
                    return None  # the last pass over the rows says what is wrong with it
            return prepare

        works = [work(r, i) for r, i in zip(rows, ids, strict=True) if i not in known]
        return [one for one in await self._whole.together(works) if one is not None]

    async def _take(self, entry: Entry) -> bool:
        """Put a row into the shard that is being filled; False where no budget has room now."""
        size = len(entry.call.sent or b"") + 2
        offline = self.route.offline
        most_rows = min(MOST_ROWS, offline.most_requests)
        most_bytes = min(MOST_BYTES, offline.most_bytes)
        if len(self._filling) >= most_rows or self._bytes + size > most_bytes:
            await self._close()
        try:
            held = await self.route.reserve(entry.call)
        except OverBudget as error:
            await self._close()
            if all(one.state == "done" or one.number in self._refused for one in self._all):
                raise  # nothing will come back that could make room
            self.trouble = None if self.trouble is None else self.trouble
            self._no_room = error
            return False
        if self._filling and (held.slots, held.priced) != (self._held.slots, self._held.priced):
            await self._close()  # another period began: its counters are others
        amount = held.amount_nano + (self._held.amount_nano if self._filling else 0)
        self._held = msgspec.structs.replace(held, amount_nano=amount)
        self._filling.append(entry)
        self._bytes += size
        return True

    async def _close(self) -> None:
        """Make the shard that is being filled, and its batch."""
        if not self._filling:
            return
        shard = Shard(
            number=len(self._all),
            rows=len(self._filling),
            requests=sum(one.call.sent is not None for one in self._filling),
            next_row=self._filling[-1].row + 1,
            place=self.route.place,
            held=self._held,
            epoch=self._whole.epoch,
        )
        self.shards.add(shard, self._filling)
        self._all.append(shard)
        self._filling, self._bytes, self._held = [], 0, Reservation()
        await self._advance(shard)

    async def give_back(self) -> None:
        """Room that was reserved for rows which got into no shard."""
        await self.route.settle(self._held, 0)
        self._held = Reservation()
