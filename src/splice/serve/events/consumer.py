"""The way of an event, from top to bottom: read, open, look up, run, settle, send, move on.

An event is read and opened; what was answered before is not answered again; how far we begin is
noted durably; calls run, those of one key one after another; record, inbox row, messages and dead
letter are stored in one transaction; only then the position moves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from splice.core.call import Record
from splice.core.errors import BusError, SpliceError, StoreError
from splice.core.events import (
    Event,
    Inbox,
    Mark,
    Message,
    Partition,
    Settled,
    body_digest,
    event_id,
    place_id,
)
from splice.engine import observe
from splice.ports.buses import Positions, Source
from splice.serve.events.answering import Answering
from splice.serve.events.flight import Flight
from splice.serve.events.lanes import Taken, taken_of
from splice.serve.events.moving import Mover
from splice.serve.events.retries import tries_of
from splice.serve.events.settler import MOST, Settler
from splice.serve.events.suspects import Suspects
from splice.serve.events.terms import Kit, Terms
from splice.serve.events.verdicts import died, reused

log = logging.getLogger("splice.events")

_POLL_S = 0.2
_AGAIN_S = 0.5
_LOOK_S = 0.005
_MOST_UNSETTLED = 3 * MOST  # answered, and not stored
_AHEAD = 1000
"""So many events, or the next batch, are read while one is worked on, where that is quick: small
batches are then taken from a queue many at a time. Each take waits for the ledger's one writer and
for the disk; with 1,000 at once two cores answer 40 % more in batches of 100 than with 100."""


class Consumer:
    """Answers the events of one source by one integration, until it is stopped.

    Made in the event loop that it runs in.

    Args:
        terms: How.
        kit: With what.
        source: From where.
    """

    def __init__(self, terms: Terms, kit: Kit, source: Source) -> None:
        self._terms, self._kit, self._source = terms, kit, source
        self._threads = ThreadPoolExecutor(3, "events")
        self._flight = Flight()
        self._answering = Answering(terms, kit, source, self._flight, self._threads, self._put)
        self._answering.take_up = self._take_up
        self._settler = Settler(kit.events, self._threads, self._settled)
        self._mover = Mover(source, self._flight.progress, kit.exchange)
        self._suspects = Suspects(kit.events, terms.consumer)
        self._last = float("inf")

    @property
    def in_flight(self) -> int:
        """Events that are taken up and not settled."""
        return self._flight.taken

    @property
    def idle_s(self) -> float:
        """Seconds since an event came, or since there was something to read; 0 while one runs."""
        return 0.0 if self._flight.taken else max(0.0, time.monotonic() - self._last)

    @property
    def ended(self) -> Mapping[str, int]:
        """How many events were `answered`, `repeated`, `retried`, or became `dead` letters."""
        return self._answering.ended

    @property
    def trouble(self) -> str:
        """Why events wait; empty where they do not."""
        return self._answering.trouble or self._settler.trouble or self._mover.trouble

    async def run(self) -> None:
        """Consume until `stop()`; then let what runs end, and leave.

        Raises:
            BusError: The stream cannot be read at all, or another process has taken over.
        """
        inner = (self._settler.start(), self._mover.start())
        try:
            if self._kit.exchange is not None:
                await self._kit.exchange.start()
            await self._source.start(self._assigned, self._revoked)
            while not self._flight.stopping.is_set():
                for task in inner:
                    if task.done():
                        task.result()  # what ended it ends us
                events = await self._polled() if await self._has_room() else ()
                is_full = len(events) >= self._terms.max_batch
                self._settler.expect(more=is_full and self._answering.at_once)
                if events:
                    self._last = time.monotonic()
                    await self._take_up(self._taken(events))
            await self._drain()
        finally:
            await self._answering.close()
            await self._settler.stop()
            await self._mover.stop()
            await self._source.close()
            if self._kit.exchange is not None:
                await self._kit.exchange.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Take nothing more."""
        self._flight.stopping.set()
        self._flight.changed.set()
        self._answering.wake(None)

    # Read.

    async def _has_room(self) -> bool:
        """Whether more can be taken, at once or after a little while."""
        flight, is_full = self._flight, self._settler.unsettled >= _MOST_UNSETTLED
        if self._room() > 0 and not is_full and not flight.holding:
            return True
        self._settler.expect(more=False)
        flight.changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await flight.changed.wait()
        return False

    def _room(self) -> int:
        """How many more events may wait for their answer."""
        unanswered = self._flight.taken - self._settler.unsettled
        return self._terms.max_in_flight - unanswered

    async def _polled(self) -> Sequence[Event]:
        limit, ahead = self._terms.max_batch, min(_AHEAD, self._terms.max_in_flight)
        if not self._answering.at_once:  # what would wait here long, another process may take
            limit, ahead = min(limit, self._room()), 0
        try:
            return await self._source.poll(limit, _POLL_S, ahead=ahead)
        except BusError as error:
            if not error.retryable:
                raise
            self._answering.say(error)
            await asyncio.sleep(_AGAIN_S)
            return ()

    def _taken(self, events: Sequence[Event]) -> list[Taken]:
        taken = self._flight.take(taken_of(events))
        self._suspects.look_at(taken)
        return taken

    # Open, and look up.

    async def _take_up(self, taken: Sequence[Taken]) -> None:
        envelopes = self._kit.envelopes
        if envelopes.may_miss:
            for one in taken:
                if envelopes.missing(one.event) is not None:
                    await self._fetch(one)
        opened = self._opened(taken)
        if not opened:
            return
        known = await self._looked_up(opened)
        records: dict[str, Record] = {}
        if known and self._kit.exchange is not None:  # what was stored may not have been sent
            ids = [inbox.call_id for inbox in known.values()]
            records = await self._answering.until_stored(lambda: self._kit.records.get_many(ids))
        fresh = self._flight.none_stale([one.id for one in opened])
        if fresh and not known and self._enter_together(opened):
            await self._begin(opened)
            return
        ready: list[Taken] = []
        for one in opened:
            inbox = known.get(one.id)
            if inbox is None and not fresh and self._flight.is_stale(one):
                self._answering.again([one])
                continue
            if inbox is None and one.suspect and one.tries < self._terms.attempts:
                await self._begin(ready)
                ready = []
                await self._run_alone(one)
                fresh = False  # meanwhile others may have been settled
            elif inbox is None:
                if self._enters(one):
                    ready.append(one)
            elif inbox.body != one.digest:
                self._answering.dead(one, reused(one.event, inbox))
            else:
                self._answering.repeated(one, records.get(inbox.call_id))
        await self._begin(ready)

    async def _begin(self, ready: Sequence[Taken]) -> None:
        with self._settler.gathering():
            await self._answering.begin_all(ready)

    async def _fetch(self, one: Taken) -> None:
        """Waits for its schema; where there is none, it is a dead letter."""
        envelopes = self._kit.envelopes
        while (schema := envelopes.missing(one.event)) is not None:
            try:
                await envelopes.fetch(schema)
            except SpliceError as error:
                if not error.retryable:
                    self._answering.dead(one, error)
                    one.dropped = True
                    return
                if self._flight.stopping.is_set():  # it comes again
                    self._answering.leave(one)
                    return
                self._answering.say(error)
                await asyncio.sleep(_AGAIN_S)

    def _opened(self, taken: Sequence[Taken]) -> list[Taken]:
        """Those that can be read; the others are dead letters."""
        opened: list[Taken] = []
        open_, name = self._kit.envelopes.open, self._terms.integration
        for one in taken:
            if one.dropped:
                continue
            event = one.event
            try:
                one.letter = letter = open_(event)
            except SpliceError as error:
                self._answering.dead(one, error)
                continue
            if event.headers and self._terms.retry_topics:
                one.tries = max(one.tries, tries_of(event))
            if letter.id is None:
                one.id, one.unnamed = place_id(name, event.origin), True
            else:
                one.id = event_id(name, letter.source, letter.id)
            one.digest = body_digest(letter.body)
            opened.append(one)
        return opened

    async def _looked_up(self, taken: Sequence[Taken]) -> dict[bytes, Inbox]:
        """What was answered before; and that the others are begun from here on is durable."""
        seen = self._flight.progress.seen
        partitions = {one.partition for one in taken if not one.event.token}
        marks = {partition: Mark(seen(partition)) for partition in partitions}
        store, consumer = self._kit.events, self._terms.consumer
        # What was answered is not in its queue any more: only who names his events can send twice.
        ids = [one.id for one in taken if not (one.event.token and one.unnamed)]
        if not (ids or marks):
            return {}

        def look_up() -> dict[bytes, Inbox]:
            known = store.answered(ids)
            if marks:
                store.begin(consumer, marks)
            return known

        return await self._answering.until_stored(look_up)

    def _enter_together(self, taken: Sequence[Taken]) -> bool:
        """Whether all of them may run now, as is the rule; else none of them has entered."""
        if any(one.tries for one in taken) or not self._flight.none_goes_back(taken):
            return False
        return self._flight.enter_all(taken)

    def _enters(self, one: Taken) -> bool:
        """Whether it may run now; one that was tried too often may not at all."""
        if one.tries >= self._terms.attempts:
            self._answering.dead(one, died(one))
            return False
        if one.event.token and self._flight.goes_back(one):
            self._answering.release(one)
            return False
        return self._flight.enter(one)

    async def _run_alone(self, one: Taken) -> None:
        """Nothing runs beside it, and its attempt is counted before: it may kill the process."""
        await self._quiet(lambda: not self._flight.started)
        if self._flight.is_stale(one):  # it ran here when it came before, and has been answered
            self._answering.again([one])
            return
        if not one.event.token:  # a queue has counted it
            await self._answering.counted(one)
        if self._enters(one):
            self._answering.begin(one)
            await self._quiet(lambda: not self._flight.started)

    # Settle, and move on.

    def _put(self, taken: Sequence[Taken], sent: Sequence[Sequence[Message]]) -> None:
        flight = self._flight
        if flight.gave_away:  # what comes again is sent with the position that passes it then
            sent = [() if flight.comes_again(a) else b for a, b in zip(taken, sent, strict=True)]
        self._mover.hold(taken, sent)
        self._settler.put(taken)

    async def _settled(self, batch: Sequence[Taken], late: Sequence[Settled]) -> None:
        metrics, name = self._kit.engine.metrics, self._terms.integration
        if late:
            metrics.add(observe.EVENTS, (name, "late"), len(late))
            lost = {id(one) for one in late}
            ours = [one for one in batch if not self._flight.comes_again(one)]
            await self._overtaken([one for one in ours if id(one.settled) in lost])
        again = self._flight.settled(batch)
        metrics.set(observe.EVENTS_IN_FLIGHT, self._flight.taken, (name,))
        if made_us := batch[-1].event.at_us:
            metrics.set(observe.EVENT_DELAY, max(0.0, time.time() - made_us / 1e6), (name,))
        if any(one.settled.messages for one in batch if one.settled is not None):
            self._kit.wake()
        await self._source.finished([one.event for one in batch])
        self._mover.wake()
        self._answering.again(again)

    async def _overtaken(self, late: Sequence[Taken]) -> None:
        """Another answered these meanwhile: what it decided counts, and not what we did.

        Whoever that was may have lost the partition before it could send: we, who have it, do.
        """
        for one in late:
            self._mover.drop(one.event)
        if self._kit.exchange is None:
            return
        ids = [one.id for one in late]
        known = await self._answering.until_stored(lambda: self._kit.events.answered(ids))
        calls = [inbox.call_id for inbox in known.values()]
        records = await self._answering.until_stored(lambda: self._kit.records.get_many(calls))
        for one in late:
            inbox = known.get(one.id)
            record = None if inbox is None else records.get(inbox.call_id)
            if record is not None and (sent := self._answering.decided(one, record)):
                self._mover.hold([one], [sent])

    # Partitions come and go.

    async def _assigned(self, partitions: Sequence[Partition]) -> None:
        self._flight.ours(partitions)
        self._last = time.monotonic()
        await self._answering.until_stored(lambda: self._suspects.learn(partitions))

    async def _revoked(self, partitions: Sequence[Partition], lost: bool) -> Positions:
        gone = set(partitions)
        self._answering.again(self._flight.gone(gone))
        self._answering.wake(gone)
        done = False
        if not lost:
            done = await self._quiet(lambda: not self._flight.of(gone), self._terms.drain_s)
            if self._kit.exchange is not None:
                await self._moved()
        positions = self._flight.forget(gone)
        self._mover.forget(partitions)
        if done:
            await self._end(partitions)
        return {} if lost or self._kit.exchange is not None else positions

    async def _drain(self) -> None:
        flight = self._flight
        flight.drop(None)
        done = await self._quiet(lambda: not flight.started, self._terms.drain_s)
        await self._moved()
        if done and (partitions := flight.progress.partitions()):
            await self._end(partitions)

    async def _moved(self) -> None:
        try:
            await self._mover.move()
        except BusError as error:
            log.warning("positions are not told, and their events come again: %s", error)

    async def _end(self, partitions: Sequence[Partition]) -> None:
        """Nothing of these runs any more: their next reader need not suspect what was begun."""
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._threads, self._kit.events.end, self._terms.consumer, partitions
            )
        except StoreError as error:
            log.warning("marks stay: %s", error)

    async def _quiet(self, quiet: Callable[[], bool], seconds: float | None = None) -> bool:
        """Whether it was quiet in time; without a time it is waited for until everything stops."""
        self._settler.expect(more=False)
        until = None if seconds is None else time.monotonic() + seconds
        while not quiet():
            over = self._flight.stopping.is_set() if until is None else time.monotonic() > until
            if over:
                return False
            await asyncio.sleep(_LOOK_S)
        return True
