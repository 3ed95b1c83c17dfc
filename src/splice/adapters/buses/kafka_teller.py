"""Positions on their way to the broker, and answers on their way to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from splice.adapters.buses.kafka_errors import bus_error, fault_of, log
from splice.adapters.buses.kafka_events import topic_of
from splice.core.errors import BusError, SpliceError
from splice.ports.buses import Positions


class Line:
    """From threads to an event loop, which may have ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def call(self, what: Callable[[], None]) -> None:
        """Run it in the loop, soon."""
        try:
            self.loop.call_soon_threadsafe(what)
        except RuntimeError:
            log.debug("the event loop has ended, and nobody waits any more")

    def answer(self, future: asyncio.Future[None], error: SpliceError | None = None) -> None:
        """End a future of the loop, if nothing else has."""

        def answer() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.call(answer)


class _Told:
    def __init__(self, positions: Positions, done: asyncio.Future[None]) -> None:
        self.positions, self.done = positions, done
        self.asked = False
        self._places = {(topic_of(url), number): at for (url, number), at in positions.items()}

    def is_in(self, places: Sequence[TopicPartition]) -> bool:
        return {(one.topic, one.partition): one.offset for one in places} == self._places


class Teller:
    """Commits, one at a time, as the event loop asks.

    Only the reading thread touches the consumer: the client lets one thread in at a time, and has
    others spin until then, which would hold up the loop for as long as a poll.

    Args:
        stream: What it is about.
        line: To the event loop.
        changed: Guards what is here; told when there is something to commit.
    """

    def __init__(self, stream: str, line: Line, changed: threading.Condition) -> None:
        self._stream, self._line, self._changed = stream, line, changed
        self._pending: _Told | None = None

    def tell(self, positions: Positions) -> asyncio.Future[None]:
        """From the event loop, which has `changed`: the future has the broker's answer."""
        told = self._pending = _Told(positions, self._line.loop.create_future())
        self._changed.notify_all()
        return told.done

    @property
    def has_pending(self) -> bool:
        """Whether the event loop waits for an answer."""
        return self._pending is not None

    @property
    def has_unasked(self) -> bool:
        """Whether there is something to commit."""
        return self._pending is not None and not self._pending.asked

    def ask(self, consumer: Consumer) -> None:
        """Commit what the event loop waits for; the answer comes as this thread polls on."""
        with self._changed:
            told = self._pending
        if told is None or told.asked:
            return
        told.asked = True
        try:
            consumer.commit(offsets=places_of(told.positions), asynchronous=True)
        except KafkaException as error:
            self._answer(told, fault_of(error))

    def settle(self, consumer: Consumer) -> None:
        """The same where this thread cannot poll for now: the answer is waited for."""
        with self._changed:
            told = self._pending
        if told is not None:
            self._answer(told, self.tell_now(consumer, told.positions))

    def tell_now(self, consumer: Consumer, positions: Positions) -> KafkaError | None:
        """Commit, and wait for the answer."""
        try:
            answers = consumer.commit(offsets=places_of(positions), asynchronous=False)
        except KafkaException as error:
            return fault_of(error)
        return _fault_in(answers)

    def on_commit(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """As librdkafka calls it, in the reading thread."""
        with self._changed:
            told = self._pending
        if told is not None and told.is_in(places):
            self._answer(told, error or _fault_in(places))

    def close(self) -> None:
        """The consumer is gone: no answer will come."""
        with self._changed:
            told = self._pending
        if told is not None:
            self._answer(told, KafkaError(KafkaError._DESTROY))

    def _answer(self, told: _Told, error: KafkaError | None) -> None:
        with self._changed:
            if self._pending is told:
                self._pending = None
        # Whatever it is: the events come again, to us or to who has their partition now.
        failed: BusError | None = None
        if error is not None:
            failed = bus_error(error, self._stream, retryable=True)
        self._line.answer(told.done, failed)


def places_of(positions: Positions, tag: str = "") -> list[TopicPartition]:
    """As the client takes them; the broker keeps a tag beside the offsets."""
    return [TopicPartition(topic_of(url), n, at, tag) for (url, n), at in positions.items()]


def _fault_in(places: Sequence[TopicPartition]) -> KafkaError | None:
    return next((one.error for one in places if one.error is not None), None)
