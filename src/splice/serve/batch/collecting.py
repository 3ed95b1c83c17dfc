"""Collecting: each shard is sent once, looked after, and taken in when its batch has ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from splice.core.errors import ProviderFailed, RequestError, RouteError
from splice.core.units import NANO
from splice.engine.spend import Reservation
from splice.ports.offline import Delivered, Sought, Standing
from splice.serve.batch import job
from splice.serve.batch.lines import line_of_error, line_of_record
from splice.serve.batch.plan import Result
from splice.serve.batch.shards import Entry, Shard
from splice.serve.batch.work import Work

SURE_S = 60.0
"""A batch that may have been made, and that its provider does not list so long after, was not."""


class Collecting:
    """Brings the shards of one run forward, each step written down before and after it is taken.

    Args:
        work: The run.
        epoch: Of the counters in which room is reserved.
    """

    def __init__(self, work: Work, epoch: str) -> None:
        self._work = work
        self._epoch = epoch
        self.standings: dict[int, Standing] = {}

    async def hold_again(self) -> None:
        """Reserve again for rows at the provider where the counters forgot what they held.

        So it is in another process with a meter in memory, and with a Redis that came back empty.
        What the ledger holds is counted already.
        """
        for shard in self._work.all:
            if shard.state == "done" or not shard.held or shard.epoch == self._epoch:
                continue
            entries = self._work.shards.entries(shard)
            known = await self._work.recorded([one.call.call_id for one in entries])
            shard.counted_nano = sum(record.cost_nano or 0 for record in known.values())
            amount = sum(e.call.reserved_nano for e in entries if e.call.call_id not in known)
            nothing = msgspec.structs.replace(shard.held, amount_nano=0)
            shard.held = msgspec.structs.replace(shard.held, amount_nano=amount)
            shard.epoch = self._epoch
            await self._work.route.settle(nothing, amount)
            self._work.shards.save(shard)

    async def advance(self, shard: Shard) -> bool:
        """Takes the next step of a shard; whether there was one to take.

        Raises:
            RouteError: The provider could not be asked, or refused the batch as a whole.
            RefusedError: The calls may not run now.
        """
        if shard.state == "ready":
            if shard.requests:
                await self._send(shard)
            else:
                await self._take_in(shard, Standing("ended"))
            return True
        if shard.state == "trying":
            return await self._look_for(shard)
        standing = await self._work.route.offline.status(shard.batch)
        self.standings[shard.number] = standing
        if standing.state == "running":
            return False
        if standing.state == "refused":
            await self._refuse(shard, standing)
        await self._take_in(shard, standing)
        return True

    async def _send(self, shard: Shard) -> None:
        work = self._work
        entries = work.shards.entries(shard)
        requests = [bytes(one.call.sent) for one in entries if one.call.sent is not UNSET]
        if shard.attempt and not shard.held:  # given back when the last one was refused
            shard.held = await work.route.reserve_all([one.call for one in entries])
            shard.epoch = self._epoch
        shard.attempt += 1
        shard.began_us = time.time_ns() // 1000
        shard.state = "trying"
        work.shards.save(shard)
        try:
            shard.batch = await work.route.offline.submit(self._marker(shard), requests)
        except RouteError as error:
            if error.cost_nano is not None:  # it was surely not made
                shard.state = "ready"
                work.shards.save(shard)
            raise
        shard.state = "sent"
        work.shards.save(shard)

    async def _look_for(self, shard: Shard) -> bool:
        """A batch that may have been made by a run that never heard of it."""
        now_us = time.time_ns() // 1000
        shard.began_us = min(shard.began_us, now_us)  # a clock that was set back
        others = frozenset(one.batch for one in self._work.all if one.batch)
        first = next(
            e.call.call_id for e in self._work.shards.entries(shard) if e.call.sent is not UNSET
        )
        found = await self._work.route.offline.find(
            Sought(self._marker(shard), shard.began_us / 1e6, first, shard.requests, others)
        )
        if found.id:
            shard.state, shard.batch = "sent", found.id
        elif found.sure and now_us - shard.began_us > SURE_S * 1e6:
            shard.state = "ready"
        else:
            return False
        self._work.shards.save(shard)
        return True

    async def _refuse(self, shard: Shard, standing: Standing) -> None:
        held, shard.held = shard.held, Reservation()
        shard.state, shard.batch = "ready", ""
        self._work.shards.save(shard)
        await self._work.route.settle(held, 0)
        self._work.refused.add(shard.number)
        error = ProviderFailed(
            f"{shard.place}.batches",
            got=f"a batch of {shard.requests} requests that was refused as a whole: "
            f"{standing.why or 'without a reason'}",
            mend="nothing of it was run; the same command sends it anew",
        )
        error.retryable = False
        raise error

    async def _take_in(self, shard: Shard, standing: Standing) -> None:
        """The results of an ended batch become calls, then lines."""
        work = self._work
        came: dict[str, Delivered] = {}
        entries = work.shards.entries(shard)
        if shard.requests:
            async for one in work.route.offline.results(shard.batch, work.route.model):
                came.setdefault(one.id, one)
        tally, spent = Result(), -shard.counted_nano
        for number, start in enumerate(range(0, len(entries), job.CHUNK)):
            chunk = entries[start : start + job.CHUNK]
            lines = work.shards.finished(shard, number)
            if lines is None:
                lines = await self._finish(shard, standing, chunk, came)
                work.shards.finish(shard, number, lines)
            for entry, line in zip(chunk, lines, strict=True):
                tally.count(line)
                cost = line.get("cost")
                spent += entry.call.reserved_nano if cost is None else round(cost * NANO)
        held, shard.held = shard.held, Reservation()
        shard.state, shard.tally = "done", tally
        # Written first: a kill in between leaves too much counted, never too little.
        work.shards.save(shard)
        await work.route.settle(held, max(0, spent))

    async def _finish(
        self, shard: Shard, standing: Standing, chunk: Sequence[Entry], came: dict[str, Delivered]
    ) -> list[dict[str, Any]]:
        """The lines of some rows, whose calls are in the ledger."""
        work = self._work
        known = await work.recorded([one.call.call_id for one in chunk])
        note = shard.held.note

        def finishing(entry: Entry) -> Callable[[], Awaitable[dict[str, Any]]]:
            call_id = entry.call.call_id
            one = came.get(call_id) or _missing(shard, standing, call_id)

            async def finish() -> dict[str, Any]:
                if (record := known.get(call_id)) is not None:
                    return line_of_record(entry.row, record)
                try:
                    answered = await work.route.finish(entry.call, one, note)
                except RequestError as error:
                    return line_of_error(entry.row, "failed", error)
                return line_of_record(entry.row, answered.record)

            return finish

        lines = await work.together([finishing(entry) for entry in chunk])
        await work.flush()
        return lines

    def _marker(self, shard: Shard) -> str:
        return f"{self._work.plan.name[:32]}-{shard.number}-{shard.attempt}"


def _missing(shard: Shard, standing: Standing, call_id: str) -> Delivered:
    error = ProviderFailed(
        f"{shard.place}.batches",
        got=f"no result in batch {shard.batch} ({standing.why or 'which has ended'})",
    )
    return Delivered(call_id, None, error, standing.cancelled)
