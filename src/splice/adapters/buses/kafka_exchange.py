"""Messages and positions in one transaction of Kafka: `read_committed` sees both, or none.

Whoever has the transactional id last is the one that counts; and positions are told in the name of
a member, so that one that was thrown out of its group is refused, whatever its id.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from splice.adapters.buses.kafka_errors import bus_error, fault_of, is_fenced, log
from splice.adapters.buses.kafka_options import CONSUMER, PRODUCER, client
from splice.adapters.buses.kafka_sink import put
from splice.adapters.buses.kafka_source import KafkaSource
from splice.adapters.buses.kafka_teller import places_of
from splice.core.errors import BusError
from splice.core.events import Message
from splice.ports.buses import Positions

T = TypeVar("T")

_STEP_S = 5.0
_FULL_S = 0.02
_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_TIMEOUT_MS = 60_000  # Kafka's default: after it the broker ends an open transaction


class _Open(NamedTuple):
    """A transaction that is to be committed, and is not known to be."""

    producer: Producer
    tag: str  # stands beside the positions, so that they tell whose they are
    positions: Positions
    messages: frozenset[tuple[str, str]]  # also those that one before had sent
    begun: float


class KafkaExchange:
    """An Exchange on Kafka, for one source.

    Args:
        given: Options of the user.
        source: Whose positions are told.
        transaction_id: Of this worker alone.
        patience_s: How long one exchange may take, while the broker is away.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        source: KafkaSource,
        transaction_id: str,
        *,
        patience_s: float = 20.0,
    ) -> None:
        self._given, self._source = given, source
        self._own = {
            "transactional.id": transaction_id,
            "enable.idempotence": True,
            # With "rebootstrap", the default since librdkafka 2.11, a producer whose only broker
            # was away asks a group coordinator that it has thrown away, and waits for ever.
            "metadata.recovery.strategy": "none",
            "retry.backoff.ms": 10,  # the broker needs less to end the transaction before
            # That all were delivered is what the commit says: a report a message costs more than
            # the message.
            "delivery.report.only.error": True,
        }
        self._where = f"kafka transaction {transaction_id}"
        self._patience_s = patience_s
        self._timeout_s = int(given.get("transaction.timeout.ms", _TIMEOUT_MS)) / 1000
        self._thread = ThreadPoolExecutor(1, "exchange")
        self._producer: Producer | None = None
        self._unknown: _Open | None = None
        self._fenced: BusError | None = None
        # What was asked of the last transaction that was committed. Whoever did not hear of that,
        # as it was cancelled or gave up waiting, asks again for the same.
        self._sent: frozenset[tuple[str, str]] = frozenset()

    async def start(self) -> None:
        """Take the transactional id: whoever had it is fenced, and what it left open is gone.

        Raises:
            BusError: No broker answers, or this user may not have the id.
        """
        await self._run(self._ready)

    async def exchange(self, messages: Sequence[Message], positions: Positions) -> None:
        """Both, or neither. What the last one sent already is not sent again."""
        await self._run(lambda: self._exchange(messages, dict(positions)))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._run(self._discard)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # In the thread.

    def _ready(self) -> Producer:
        if self._fenced is not None:  # a new producer would fence the one that has taken over
            raise self._fenced
        if self._producer is None:
            producer = client(Producer, PRODUCER, self._given, self._own)
            try:
                _again(time.monotonic() + self._patience_s, producer.init_transactions)
            except KafkaException as error:
                raise bus_error(fault_of(error), self._where) from error
            self._producer = producer
        return self._producer

    def _exchange(self, messages: Sequence[Message], positions: Positions) -> None:
        until = time.monotonic() + self._patience_s
        if self._unknown is not None:
            self._commit(self._unknown, until)  # what became of it; `_sent` says so
        if not (messages or positions):
            return
        producer = self._ready()
        membership = self._source.membership(positions)
        ids = frozenset([(one.id, one.target) for one in messages])
        if not ids.isdisjoint(self._sent):
            messages = [one for one in messages if (one.id, one.target) not in self._sent]
        opened = _Open(producer, uuid.uuid4().hex, positions, ids, time.monotonic())
        reports = _Reports()
        try:
            producer.begin_transaction()
            _fill(producer, messages, reports, until)
            if positions:
                places = places_of(positions, opened.tag)
                _again(
                    until,
                    lambda left: producer.send_offsets_to_transaction(places, membership, left),
                )
        except KafkaException as raised:
            error: KafkaError | None = fault_of(raised)
            self._undo(opened, fault_of(raised))
        else:
            self._unknown = opened
            error = self._commit(opened, until)
        if error is not None:
            raise bus_error(reports.error or error, reports.where or self._where)

    def _undo(self, opened: _Open, why: KafkaError) -> None:
        """End it without a trace; what cannot be aborted is ended by the next producer of its id.

        Raises:
            Fenced: Another has the id.
        """
        if not self._is_broken(opened, why):
            try:
                _again(time.monotonic() + _STEP_S, opened.producer.abort_transaction)
            except KafkaException as error:
                if not self._is_broken(opened, fault_of(error)):
                    self._discard()

    def _is_broken(self, opened: _Open, why: KafkaError) -> bool:
        """Whether the producer is of no more use; then it is gone.

        Raises:
            Fenced: Another has the id.
        """
        fenced = is_fenced(why)
        if not (fenced or why.fatal() or why.code() == KafkaError._FATAL):
            return False
        self._discard()
        # The broker says the same to one that was fenced and to one that was too slow.
        if fenced and time.monotonic() - opened.begun < self._timeout_s - 1:
            self._unknown = None
            self._fenced = bus_error(why, self._where)
            raise self._fenced
        return True

    def _commit(self, opened: _Open, until: float) -> KafkaError | None:
        """Commit, or find out whether it was; gives why it was not.

        Raises:
            BusError: Nobody can say now; the next exchange begins by asking again.
            Fenced: Another has the id.
        """
        why = KafkaError(KafkaError._FAIL, "the broker ended the transaction")
        if opened.producer is self._producer:
            try:
                _again(until, opened.producer.commit_transaction)
            except KafkaException as error:
                why = fault_of(error)
                if why.retriable():
                    raise bus_error(why, self._where, retryable=True) from error
                if not self._is_broken(opened, why):
                    self._undo(opened, why)
                    self._unknown = None
                    return why
            else:
                return self._committed(opened)
        self._ready()  # which ends what the broker has still open
        if self._is_committed(opened):
            return self._committed(opened)
        self._unknown = None
        log.warning("%s: a transaction was not committed, and is made again: %s", self._where, why)
        return KafkaError(KafkaError._FAIL, why.str())

    def _committed(self, opened: _Open) -> None:
        self._unknown, self._sent = None, opened.messages

    def _is_committed(self, opened: _Open) -> bool:
        """Whether its positions are the group's, by their tag."""
        own = {"group.id": self._source.group}
        asking = client(Consumer, CONSUMER, self._given, own)
        try:
            places = asking.committed(places_of(opened.positions), self._patience_s)
        except KafkaException as error:
            raise bus_error(fault_of(error), self._where, retryable=True) from error
        finally:
            asking.close()
        if error := next((one.error for one in places if one.error is not None), None):
            raise bus_error(error, self._where, retryable=True)
        return any(place.metadata == opened.tag for place in places)

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()


