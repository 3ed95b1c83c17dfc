"""The thread that owns a consumer: it reads a batch ahead, keeps polling, and is rebalanced.

A member that does not poll is thrown out of its group. So this thread polls whatever the event loop
does: when what was read is not taken, every partition is paused and polling goes on without events.
Nothing else touches the consumer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from splice.adapters.buses.kafka_buffer import Buffer
from splice.adapters.buses.kafka_errors import bus_error, fault_of
from splice.adapters.buses.kafka_events import SCHEME, events_of, log, partition_of, topic_of
from splice.adapters.buses.kafka_teller import Line, Teller
from splice.core.errors import BusError, SpliceError
from splice.core.events import Partition
from splice.ports.buses import Assigned, Positions, Revoked

T = TypeVar("T")

_POLL_S = 0.1
_STALL_S = 1.0  # so long a batch may wait to be taken before all is paused, and fetched again later
_LOOK_S = 0.2
_SHORT_S = 0.005
_BUSY_S = 1.0
_MEMBER_S = 5.0
_TOLD = frozenset(  # others are told by a broker that the client then leaves, or by the message
    {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE}
)


class Plan(NamedTuple):
    """What is read, and how."""

    topics: tuple[str, ...]
    group: str
    batch: int
    drain_s: float  # how long the event loop may take to give partitions back
    reach_s: float  # how long the first broker may take to answer

    @property
    def stream(self) -> str:
        """The URL of the first topic."""
        return SCHEME + self.topics[0]


class Reader:
    """Reads as a member of a group, in a thread of its own.

    Args:
        make: Makes the consumer, given our callbacks by librdkafka's names.
        plan: What to read.
        loop: Where `assigned` and `revoked` run.
        assigned: As `Source.start` takes it.
        revoked: As `Source.start` takes it.
        arrived: Called in the loop when there are events, or trouble.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any]], Consumer],
        plan: Plan,
        loop: asyncio.AbstractEventLoop,
        assigned: Assigned,
        revoked: Revoked,
        arrived: Callable[[], None],
    ) -> None:
        self._make, self._plan, self._line = make, plan, Line(loop)
        self._assigned, self._revoked, self._arrived = assigned, revoked, arrived
        self.buffer = Buffer()
        self.changed = self.buffer.changed
        self.ours: set[Partition] = set()
        self.failed: SpliceError | None = None
        self._troubles: list[KafkaError] = []
        self._member: Any = None  # of the group, as it was a moment ago
        self._wanted = False
        self._busy_until = 0.0
        self._teller = Teller(plan.stream, self._line, self.changed)
        self._closing = False
        self._stalled = False
        self._held_still: set[Partition] = set()  # what is paused in the client
        self._gone: set[Partition] = set()  # taken away since the last poll
        self._opened: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"read {plan.stream}", daemon=True)

    # From the event loop.

    async def open(self) -> None:
        """Join the group.

        Raises:
            BusError: No broker answers, or a topic does not exist.
            SettingsError: An option cannot be.
        """
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """Leave it, and end the thread."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        await asyncio.shield(self._ended)

    def trouble(self) -> BusError | None:
        """What went wrong since it was last asked for; the last of it."""
        with self.changed:
            troubles, self._troubles = self._troubles, []
        return bus_error(troubles[-1], self._plan.stream, retryable=True) if troubles else None

    def tell(self, positions: Positions) -> asyncio.Future[None]:
        """Commit; the future has the broker's answer.

        Raises:
            BusError: They are not ours to tell.
        """
        with self.changed:
            self._check(positions)
            return self._teller.tell(positions)

    def membership(self, positions: Positions) -> Any:
        """What a transaction needs to tell these positions in our name; any other thread may ask.

        Raises:
            BusError: They are not ours to tell.
        """
        with self.changed:
            self._wanted = True
            self.changed.wait_for(lambda: self._member is not None or self._closing, _MEMBER_S)
            self._check(positions)
            return self._member

    def _check(self, positions: Positions) -> None:
        if self._closing:
            raise _not_ours(self._plan.stream, "a member that has left its group")
        for partition in positions:
            if partition not in self.ours:
                raise _not_ours(f"{partition[0]}/{partition[1]}", "a partition of another member")

    # In the thread.

    def _run(self) -> None:
        try:
            consumer = self._open()
        except SpliceError as error:
            self._line.answer(self._opened, error)
            self._line.answer(self._ended)
            return
        self._line.answer(self._opened)
        try:
            while not self._closing:
                self._turn(consumer)
        except Exception as error:  # noqa: BLE001 - the thread ends, and the loop is told why
            self._fail(bus_error(fault_of(error), self._plan.stream, retryable=True))
        with self.changed:
            self._closing = True  # nobody may commit from here on
        try:
            consumer.close()
        except (KafkaException, RuntimeError) as error:
            log.warning("%s: the group was not left: %s", self._plan.stream, error)
        self._teller.close()
        self._line.answer(self._ended)

    def _open(self) -> Consumer:
        consumer = self._make({"error_cb": self._on_error, "on_commit": self._teller.on_commit})
        try:
            for topic in self._plan.topics:
                self._look_for(consumer, topic)
            consumer.subscribe(
                list(self._plan.topics),
                on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost,
            )  # fmt: skip
        except BaseException:
            consumer.close()
            raise
        return consumer

    def _look_for(self, consumer: Consumer, topic: str) -> None:
        try:
            found = consumer.list_topics(topic, timeout=self._plan.reach_s).topics.get(topic)
        except KafkaException as error:
            consumer.poll(0)  # serves what `_on_error` is told: a better reason than "timed out"
            reason = self._troubles[-1] if self._troubles else fault_of(error)
            raise bus_error(reason, SCHEME + topic) from error
        if found is None or found.error is not None:
            unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            raise bus_error(found.error if found and found.error else unknown, SCHEME + topic)

    def _turn(self, consumer: Consumer) -> None:
        with self.changed:
            if not self.buffer.has_room:
                self.changed.wait_for(self._may_go_on, _LOOK_S if self._stalled else _STALL_S)
            self._stalled = not self.buffer.has_room
        self._serve(consumer)
        first = consumer.poll(self._patience())
        if first is None:
            return
        self._busy_until = time.monotonic() + _BUSY_S
        self._gone.clear()  # `first` came after them
        place = SCHEME + (first.topic() or ""), first.partition()
        messages = consumer.consume(self._plan.batch - 1, 0) if self._plan.batch > 1 else []
        if place not in self._gone:
            messages.insert(0, first)
        self._deliver(messages)

    def _may_go_on(self) -> bool:
        return self.buffer.has_room or self._closing or self._teller.has_unasked

    def _patience(self) -> float:
        """How long to poll: nothing can wake a poll, and commits wait for its end."""
        if self._stalled:
            return 0
        return _SHORT_S if time.monotonic() < self._busy_until else _POLL_S

    def _serve(self, consumer: Consumer) -> None:
        """What others want of the consumer."""
        self._pause(consumer)
        self._teller.ask(consumer)
        self._look_who_we_are(consumer)

    def _look_who_we_are(self, consumer: Consumer) -> None:
        if self._wanted:
            member = consumer.consumer_group_metadata()
            with self.changed:
                self._member = member
                self.changed.notify_all()

    def _deliver(self, messages: Sequence[Any]) -> None:
        troubles: list[KafkaError] = []
        events = events_of(messages, troubles)
        if self._gone:
            events = [e for e in events if (e.origin.stream, e.origin.partition) in self.ours]
        self.buffer.put(events)
        for error in troubles:
            self._trouble(error)
        self._wake()

    def _pause(self, consumer: Consumer) -> None:
        """Pause in the client what is paused here; it throws away what it has fetched of it."""
        with self.changed:
            wanted = set(self.ours) if self._stalled else self.buffer.paused & self.ours
        if wanted == self._held_still:
            return
        if more := wanted - self._held_still:
            consumer.pause(_places(more))
        if fewer := self._held_still - wanted:
            consumer.resume(_places(fewer))
        self._held_still = wanted

    # Rebalances: the client calls these while this thread polls.

    def _on_assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        partitions = [partition_of(one) for one in places]
        if self._closing or not partitions:
            return
        self.buffer.drop(partitions)
        with self.changed:
            self.ours.update(partitions)
        try:
            self._ask(consumer, lambda: self._assigned(partitions), None)
        except Exception as error:  # noqa: BLE001 - the loop is told
            told = error if isinstance(error, SpliceError) else BusError(
                self._plan.stream, got=f"{type(error).__name__} as partitions came"
            )  # fmt: skip
            self._fail(told)

    def _on_revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._part_with(consumer, places, lost=False)

    def _on_lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._part_with(consumer, places, lost=True)

    def _part_with(self, consumer: Consumer, places: list[TopicPartition], *, lost: bool) -> None:
        partitions = [partition_of(one) for one in places]
        self.buffer.drop(partitions)
        self._gone.update(partitions)
        if still := self._held_still.intersection(partitions):
            # They would come back paused, and resuming what is not paused loses its events.
            consumer.resume(_places(still))
            self._held_still -= still
        if self._closing or not partitions:
            return
        positions: Positions | None = None
        try:
            positions = self._ask(
                consumer, lambda: self._revoked(partitions, lost), self._plan.drain_s
            )
        except Exception as error:  # noqa: BLE001 - they go all the same, and their events come again
            log.warning("%s: partitions go without a word: %s", self._plan.stream, error)
        if positions and not lost and (error := self._teller.tell_now(consumer, positions)):
            log.warning("%s: events come again: %s", self._plan.stream, error)
        with self.changed:
            self.ours.difference_update(partitions)

    def _ask(
        self, consumer: Consumer, question: Callable[[], Awaitable[T]], seconds: float | None
    ) -> T | None:
        """What the event loop answers, or None where it does not in time, or we close.

        What it tells meanwhile is told at once: it may wait for that before it answers.
        """
        until = None if seconds is None else time.monotonic() + seconds
        asked = _answered(question)
        try:
            answer = asyncio.run_coroutine_threadsafe(asked, self._line.loop)
        except RuntimeError:  # the loop has ended, and whoever would answer with it
            asked.close()
            return None
        answer.add_done_callback(self._notify)
        try:
            while not answer.done():
                self._teller.settle(consumer)
                self._look_who_we_are(consumer)
                over = until is not None and time.monotonic() > until
                if self._closing or over:
                    answer.cancel()
                    if over:
                        log.warning("%s: partitions go before all is done", self._plan.stream)
                    return None
                with self.changed:
                    if not (answer.done() or self._closing or self._teller.has_pending):
                        self.changed.wait(_LOOK_S)
            return answer.result()
        finally:
            self._teller.settle(consumer)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in _TOLD:
            self._trouble(error)
            self._wake()

    def _trouble(self, error: KafkaError) -> None:
        with self.changed:
            self._troubles.append(error)
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._fail(bus_error(error, self._plan.stream))

    def _fail(self, error: SpliceError) -> None:
        """Nothing more is read: who reads must close, and start again."""
        with self.changed:
            self.failed = self.failed or error
            self._closing = True
        self._wake()

    def _notify(self, _: object) -> None:
        with self.changed:
            self.changed.notify_all()

    def _wake(self) -> None:
        self._line.call(self._arrived)


async def _answered(question: Callable[[], Awaitable[T]]) -> T:
    return await question()


def _places(partitions: set[Partition]) -> list[TopicPartition]:
    return [TopicPartition(topic_of(url), number) for url, number in partitions]


def _not_ours(where: str, got: str) -> BusError:
    return BusError(where, got=got, promised="the positions of partitions that this member has")
