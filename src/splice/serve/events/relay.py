"""Relay: what applications wrote into an outbox table goes to its targets, in order, none lost.

A row is sent before it is deleted, so a relay that dies in between sends it once more: the id of
the message is that of the row, by which receivers drop it. What cannot be sent now holds up the
rows of its aggregate type, and what never can be those of its aggregate; all others go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from splice.core.errors import BusError, StoreError
from splice.core.events import Message
from splice.ports.buses import Sink
from splice.ports.outboxes import Held, OutboxRow, OutboxTable
from splice.serve.events.outbox_messages import message_of, target_of

log = logging.getLogger("splice.relay")

_T = TypeVar("_T")
_REFUSED_IN_A_ROW = 3  # then it is the target that is wrong, and not the message
_FORGOTTEN_S = 600.0
_MOST_KEYS = 1000  # aggregates of one type that are left out one by one


class RelayPlan(msgspec.Struct, frozen=True):
    """What `[relay.NAME]` says: patterns of targets, see `targets_of`, and how to go about it."""

    name: str
    targets: tuple[str, ...]
    source: str = ""
    batch: int = 500
    poll_s: float = 0.2
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0


class _Hold(msgspec.Struct):
    until: float
    times: int


class Relay:
    """Sends one table.

    Args:
        table: The rows.
        sinks: By scheme, where targets lead.
        plan: What the settings say.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        table: OutboxTable,
        sinks: Mapping[str, Sink],
        plan: RelayPlan,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._sinks = sinks
        self.plan = plan
        self._clock = clock
        self._holds: dict[tuple[str, str | None], _Hold] = {}  # type, and one aggregate or all
        # One thread: a transaction is begun and ended in turn.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="splice-relay")
        self._troubles = 0
        self.sent = self.failed = 0
        self.standby = False
        self.trouble = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Send what comes, until `stop`; then what is being sent is ended first."""
        while not stop.is_set():
            wait = self.plan.poll_s
            try:
                count = await self.step()
                self._went_well()
                if count:
                    continue
            except StoreError as error:
                wait = self._went_wrong(error)
            try:
                async with asyncio.timeout(wait):
                    await stop.wait()
            except TimeoutError:
                pass

    async def drain(self) -> int:
        """Send until nothing is left that can be sent now; gives how many were.

        Raises:
            StoreError: The database is away.
        """
        total = 0
        while count := await self.step():
            total += count
        return total

    async def step(self) -> int:
        """Send one batch; gives how many rows are done. 0 too where another relay has the table.

        Raises:
            StoreError: The database is away, or the table is not as it should be.
        """
        rows = await self._in_thread(self._table.take, self.plan.batch, self._held())
        self.standby = rows is None
        if not rows:
            await self._in_thread(self._table.done, ())
            return 0
        done: list[OutboxRow] = []
        try:
            done = await self._send(rows)
        finally:
            await asyncio.shield(self._in_thread(self._table.done, done))
        self.sent += len(done)
        return len(done)

    async def close(self) -> None:
        """Let go of the table; another relay takes over."""
        await self._in_thread(self._table.close)
        self._thread.shutdown()

    @property
    def held(self) -> list[str]:
        """What waits because it could not be sent: types, or `type/aggregate`."""
        return sorted(kind if key is None else f"{kind}/{key}" for kind, key in self._holds)

    async def _send(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """The rows that every one of their targets took. Types go side by side."""
        by_type: dict[str, list[OutboxRow]] = {}
        for row in rows:
            by_type.setdefault(row.aggregatetype, []).append(row)
        kinds = await asyncio.gather(*(self._send_type(k, some) for k, some in by_type.items()))
        return [row for some in kinds for row in some]

    async def _send_type(self, kind: str, rows: list[OutboxRow]) -> list[OutboxRow]:
        for pattern in self.plan.targets:
            target = target_of(pattern, kind)
            sink = self._sinks[target.partition(":")[0]]
            try:
                await sink.send([message_of(row, target, self.plan.source) for row in rows])
            except BusError as error:
                if error.retryable:
                    self._hold(kind, None, error)
                    return []
                rows = await self._one_by_one(kind, target, sink, rows)
        if rows and self._holds:
            for place in {(kind, None), *((kind, row.aggregateid) for row in rows)}:
                self._holds.pop(place, None)
        return rows

    async def _one_by_one(
        self, kind: str, target: str, sink: Sink, rows: list[OutboxRow]
    ) -> list[OutboxRow]:
        """A batch was refused: finds those that are to blame, and sends the others."""
        done: list[OutboxRow] = []
        refused: set[str] = set()
        in_a_row = 0
        for row in rows:
            if row.aggregateid in refused:
                continue
            message: Message = message_of(row, target, self.plan.source)
            try:
                await sink.send([message])
            except BusError as error:
                in_a_row += 1
                if error.retryable or in_a_row == _REFUSED_IN_A_ROW or len(refused) > _MOST_KEYS:
                    self._hold(kind, None, error)
                    break
                refused.add(row.aggregateid)
                self._hold(kind, row.aggregateid, error, row.id)
            else:
                in_a_row = 0
                done.append(row)
        return done

    def _hold(self, kind: str, key: str | None, error: BusError, row: str = "") -> None:
        hold = self._holds.get((kind, key), _Hold(0.0, 0))
        hold.times += 1
        wait = self._backoff(hold.times)
        hold.until = self._clock() + wait
        self._holds[kind, key] = hold
        self.failed += 1
        what = f"events of {kind!r}" if key is None else f"{kind!r} {key!r} from row {row} on"
        log.warning("relay %s: %s wait %.3g s: %s", self.plan.name, what, wait, error)

    def _held(self) -> Held:
        """What is not due again. A hold that has run out stays until something was sent."""
        now = self._clock()
        for place, hold in list(self._holds.items()):
            if hold.until < now - _FORGOTTEN_S:  # its rows are gone: somebody deleted them
                del self._holds[place]
        waiting = [place for place, hold in self._holds.items() if hold.until > now]
        keys = tuple((kind, key) for kind, key in waiting if key is not None)
        return Held(tuple(kind for kind, key in waiting if key is None), keys)

    def _backoff(self, times: int) -> float:
        most = min(self.plan.max_backoff_s, self.plan.backoff_s * 2.0 ** min(times - 1, 30))
        return most * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, and hides nothing

    def _went_wrong(self, error: StoreError) -> float:
        self._troubles += 1
        if str(error) != self.trouble:
            self.trouble = str(error)
            log.warning("relay %s: %s", self.plan.name, error)
        return self._backoff(self._troubles)

    def _went_well(self) -> None:
        if self.trouble:
            log.warning("relay %s: the outbox is back", self.plan.name)
        self.trouble, self._troubles = "", 0

    async def _in_thread(self, call: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