class _Reports:
    """The first message that was not delivered."""

    def __init__(self) -> None:
        self.error: KafkaError | None = None
        self.where = ""
        self.put = 0
        self.purged = False

    def __call__(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self.refused(error, f"kafka:{message.topic()}")

    def refused(self, error: KafkaError, where: str) -> None:
        """It was not even put into the queue."""
        if error.code() in _PURGED:  # which says nothing of why
            self.purged = True
        elif self.error is None:
            self.error, self.where = error, where


def _fill(producer: Producer, messages: Sequence[Message], reports: _Reports, until: float) -> None:
    for message in messages:
        while not put(producer, message, reports):
            if time.monotonic() > until:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the queue stays full"))
            producer.poll(_FULL_S)
        if reports.error is not None:
            raise KafkaException(reports.error)
    # Positions that are told while messages are on their way are refused at first, as the broker
    # still ends the transaction before: with this a transaction takes 6 ms, without it 80.
    while _again(until, producer.flush):
        if time.monotonic() > until:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "messages are not delivered"))
    if reports.error is not None:
        raise KafkaException(reports.error)
    if reports.purged:
        raise KafkaException(KafkaError(KafkaError._FAIL, "messages were thrown away unsent"))


def _again(until: float, step: Callable[[float], T]) -> T:
    """What a step gives; it is asked for again where its error says so, at least once."""
    while True:
        try:
            return step(max(0.1, min(_STEP_S, until - time.monotonic())))
        except SystemError:
            # Reports were served while the client had an error to raise: the next call raises it.
            if time.monotonic() > until:
                raise
        except KafkaException as error:
            if not fault_of(error).retriable() or time.monotonic() > until:
                raise
