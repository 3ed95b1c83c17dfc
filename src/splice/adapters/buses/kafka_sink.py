"""Messages to topics of Kafka, sent when every broker that must have them has them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from splice.adapters.buses.kafka_errors import bus_error, fault_of, log
from splice.adapters.buses.kafka_events import topic_of
from splice.adapters.buses.kafka_options import PRODUCER, client
from splice.adapters.buses.kafka_teller import Line
from splice.core.errors import BusError
from splice.core.events import Message

_SLICE = 250  # messages that are put into the client's queue before the event loop goes on
_FULL_S = 0.005
_POLL_S = 0.2
_END_S = 5.0


class KafkaSink:
    """A Sink on Kafka: idempotent, acknowledged by all replicas in sync.

    Args:
        given: Options of the user.
        delivery_s: How long a message may take.
    """

    def __init__(self, given: Mapping[str, Any], delivery_s: float) -> None:
        self._given = given
        self._own = {
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": max(1, int(delivery_s * 1000)),
        }
        self._sending: _Sending | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def send(self, messages: Sequence[Message]) -> None:
        """Deliver all of them."""
        if not messages:
            return
        loop = asyncio.get_running_loop()
        delivery = _Delivery(loop)
        async with self._turn:  # or two batches would be mixed, and the order of calls be lost
            sending = await self._current()
            sending.open.add(delivery)
            try:
                await _put_all(sending.producer, messages, delivery)
            finally:
                delivery.seal()
        try:
            await delivery.done
        finally:
            sending.open.discard(delivery)
        if delivery.error is not None:
            raise bus_error(delivery.error, delivery.where or "kafka")

    async def _current(self) -> _Sending:
        if self._closed:
            raise BusError("kafka", got="a message for a sink that is closed")
        if self._sending is not None and self._sending.is_dead:
            dead, self._sending = self._sending, None
            await asyncio.to_thread(dead.end)
        if self._sending is None:
            self._sending = _Sending(lambda own: client(
                Producer, PRODUCER, self._given, self._own, own
            ))  # fmt: skip
        return self._sending

    async def close(self) -> None:
        """Let go of connections; what is on its way is given a few seconds."""
        self._closed = True
        sending, self._sending = self._sending, None
        if sending is not None:
            await asyncio.to_thread(sending.end)


class _Sending:
    """A producer, and the thread that takes its delivery reports."""

    def __init__(self, make: Callable[[dict[str, Any]], Producer]) -> None:
        self.is_dead = False
        self.open: set[_Delivery] = set()
        self._ending = False
        self.producer = make({})
        self._thread = threading.Thread(target=self._run, name="sent to kafka", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop; blocks for a few seconds at most."""
        self._ending = True
        self._thread.join()

    def _run(self) -> None:
        while not (self._ending or self.is_dead):
            self._poll(_POLL_S)
        give_up = time.monotonic() + _END_S
        while len(self.producer) and time.monotonic() < give_up:
            self._poll(0.1)
        if len(self.producer):
            self.producer.purge()
            self._poll(1.0)
        for delivery in list(self.open):
            delivery.give_up()

    def _poll(self, seconds: float) -> None:
        try:
            self.producer.poll(seconds)
        except (KafkaException, SystemError) as error:
            # It is at an end, and has said so; reports that came with it may be lost.
            self.is_dead = True
            log.warning("kafka: a new producer is made: %s", fault_of(error))


class _Delivery:
    """Counts the reports of one batch: called for each message, in the thread of reports."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self.error: KafkaError | None = None
        self.where = ""
        self.put = 0
        self._line = Line(loop)
        self._came = 0
        self._sealed = False

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        if error is not None and self.error is None:
            self.where = f"kafka:{message.topic()}"
            self.error = error
        self._came += 1
        if self._sealed and self._came == self.put:
            self._line.answer(self.done)

    def refused(self, error: KafkaError, where: str) -> None:
        """It was not even put into the queue."""
        self.where, self.error = where, error

    def give_up(self) -> None:
        """No more reports come."""
        if self.error is None:
            self.error = KafkaError(KafkaError._FATAL, "the producer came to an end")
        self._line.answer(self.done)

    def seal(self) -> None:
        """No more are put."""
        self._sealed = True
        if self._came == self.put:
            self._line.answer(self.done)


async def _put_all(producer: Producer, messages: Sequence[Message], delivery: _Delivery) -> None:
    for place, message in enumerate(messages):
        while not put(producer, message, delivery):
            await asyncio.sleep(_FULL_S)  # the thread of reports makes room
        if delivery.error is not None:
            return  # what comes behind must not overtake it
        if place % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)


def put(producer: Producer, message: Message, delivery: Any) -> bool:
    """Put a message into the client's queue; False where that is full."""
    topic = topic_of(message.target)
    try:
        producer.produce(
            topic, message.value, message.key,
            on_delivery=delivery, headers=list(message.headers) or None,
        )  # fmt: skip
    except BufferError:
        return False
    except (KafkaException, TypeError, ValueError) as error:
        delivery.refused(fault_of(error), message.target)
    else:
        delivery.put += 1
    return True
