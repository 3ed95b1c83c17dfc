"""Sender: takes what is due in the outbox to where it goes, and lets no target hold up another.

Each target has a lane of its own. Of one target and key the messages go in their order, one after
the other; a lane that fails waits, twice as long each time, and what it held goes back to the store
meanwhile. A message that can never be delivered is given up: it stays to be seen and sent again.

At least once: a message that was delivered by a process that died before it said so is sent again,
with the same id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from splice.core.errors import BusError, StoreError
from splice.ports.buses import Sink
from splice.ports.events import OutboxStore, Waiting
from splice.serve.events.target_lane import Lane, backoff_s

log = logging.getLogger("splice.sender")

TOGETHER = frozenset({"kafka", "queue", "table"})
"""Schemes whose sinks take many messages at once, of all keys. They are waited for without end;
of a webhook a message is given up after `SenderPlan.attempts`."""


class SenderPlan(msgspec.Struct, frozen=True):
    """What `[outbox]` says."""

    batch: int = 500  # messages that are taken at once
    keys: int = 8  # of one webhook at once
    lane: int = 1000  # messages of one target in memory
    attempts: int = 300
    backoff_s: float = 5.0
    max_backoff_s: float = 900.0
    lease_s: float = 90.0
    send_s: float = 45.0  # no sink takes longer for one message
    poll_s: float = 1.0


class Sender:
    """Delivers the outbox of one ledger; several processes may.

    Args:
        store: The outbox.
        sinks: By scheme.
        plan: What the settings say.
        holder: Names this process.
    """

    def __init__(
        self,
        store: OutboxStore,
        sinks: Mapping[str, Sink],
        plan: SenderPlan,
        holder: str,
    ) -> None:
        self._store = store
        self._sinks = sinks
        self._plan = plan
        self._holder = holder
        self._lanes: dict[str, Lane] = {}
        self._woken = asyncio.Event()
        self._delivered: list[int] = []  # not yet said to the store
        self._saying: asyncio.Task[None] | None = None
        self._troubles = 0
        self.trouble = ""
        self.delivered = self.failed = self.given_up = 0

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._woken.set()

    @property
    def waiting_targets(self) -> list[str]:
        """Targets that failed, and are not tried now."""
        now = time.monotonic()
        return sorted(lane.target for lane in self._lanes.values() if lane.down_until > now)

    async def run(self, stop: asyncio.Event, drain_s: float = 10.0) -> None:
        """Send until `stop`; what is being sent then has `drain_s` to end."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._woken.clear()
                taken = await self._take()
                if not taken:
                    await self._idle(stopping)
        finally:
            stopping.cancel()
            await self._wind_up(drain_s)

    async def _idle(self, stopping: asyncio.Task[bool]) -> None:
        woken = asyncio.create_task(self._woken.wait())
        wait = self._plan.poll_s
        if self._troubles:
            wait = backoff_s(self._troubles, 1.0, 30.0)
        await asyncio.wait({woken, stopping}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    async def _take(self) -> int:
        """Take what is due and has room; gives how many."""
        now = time.monotonic()
        busy = [lane.target for lane in self._lanes.values() if not lane.has_room(now)]
        turns = {lane.target: lane.turns for lane in self._lanes.values()}
        until = now + self._plan.lease_s
        try:
            taken = await asyncio.to_thread(
                self._store.take_outbox, tuple(self._sinks), self._plan.batch, self._holder,
                now_us=_now_us(), lease_us=int(self._plan.lease_s * 1e6), without=busy,
            )  # fmt: skip
        except StoreError as error:
            self._went_wrong(error)
            return 0
        if self.trouble:
            log.warning("sender: the ledger is back")
        self.trouble, self._troubles = "", 0
        by_target: dict[str, list[Waiting]] = {}
        for one in taken:
            by_target.setdefault(one.message.target, []).append(one)
        for target, some in by_target.items():
            lane = self._lane(target)
            if lane.turns != turns.get(target, 0):  # those before them went back meanwhile
                await self.not_tried(some, lane.down_until - time.monotonic())
            else:
                lane.add(some, until)
        for target, lane in list(self._lanes.items()):
            if lane.idle and lane.down_until <= now and not lane.fails:
                del self._lanes[target]
        return len(taken)

    def _lane(self, target: str) -> Lane:
        lane = self._lanes.get(target)
        if lane is None:
            scheme = target.partition(":")[0]
            lane = self._lanes[target] = Lane(
                target, self._sinks[scheme], self, self._plan, together=scheme in TOGETHER
            )
        return lane

    # What lanes say.

    def sent(self, numbers: Sequence[int]) -> None:
        """They were delivered; said to the store soon, with whatever else was delivered."""
        self._delivered += numbers
        self.delivered += len(numbers)
        if self._saying is None or self._saying.done():
            self._saying = asyncio.create_task(self._say())

    async def failed_for_now(self, one: Waiting, wait_s: float, error: BusError) -> None:
        """It was tried and may go later."""
        self.failed += 1
        tries = one.attempts + 1
        if tries in (1, 2, 4, 8) or tries % 16 == 0:
            log.warning("sender: message %d waits %.3g s: %s", one.number, wait_s, error)
        due_us = _now_us() + int(wait_s * 1e6)
        await self._tell(self._store.postpone, one.number, due_us=due_us, why=str(error))

    async def failed_for_good(self, one: Waiting, error: BusError) -> None:
        """It was tried and never will go."""
        self.given_up += 1
        log.error("sender: message %d is given up: %s", one.number, error)
        await self._tell(self._store.give_up, one.number, why=str(error))

    async def not_tried(self, some: Sequence[Waiting], wait_s: float) -> None:
        """They were held and may go later."""
        if some:
            numbers = [one.number for one in some]
            due_us = _now_us() + int(max(0.0, wait_s) * 1e6)
            await self._tell(self._store.let_go, numbers, due_us=due_us)

    async def _tell(self, what: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        try:
            await asyncio.to_thread(what, *arguments, **named)
        except StoreError as error:  # their leases end by themselves
            self._went_wrong(error)

    async def _say(self) -> None:
        while self._delivered:
            numbers, self._delivered = self._delivered, []
            try:
                await asyncio.to_thread(self._store.sent, numbers)
                self.wake()  # what is behind them can be taken
            except StoreError as error:
                self._went_wrong(error)
                self._delivered = numbers + self._delivered
                await asyncio.sleep(backoff_s(self._troubles, 0.1, 5.0))

    async def _wind_up(self, seconds: float) -> None:
        lanes = list(self._lanes.values())
        left = [one for lane in lanes for one in lane.stop()]
        running: list[Coroutine[Any, Any, None]] = [lane.ended() for lane in lanes]
        try:
            async with asyncio.timeout(seconds):
                await self.not_tried(left, 0.0)
                await asyncio.gather(*running)
                while self._saying is not None and not self._saying.done():
                    await asyncio.wait({self._saying})
        except TimeoutError:
            log.warning("sender: %d messages may be sent again", len(self._delivered))
        for lane in lanes:
            lane.cancel()
        if self._saying is not None:
            self._saying.cancel()

    def _went_wrong(self, error: StoreError) -> None:
        self._troubles += 1
        if str(error) != self.trouble:
            self.trouble = str(error)
            log.warning("sender: %s", error)


def _now_us() -> int:
    return time.time_ns() // 1000
