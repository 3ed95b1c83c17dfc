"""Messages and positions in one transaction of a real Kafka: both, or none, whoever dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafka_house import Topics, produce, reader
from kafka_member import QUICK, Child, Member, copy_batch, new_group, until

from splice.adapters.buses.kafka import KafkaBus
from splice.adapters.buses.kafka_exchange import KafkaExchange
from splice.core.errors import BusError, Fenced
from splice.core.events import Message, Partition

pytestmark = pytest.mark.kafka


def committed_values(servers: str, topic: str) -> list[bytes]:
    """What a reader of what is committed sees, up to the end of what is."""
    with reader(servers, topic, enable_partition_eof=True) as consumer:
        found: list[bytes] = []
        while True:
            message = consumer.poll(60)
            assert message is not None
            if message.error() is not None:
                return found
            found.append(message.value() or b"")


def position(servers: str, group: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})
    (place,) = consumer.committed([TopicPartition(topic, 0)], 60)
    consumer.close()
    return place.offset


class Both:
    """A topic that is read, one that is written, and a member that exchanges."""

    def __init__(self, servers: str, topics: Topics, **options: str | int) -> None:
        self.servers, self.come, self.go = servers, topics.make(), topics.make()
        self.group, self.identity = new_group(), new_group()
        self.bus = KafkaBus(servers, QUICK | {k.replace("_", "."): v for k, v in options.items()})
        self.source = self.bus.source([self.come], self.group)
        self.exchange = self.bus.exchange(self.source, self.identity)
        self.member = Member(self.source)

    @property
    def place(self) -> Partition:
        return self.source.stream, 0

    def message(self, number: int, value: bytes = b"") -> Message:
        return Message(str(number), f"kafka:{self.go}", b"k", value or b"%d" % number)

    async def start(self) -> None:
        await self.exchange.start()
        await self.source.start(self.member._assigned, self.member._revoked)
        await until(lambda: self.member.ours)

    async def close(self) -> None:
        await self.exchange.close()
        await self.source.close()


@pytest.fixture
async def both(kafka: str, topics: Topics) -> AsyncIterator[Both]:
    made = Both(kafka, topics)
    produce(kafka, made.come, *[b"%d" % number for number in range(10)])
    await made.start()
    yield made
    await made.close()


async def test_messages_are_read_and_positions_are_told(both: Both) -> None:
    await both.exchange.exchange([both.message(1), both.message(2)], {both.place: 3})
    await both.exchange.exchange([both.message(3)], {both.place: 4})
    await both.exchange.exchange([], {both.place: 5})
    await both.exchange.exchange([], {})

    assert committed_values(both.servers, both.go) == [b"1", b"2", b"3"]
    assert position(both.servers, both.group, both.come) == 5


async def test_a_message_that_is_refused_takes_all_others_back(both: Both) -> None:
    await both.exchange.exchange([both.message(1)], {both.place: 1})
    nobody = Message("x", "kafka:splice-test-nobody", None, b"1")

    with pytest.raises(BusError, match="splice-test-nobody") as refused:
        await both.exchange.exchange([both.message(2), nobody, both.message(3)], {both.place: 4})
    assert not refused.value.retryable
    await both.exchange.exchange([both.message(4)], {both.place: 5})

    assert committed_values(both.servers, both.go) == [b"1", b"4"]
    assert position(both.servers, both.group, both.come) == 5


async def test_positions_of_others_take_the_messages_back(both: Both) -> None:
    with pytest.raises(BusError, match="partition of another member") as refused:
        await both.exchange.exchange([both.message(1)], {(both.source.stream, 9): 1})

    assert refused.value.retryable
    assert committed_values(both.servers, both.go) == []


async def test_what_was_sent_is_not_sent_again_by_who_did_not_hear_of_it(both: Both) -> None:
    exchanging = asyncio.create_task(
        both.exchange.exchange([both.message(1), both.message(2)], {both.place: 2})
    )
    await asyncio.sleep(0)
    exchanging.cancel()
    await asyncio.gather(exchanging, return_exceptions=True)

    await both.exchange.exchange(
        [both.message(1), both.message(2), both.message(3)], {both.place: 3}
    )

    assert committed_values(both.servers, both.go) == [b"1", b"2", b"3"]
    assert position(both.servers, both.group, both.come) == 3


async def test_who_takes_the_id_fences_the_one_that_had_it_for_good(both: Both) -> None:
    await both.exchange.exchange([both.message(1)], {both.place: 1})
    second = KafkaExchange(both.bus._given, both.source, both.identity)
    await second.start()

    for _ in range(2):
        with pytest.raises(Fenced):
            await both.exchange.exchange([both.message(2, b"zombie")], {both.place: 2})
    await second.exchange([both.message(2)], {both.place: 2})
    await second.close()

    assert committed_values(both.servers, both.go) == [b"1", b"2"]


async def test_what_a_dead_one_left_open_is_ended_by_who_has_its_id_next(
    kafka: str, topics: Topics
) -> None:
    both = Both(kafka, topics)
    dead = Producer({"bootstrap.servers": kafka, "transactional.id": both.identity})
    dead.init_transactions(60)
    dead.begin_transaction()
    dead.produce(both.go, b"left open")
    dead.flush(60)
    produce(kafka, both.come, b"1")

    await both.start()
    await both.exchange.exchange([both.message(1)], {both.place: 1})
    await both.close()

    assert committed_values(kafka, both.go) == [b"1"]


async def test_a_commit_whose_end_nobody_heard_of_is_found_by_its_tag(both: Both) -> None:
    producer = both.exchange._ready()
    commit, commits = producer.commit_transaction, 0

    class Deaf:
        """The producer, but the answer to its commit is lost on the way."""

        def __getattr__(self, name: str) -> object:
            return getattr(producer, name)

        def commit_transaction(self, timeout: float) -> None:
            nonlocal commits
            commits += 1
            commit(timeout)
            raise KafkaException(KafkaError(KafkaError._FATAL, "gone", fatal=True))

    both.exchange._producer = Deaf()  # type: ignore[assignment]

    await both.exchange.exchange([both.message(1)], {both.place: 1})
    await both.exchange.exchange([both.message(1), both.message(2)], {both.place: 2})

    assert commits == 1
    assert committed_values(both.servers, both.go) == [b"1", b"2"]
    assert position(both.servers, both.group, both.come) == 2


class Unheard:
    """A producer whose commits are made; that each has been is said only when it is asked again."""

    def __init__(self, producer: Producer) -> None:
        self._producer, self._made = producer, False
        self.commits = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._producer, name)

    def commit_transaction(self, timeout: float) -> None:
        if self._made:
            self._made = False
            return
        self._producer.commit_transaction(timeout)
        self._made, self.commits = True, self.commits + 1
        time.sleep(0.2)  # its patience
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer yet", retriable=True))


async def test_two_commits_in_a_row_that_nobody_heard_of_double_nothing(both: Both) -> None:
    both.exchange._patience_s = 0.1
    deaf = Unheard(both.exchange._ready())
    both.exchange._producer = deaf  # type: ignore[assignment]
    asked: list[Message] = []

    for number in (1, 2, 3):
        asked.append(both.message(number))  # what was settled meanwhile goes with what is in doubt
        with pytest.raises(BusError) as unheard:
            await both.exchange.exchange(asked, {both.place: number})
        assert unheard.value.retryable
    await both.exchange.exchange((), {})

    assert both.exchange._unknown is None
    assert deaf.commits == 3
    assert committed_values(both.servers, both.go) == [b"1", b"2", b"3"]
    assert position(both.servers, both.group, both.come) == 3


async def test_a_transaction_the_broker_gave_up_is_made_again(kafka: str, topics: Topics) -> None:
    both = Both(kafka, topics, transaction_timeout_ms=1500)
    produce(kafka, both.come, b"1")
    await both.start()
    producer = both.exchange._ready()

    class Slow:
        """The producer, in a process that was stopped between two steps."""

        def __getattr__(self, name: str) -> object:
            return getattr(producer, name)

        def commit_transaction(self, timeout: float) -> None:
            time.sleep(6)  # until the broker has ended it
            producer.commit_transaction(timeout)

    both.exchange._producer = Slow()  # type: ignore[assignment]

    with pytest.raises(BusError) as given_up:
        await both.exchange.exchange([both.message(1)], {both.place: 1})
    assert given_up.value.retryable
    assert not isinstance(given_up.value, Fenced)
    await both.exchange.exchange([both.message(1)], {both.place: 1})
    await both.close()

    assert committed_values(kafka, both.go) == [b"1"]


async def test_a_zombie_of_the_group_exchanges_nothing(kafka: str, topics: Topics) -> None:
    come, go, group = topics.make(), topics.make(), new_group()
    produce(kafka, come, *[b"%d" % number for number in range(5)])
    zombie = Child("hold", kafka, come, go, group, new_group())
    try:
        await asyncio.to_thread(zombie.next, "holds")
        os.kill(zombie.process.pid, signal.SIGSTOP)
        both = Both(kafka, topics)
        both.come, both.go, both.group = come, go, group
        both.source = both.bus.source([come], group)
        both.exchange = both.bus.exchange(both.source, both.identity)
        both.member = Member(both.source)
        await both.start()  # it has the partition once the group has given the other up
        copied = 0
        while copied < 5:
            copied += len(await copy_batch(both.source, both.exchange, f"kafka:{go}", 5))

        zombie.tell()
        os.kill(zombie.process.pid, signal.SIGCONT)
        answer = await asyncio.to_thread(zombie.next, "refused")
        await both.close()
    finally:
        zombie.kill()

    assert answer["code"] in ("bus_error", "fenced")
    assert committed_values(kafka, go) == [b"%d" % number for number in range(5)]
    assert position(kafka, group, come) == 5


async def test_each_event_is_answered_once_however_often_its_member_is_killed(
    kafka: str, topics: Topics
) -> None:
    come, go, group, identity = topics.make(), topics.make(), new_group(), new_group()
    values = [b"%d" % number for number in range(400)]
    produce(kafka, come, *values)
    moment = random.Random(4)
    for _ in range(3):
        child = Child("copy", kafka, come, go, group, identity)
        try:
            await asyncio.to_thread(child.next, "copied")
            await asyncio.sleep(moment.uniform(0, 0.1))
        finally:
            child.kill()

    bus = KafkaBus(kafka, QUICK)
    source = bus.source([come], group)
    exchange = bus.exchange(source, identity)
    member = Member(source)
    await exchange.start()
    await source.start(member._assigned, member._revoked)
    while position(kafka, group, come) < 400:
        await copy_batch(source, exchange, f"kafka:{go}", 100)
    await exchange.close()
    await source.close()

    assert committed_values(kafka, go) == values
