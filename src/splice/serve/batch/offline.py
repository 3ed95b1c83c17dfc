"""An offline job: its rows go to the provider in batches, and come back hours later for less.

The same steps are taken until every row is answered: make batches of the rows that are left, look
how those at the provider stand, take in what has ended. A kill between any two of them costs no
row and sends none twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from splice.core.call import Call
from splice.core.errors import RouteError, SettingsError, SpliceError
from splice.engine.engine import Engine
from splice.engine.line import Line
from splice.engine.offline import OfflineRoute
from splice.ports.offline import Standing
from splice.ports.stores import RecordStore
from splice.serve.batch.asking import LocalAsking, Todo
from splice.serve.batch.collecting import Collecting
from splice.serve.batch.files import FileRows
from splice.serve.batch.filling import Filling
from splice.serve.batch.job import Job, Progress
from splice.serve.batch.lines import alone, line_of_error
from splice.serve.batch.plan import Plan, Result
from splice.serve.batch.shards import Shard, Shards
from splice.serve.batch.targets import FileTarget
from splice.serve.batch.work import Work

FIRST_POLL_S, LONGEST_POLL_S = 2.0, 60.0


def check_online(parts: Path) -> None:
    """Passes a job that has no rows at a provider: asked online too, they would be paid twice.

    Raises:
        SettingsError: It has some.
    """
    if Shards(parts).begun:
        raise SettingsError(
            parts.name,
            got="an offline run, with rows at the provider",
            mend=f"go on with --offline, or remove {parts.name} to start afresh",
        )


class OfflineJob(Job):
    """One integration over one file, by its provider's batch endpoint; see `Job` for the rest.

    Args:
        engine: Answers what the provider does not.
        records: The ledger, for rows that an earlier run has answered.
        line: The release that the whole job asks.
        source: File of requests: CSV, JSONL or Parquet.
        target: File of replies, in any of the three.
        concurrency: Rows worked at once.

    Attributes:
        route_of: The route, at the deployment of that name; at any that can where it is empty.
        epoch: Tells the counters of budgets from those of another time; see `Meter.epoch`.
    """

    route_of: Callable[[str], OfflineRoute]
    epoch: str = ""

    def __init__(
        self,
        engine: Engine,
        records: RecordStore,
        line: Line,
        source: FileRows,
        target: FileTarget,
        *,
        concurrency: int,
    ) -> None:
        self._last = _LastAsking(engine, records, line, concurrency=concurrency)
        super().__init__(line, source, target, self._last)
        self._engine = engine
        self._records = records
        self._concurrency = concurrency

    async def work(self, plan: Plan, progress: Progress, *, wait: bool) -> Result:
        """Takes every step that can be taken now; with `wait`, until all rows are answered.

        `pending` of the result are rows that are not.

        Raises:
            SettingsError: The input cannot be read, the target cannot be written, or another
                process works at this job.
            RouteError: The provider could not be asked, or refused a batch as a whole.
            RefusedError: The integration was stopped, or its budget has no room for a single row.
        """
        began = time.monotonic()
        with alone(self.parts):
            shards = Shards(self.parts)
            first = next(iter(shards.load()), None)
            route = self.route_of("" if first is None else first.place)
            work = Work(self._engine, self._records, route, plan, shards, self._concurrency)
            source = self._source.read(plan.begun, None)
            run = _Run(work, Filling(work, source, self.epoch), Collecting(work, self.epoch))
            if not await run.until_done(progress, wait=wait):
                return run.result
            self._last.route = route
            result = await self.answer_all(plan, progress, _Given(shards.lines()).line)
            result.seconds = time.monotonic() - began
            return result

    async def standings(self) -> list[tuple[Shard, Standing | None]]:
        """Every batch, and how it stands where the provider has it. Changes nothing.

        Raises:
            RouteError: The provider could not be asked.
        """
        shards = Shards(self.parts)
        found = shards.load() if shards.begun else []
        if not found:
            return []
        offline = self.route_of(found[0].place).offline
        return [
            (one, await offline.status(one.batch) if one.state == "sent" else None) for one in found
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


class _LastAsking(LocalAsking):
    """What becomes of rows that no batch had."""

    route: OfflineRoute

    async def ask_one(self, one: Todo) -> dict[str, Any]:
        """The line of a row that no batch had: it is no call of this integration."""
        call = Call(one.call_id, self._line.name, one.body, time.time_ns() // 1000, "batch")
        try:
            await self.route.prepare(call)
        except SpliceError as error:
            return line_of_error(one.number, "failed", error)
        raise AssertionError(f"row {one.number} was in no batch")


class _Run:
    """The steps of one run, until none is left to take."""

    def __init__(self, work: Work, filling: Filling, collecting: Collecting) -> None:
        self._work = work
        self._filling = filling
        self._collecting = collecting
        self._refusal: SpliceError | None = None
        self._trouble: SpliceError | None = None

    @property
    def result(self) -> Result:
        """What is known so far."""
        left = self._filling.left
        result = Result(rows=left, pending=left)
        for one in self._work.all:
            tally = one.tally
            result.rows += one.rows
            result.answered += tally.answered
            result.failed += tally.failed
            if one.state != "done":
                result.pending += one.rows
            if tally.cost_nano is None or result.cost_nano is None:
                result.cost_nano = None
            else:
                result.cost_nano += tally.cost_nano
        if self._filling.no_room is not None:
            result.waiting = str(self._filling.no_room)
        return result

    async def until_done(self, progress: Progress, *, wait: bool) -> bool:
        """Whether every row is answered; without `wait` it returns as soon as it would have to."""
        pause = FIRST_POLL_S
        try:
            await self._collecting.hold_again()
            while True:
                moved = await self._step()
                progress(self._share(), self.result)
                if self._is_done:
                    return True
                if moved:
                    pause = FIRST_POLL_S
                    continue
                advancing = any(map(self._work.advances, self._work.all))
                trouble = self._trouble or (None if advancing and wait else self._refusal)
                if trouble is not None and not (wait and trouble.retryable):
                    raise trouble
                if not wait:
                    return False
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_POLL_S)
        finally:
            await self._filling.give_back()

    @property
    def _is_done(self) -> bool:
        return self._filling.read_all and all(one.state == "done" for one in self._work.all)

    async def _step(self) -> bool:
        """Every step that can be taken now; whether there was one."""
        self._trouble = None
        moved = False
        for shard in list(self._work.all):
            if self._work.advances(shard):
                moved |= await self._advance(shard)
        while not self._filling.read_all and self._trouble is None:
            shard = await self._filling.next()
            if shard is None:
                break
            moved |= await self._advance(shard)
        return moved

    async def _advance(self, shard: Shard) -> bool:
        try:
            return await self._collecting.advance(shard)
        except RouteError as error:
            if shard.number in self._work.refused:
                self._refusal = error
            else:
                self._trouble = self._trouble or error
            return False

    def _share(self) -> float:
        """Of the rows that are in shards, those that are answered, here or at the provider."""
        known = self._filling.left + sum(one.rows for one in self._work.all)
        done = 0
        for one in self._work.all:
            standing = self._collecting.standings.get(one.number)
            if one.state == "done":
                done += one.rows
            elif standing is not None:
                done += min(one.rows, standing.answered + standing.failed)
        return done / known if known else 0.0


class _Given:
    """The lines that batches brought, by the number of their row, asked for in order."""

    def __init__(self, lines: Iterator[dict[str, Any]]) -> None:
        self._lines = lines
        self._next = next(lines, None)

    def line(self, row: int) -> dict[str, Any] | None:
        """The line of a row, where there is one."""
        while self._next is not None and self._next["row"] < row:
            self._next = next(self._lines, None)
        found = self._next
        return found if found is not None and found["row"] == row else None
