"""Answering: one event at a time a key, from its call to what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import Executor
from itertools import compress
from typing import Any, TypeVar

from splice.core.call import Call, Record
from splice.core.errors import DecisionError, SpliceError, StoreError
from splice.core.events import DeadLetter, Inbox, Message, Partition, Settled
from splice.engine import observe
from splice.engine.abreast import Answers, Asked, answer_abreast, fits, together
from splice.engine.faults import faults
from splice.engine.line import Line
from splice.ports.buses import Source
from splice.serve.drive import drive
from splice.serve.events.dead import dead_message
from splice.serve.events.flight import Flight
from splice.serve.events.lanes import Taken
from splice.serve.events.retries import backoff_s, due_us, retry_message
from splice.serve.events.terms import Kit, Terms
from splice.serve.events.verdicts import Verdict, verdict

log = logging.getLogger("splice.events")

T = TypeVar("T")

_HOLD_S = 0.5
_FEW = 4  # so few gain nothing by going together
_IN_A_ROW = 1024
_AGAIN_S = 0.5
_SURFACE = "events"

Put = Callable[[Sequence[Taken], Sequence[Sequence[Message]]], None]
"""Takes events with what became of them, and of each the messages that go with its position."""


class Answering:
    """Runs calls and says what became of their events.

    Args:
        terms: How.
        kit: With what.
        source: Where an event that must wait can wait.
        flight: What is taken up.
        threads: Blocking work is done there.
        put: Takes what became of each.
    """

    def __init__(
        self,
        terms: Terms,
        kit: Kit,
        source: Source,
        flight: Flight,
        threads: Executor,
        put: Put,
    ) -> None:
        self._terms, self._kit, self._source = terms, kit, source
        self._flight, self._threads, self._put = flight, threads, put
        self._tasks: set[asyncio.Task[None]] = set()
        self._naps: dict[asyncio.Future[None], Partition] = {}
        self._loop = asyncio.get_running_loop()
        self.take_up: Callable[[Sequence[Taken]], Coroutine[Any, Any, None]] = _nothing
        self._messages = kit.replies.messages
        self._all_stored = kit.exchange is None
        self._all_sent = not self._all_stored and kit.replies.only("kafka:")
        self.trouble = ""
        self.ended: Counter[str] = Counter()  # how many ended how, as the metric names it

    def begin(self, one: Taken) -> None:
        """Run it, unless it is not wanted here any more; later where its time has not come."""
        if not self._flight.runs(one):
            self.leave(one)
            return
        wait_us = due_us(one.event) - time.time_ns() // 1000 if one.event.headers else 0
        if wait_us > 0:
            self.aside(self._later(one, wait_us / 1e6))
            return
        self._flight.start([one])
        line = self._kit.engine.lines.get(self._terms.integration)
        if line is not None and line.simple:
            drive(self._answer(one), self._loop)
        else:
            self.aside(self._answer(one))

    @property
    def at_once(self) -> bool:
        """Whether calls are answered as they are begun: none of them waits for anything."""
        return self._abreast() is not None

    def _abreast(self) -> Line | None:
        """The line, where its calls may go abreast now."""
        line = self._kit.engine.lines.get(self._terms.integration)
        return line if line is not None and not line.closed and fits(line) else None

    async def begin_all(self, taken: Sequence[Taken]) -> None:
        """Run them, together where their model can. Others get their turn in between."""
        start = 0
        while start < len(taken):
            if start:
                await asyncio.sleep(0)
            line = self._abreast()
            if len(taken) - start < _FEW or line is None:
                some = taken[start : start + _IN_A_ROW]
                for one in some:
                    self.begin(one)
            else:  # one run of the model: some milliseconds of the event loop, as a rule
                some = taken[start : start + together(line)]
                self._begin_together(line, some)
            start += len(some)

    def _begin_together(self, line: Line, taken: Sequence[Taken]) -> None:
        """What did not go together goes alone, and is told what was wrong."""
        ready = self._ready(taken)
        if not ready:
            return
        letters = [one.letter for one in ready if one.letter is not None]  # all were opened
        asked = Asked(
            _SURFACE, self._terms.consumer, time.time_ns() // 1000,
            self._kit.new_ids(len(ready)), [letter.body for letter in letters],
            [letter.trace for letter in letters],
        )  # fmt: skip
        answers = answer_abreast(self._kit.engine, line, asked)
        records = answers.records
        if answers.failed or not all(records):
            ready, records = self._parted(ready, answers)
        if ready:
            self._flight.start(ready)
            self._answered(ready, records, records)

    def _ready(self, taken: Sequence[Taken]) -> Sequence[Taken]:
        """Those that may run now; the others are begun each on its own way."""
        if self._flight.calm and not any(one.dropped or one.event.headers for one in taken):
            return taken
        now_us, ready = time.time_ns() // 1000, list[Taken]()
        for one in taken:
            if self._flight.runs(one) and due_us(one.event) <= now_us:
                ready.append(one)
            else:
                self.begin(one)
        return ready

    def _parted(
        self, taken: Sequence[Taken], answers: Answers
    ) -> tuple[list[Taken], list[Record | None]]:
        """Those that were answered; it is seen to the others."""
        done: list[Taken] = []
        records: list[Record | None] = []
        for place, (one, record) in enumerate(zip(taken, answers.records, strict=True)):
            error = answers.failed.get(place)
            if record is None:
                self.begin(one)
            elif error is None:
                done.append(one)
                records.append(record)
            else:
                self._flight.start([one])
                self._failed(one, error, record)
        return done, records

    def dead(self, one: Taken, error: SpliceError, record: Record | None = None) -> None:
        """It cannot be answered: keep it as it came, with why."""
        log.warning("%s is a dead letter: %s", one.event.origin, error)
        letter = DeadLetter(
            self._terms.integration, one.event, error.code, error.where, error.detail,
            max(one.tries, 1), time.time_ns() // 1000,
        )  # fmt: skip
        messages: tuple[Message, ...] = ()
        if self._terms.dead:
            messages = (dead_message(letter, self._terms.dead),)
        sent, stored = self.split(messages)
        self._count("dead")
        self._over(one, Settled(one.event, record, None, stored, letter), sent)

    def repeated(self, one: Taken, record: Record | None) -> None:
        """It was answered before; `record` where its decision may not have been sent."""
        self._count("repeated")
        self._over(one, Settled(one.event), () if record is None else self.decided(one, record))

    def decided(self, one: Taken, record: Record) -> tuple[Message, ...]:
        """What goes with the position of an event that a stored call answered."""
        return self.split(self._kit.replies.messages(record, one.event, one.letter))[0]

    def leave(self, one: Taken) -> None:
        """It is not answered here: another reader gets it, or this one later."""
        one.dropped = True
        self.again(self._flight.left(one))
        self._run_behind([one])

    def again(self, doubles: Sequence[Taken]) -> None:
        """What they double is over: they are looked up again."""
        if doubles:
            self.aside(self.take_up(doubles))

    def release(self, one: Taken) -> None:
        """One before it went back to the queue, and so does this one, unharmed."""
        self.aside(self._released(one))

    async def _released(self, one: Taken) -> None:
        try:
            await self._source.release([one.event])
        except SpliceError as error:  # its lease ends it
            self.say(error)
        self.leave(one)

    def split(self, messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """Those that go with the position, and those that are stored with the record."""
        if self._all_stored:
            return (), tuple(messages)
        if self._all_sent:
            return tuple(messages), ()
        sent = [one.target.startswith("kafka:") for one in messages]
        return tuple(compress(messages, sent)), tuple(
            one for one, goes in zip(messages, sent, strict=True) if not goes
        )

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        """In a task of its own; `close` cancels it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut off what still runs: it was not settled, and comes again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def counted(self, one: Taken) -> None:
        """Its next attempt is counted durably, before it is made."""
        store, consumer = self._kit.events, self._terms.consumer
        await self.until_stored(lambda: store.count_attempt(consumer, [one.event]))

    async def until_stored(self, work: Callable[[], T]) -> T:
        """What the ledger says, as soon as it says something."""
        while True:
            try:
                return await self._loop.run_in_executor(self._threads, work)
            except StoreError as error:
                self.say(error)
                await asyncio.sleep(_AGAIN_S)

    def say(self, error: SpliceError) -> None:
        """Why events wait: told once."""
        if str(error) != self.trouble:
            log.warning("%s waits: %s", self._terms.integration, error)
        self.trouble = str(error)

    async def _answer(self, one: Taken) -> None:
        letter = one.letter
        assert letter is not None  # noqa: S101 - it was opened
        call = Call(
            self._kit.new_ids(1)[0], self._terms.integration, letter.body,
            time.time_ns() // 1000, _SURFACE, self._terms.consumer, None, letter.trace,
        )  # fmt: skip
        error: SpliceError
        try:
            answered = await self._kit.engine.answer(call, recorded=False)
            if answered.error is None:
                self._answered([one], [answered.record], [answered.kept])
            else:
                self._failed(one, answered.error, answered.kept)
            return
        except SpliceError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - the event is told, and the loop goes on
            got = faults.told(str(one.event.origin), failure)
            error = DecisionError(self._terms.integration, got=got)
        self._failed(one, error, None)

    def _answered(
        self,
        taken: Sequence[Taken],
        records: Sequence[Record | None],
        kept: Sequence[Record | None],
    ) -> None:
        """These were answered, and none of them failed; `kept` is what is stored of the records."""
        messages_of, split = self._messages, None if self._all_sent else self.split
        every: list[Sequence[Message]] = []
        for one, record, stored in zip(taken, records, kept, strict=True):
            assert record is not None  # noqa: S101 - of what was answered
            sent, waiting = messages_of(record, one.event, one.letter, stored), ()
            if split is not None:
                sent, waiting = split(sent)
            inbox = Inbox(one.id, one.digest, record.call_id)
            one.settled = Settled(one.event, stored, inbox, waiting)
            every.append(sent)
        self.trouble = ""
        self._count("answered", len(taken))
        self._ran(taken, every)

    def _over(self, one: Taken, settled: Settled, sent: Sequence[Message]) -> None:
        """It ran, and that is what became of it."""
        one.settled = settled
        self._ran([one], [sent])

    def _ran(self, taken: Sequence[Taken], sent: Sequence[Sequence[Message]]) -> None:
        """What became of them is stored, and those behind them run."""
        self._put(taken, sent)
        self._run_behind(taken)

    def _run_behind(self, taken: Sequence[Taken]) -> None:
        for behind in self._flight.ran([one for one in taken if one.entered]):
            self._loop.call_soon(self.begin, behind)

    def _failed(self, one: Taken, error: SpliceError, record: Record | None) -> None:
        what = verdict(error, record)
        if what is Verdict.RETRY and one.tries >= self._terms.attempts:
            what = Verdict.DEAD
        if what is Verdict.DEAD:
            self.dead(one, error, record)
            return
        if record is not None:  # of a call that was made and paid, though it answered nothing
            self._kit.engine.recorder.put(record)
        if what is Verdict.LEAVE:
            self.leave(one)
        elif what is Verdict.HOLD:
            self.aside(self._hold(one, error))
        else:
            self._count("retried")
            self.aside(self._retry(one))

    async def _hold(self, one: Taken, error: SpliceError) -> None:
        """Nothing can be answered now, which is not the event's fault."""
        self.say(error)
        one.tries -= 1
        self._flight.holding += 1
        try:
            await self._nap(one.partition, _HOLD_S)
        finally:
            self._flight.holding -= 1
        self.begin(one)

    async def _retry(self, one: Taken) -> None:
        topics = self._terms.retry_topics
        if topics and not one.event.token:
            message, _ = retry_message(one.event, one.tries, topics)
            sent, stored = self.split((message,))
            self._over(one, Settled(one.event, messages=stored), sent)
            return
        delay_s = backoff_s(one.tries, self._terms.backoff_s, self._terms.max_backoff_s)
        if one.event.token:
            await self._give_back(one, delay_s)
            return
        await self.counted(one)
        await self._later(one, delay_s)

    async def _give_back(self, one: Taken, delay_s: float) -> None:
        """A queue keeps it until its time; those of its key that wait here go back with it."""
        at_us = time.time_ns() // 1000 + int(delay_s * 1e6)
        # Out of the way before the queue lets them out again, which it may do at once. All of its
        # key that was taken up until now was taken before the queue knew of this.
        self._flight.give_back(one.event.key)
        for each in (one, *self._flight.behind(one)):
            self.leave(each)
        try:
            await self._source.postpone(one.event, at_us)
        except SpliceError as error:  # the source goes on trying, or their leases end
            self.say(error)

    async def _later(self, one: Taken, delay_s: float) -> None:
        """Its partition waits with it: what is behind it must not overtake it."""
        self._source.pause([one.partition])
        try:
            await self._nap(one.partition, delay_s)
        finally:
            if one.partition not in self._naps.values() and self._flight.is_ours(one.partition):
                self._source.resume([one.partition])
        self.begin(one)

    async def _nap(self, partition: Partition, seconds: float) -> None:
        """Until then, or until `wake`."""
        nap: asyncio.Future[None] = self._loop.create_future()
        self._naps[nap] = partition
        try:
            if not self._flight.stopping.is_set():
                await asyncio.wait([nap], timeout=seconds)
        finally:
            del self._naps[nap]

    def wake(self, partitions: Collection[Partition] | None) -> None:
        """Nothing of these (of any where None) waits for its time any more."""
        for nap, partition in list(self._naps.items()):
            if not nap.done() and (partitions is None or partition in partitions):
                nap.set_result(None)

    def _count(self, ended: str, count: int = 1) -> None:
        self.ended[ended] += count
        self._kit.engine.metrics.add(observe.EVENTS, (self._terms.integration, ended), count)


async def _nothing(_: Sequence[Taken]) -> None:
    """Until the consumer says how."""
