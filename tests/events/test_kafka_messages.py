"""Messages to and from a real Kafka that are odd, large, refused, or read as history."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_house import Topics, produce, read, read_all, reader
from kafka_member import Member, new_group, until
from rdkafka import break_for_good, produce_with_header

from splice.adapters.buses.kafka import KafkaBus
from splice.adapters.buses.kafka_events import UNREADABLE
from splice.adapters.buses.kafka_sink import KafkaSink
from splice.core.errors import BusError
from splice.core.events import Event, Message

pytestmark = pytest.mark.kafka


@pytest.fixture
def bus(kafka: str) -> KafkaBus:
    return KafkaBus(kafka, {"topic.metadata.propagation.max.ms": 500})


@pytest.fixture
async def sink(bus: KafkaBus) -> AsyncIterator[KafkaSink]:
    made = bus.sink()
    yield made
    await made.close()


def message(topic: str, value: bytes = b"1") -> Message:
    return Message("1", f"kafka:{topic}", b"k", value)


async def came(bus: KafkaBus, topic: str, count: int) -> list[Event]:
    member = Member(bus.source([topic], new_group()))
    await member.start()
    await until(lambda: len(member.came) >= count)
    await member.stop()
    return member.came


async def test_an_event_of_20_mb_comes_and_goes(bus: KafkaBus, sink: KafkaSink, topic: str) -> None:
    large = os.urandom(20_000_000)

    await sink.send([message(topic, large), message(topic)])

    first, second = await came(bus, topic, 2)
    assert first.value == large
    assert second.value == b"1"


async def test_times_are_those_of_the_sender_from_1970_to_2100(
    kafka: str, bus: KafkaBus, topics: Topics
) -> None:
    topic = topics.make(message_timestamp_after_max_ms=str(2**63 - 1))
    producer = Producer({"bootstrap.servers": kafka})
    for at_ms in (1, 4_102_444_800_000, 1_700_000_000_123):
        producer.produce(topic, b"1", timestamp=at_ms)
    producer.flush(60)

    events = await came(bus, topic, 3)

    assert [one.at_us for one in events] == [
        1000, 4_102_444_800_000_000, 1_700_000_000_123_000,
    ]  # fmt: skip


async def test_header_values_are_bytes_and_names_that_are_not_text_lose_only_the_headers(
    kafka: str, bus: KafkaBus, topic: str
) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(200):  # CPython calls what is called often in another way
        producer.produce(topic, b"%d" % number, headers=[("a", b"\xff\xfe"), ("ü", None)])
    producer.flush(60)
    for number in range(200, 205):
        produce_with_header(producer, topic, b"%d" % number, b"\xff\xfe")
    produce(kafka, topic, b"205")

    events = await came(bus, topic, 206)

    assert [int(one.value or b"") for one in events] == list(range(206))
    assert {one.headers for one in events[:200]} == {(("a", b"\xff\xfe"), ("ü", b""))}
    assert {one.headers for one in events[200:205]} == {((UNREADABLE, b""),)}
    assert events[205].headers == ()


async def test_a_topic_that_does_not_exist_is_named_and_not_tried_again(sink: KafkaSink) -> None:
    with pytest.raises(BusError, match="kafka:splice-test-nobody") as refused:
        await sink.send([message("splice-test-nobody")])

    assert not refused.value.retryable
    assert "create the topic" in refused.value.mend


async def test_a_message_too_large_for_its_topic_is_not_tried_again(
    topics: Topics, sink: KafkaSink, kafka: str
) -> None:
    small = topics.make(1, max_message_bytes="1000")

    with pytest.raises(BusError, match=small) as refused:
        await sink.send([message(small, os.urandom(5000))])
    await sink.send([message(small, b"fits")])

    assert not refused.value.retryable
    assert read_all(kafka, small, 1) == [b"fits"]


async def test_a_full_queue_is_waited_for(kafka: str, topic: str) -> None:
    sink = KafkaBus(kafka, {"queue.buffering.max.messages": 10}).sink()
    values = [b"%d" % number for number in range(500)]

    await sink.send([message(topic, value) for value in values])
    await sink.close()

    assert read_all(kafka, topic, 500) == values


async def test_a_producer_that_is_broken_for_good_is_replaced(
    sink: KafkaSink, topic: str, kafka: str
) -> None:
    await sink.send([message(topic, b"1")])
    sending = sink._sending
    assert sending is not None

    break_for_good(sending.producer)
    await until(lambda: sending.is_dead)
    await sink.send([message(topic, b"2")])

    assert read_all(kafka, topic, 2) == [b"1", b"2"]


@pytest.mark.parametrize("after_s", [0, 0.001, 0.005])
async def test_messages_that_are_on_their_way_as_it_breaks_are_there_or_told(
    sink: KafkaSink, topic: str, kafka: str, after_s: float
) -> None:
    await sink.send([message(topic, b"first")])
    sending = sink._sending
    assert sending is not None

    on_their_way = asyncio.create_task(sink.send([message(topic)] * 3000))
    await asyncio.sleep(after_s)
    break_for_good(sending.producer)
    async with asyncio.timeout(60):
        (ended,) = await asyncio.gather(on_their_way, return_exceptions=True)
    await until(lambda: sending.is_dead)
    await sink.send([message(topic, b"last")])

    assert ended is None or (isinstance(ended, BusError) and ended.retryable)
    if ended is None:
        assert read_all(kafka, topic, 3002)[-1] == b"last"


async def test_a_message_for_a_broker_that_is_away_fails_in_its_time() -> None:
    sink = KafkaBus("127.0.0.1:1", delivery_s=1.0).sink()

    with pytest.raises(BusError) as away:
        await sink.send([message("t"), message("t")])
    await sink.close()

    assert away.value.retryable


async def test_keys_are_placed_as_javas_clients_place_them(
    bus: KafkaBus, sink: KafkaSink, topics: Topics, kafka: str
) -> None:
    topic = topics.make(7)
    hashes = {  # as Java's own test has them
        b"21": -973932308, b"foobar": -790332482, b"abc": 479470107,
        b"a-little-bit-long-string": -985981536, b"a-little-bit-longer-string": -1486304829,
    }  # fmt: skip
    keys = list(hashes)

    await sink.send([Message(str(n), f"kafka:{topic}", key, key) for n, key in enumerate(keys)])

    with reader(kafka, topic) as consumer:
        found = {m.key(): m.partition() for m in read(consumer, len(keys))}
    assert found == {key: (number & 0x7FFFFFFF) % 7 for key, number in hashes.items()}


def test_a_range_ends_where_the_topic_ended_when_it_was_made(
    kafka: str, bus: KafkaBus, topics: Topics
) -> None:
    topic = topics.make(3)
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(3000):
        producer.produce(topic, b"%d" % number, partition=number % 3)
    producer.flush(60)

    history = bus.read(topic)
    produce(kafka, topic, *[b"later"] * 10)
    events = list(history)
    history.close()

    assert history.start == {0: 0, 1: 0, 2: 0}
    assert history.end == history.next == {0: 1000, 1: 1000, 2: 1000}
    for partition in range(3):
        mine = [int(e.value or b"") for e in events if e.origin.partition == partition]
        assert mine == list(range(partition, 3000, 3))


def test_a_range_goes_on_where_it_was_left(kafka: str, bus: KafkaBus, topics: Topics) -> None:
    topic = topics.make(2)
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(100):
        producer.produce(topic, b"%d" % number, partition=number % 2)
    producer.flush(60)
    first = bus.read(topic, {0: 10, 1: 20}, {0: 40, 1: 50})
    reading = iter(first)
    events = [next(reading) for _ in range(25)]
    first.close()

    again = bus.read(topic, first.next, first.end)
    events += again
    again.close()

    offsets = sorted((e.origin.partition, e.origin.offset) for e in events)
    assert offsets == [*((0, n) for n in range(10, 40)), *((1, n) for n in range(20, 50))]


def test_a_range_may_be_bounded_by_times(kafka: str, bus: KafkaBus, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for at_ms in (1000, 2000, 3000, 4000):
        producer.produce(topic, b"%d" % at_ms, timestamp=at_ms)
    producer.flush(60)

    middle = bus.read(topic, 2_000_000, 4_000_000)
    open_ended = bus.read(topic, 3_000_000, 9_000_000)
    nothing = bus.read(topic, 9_000_000)

    assert [e.value for e in middle] == [b"2000", b"3000"]
    assert [e.value for e in open_ended] == [b"3000", b"4000"]
    assert list(nothing) == []
    for one in (middle, open_ended, nothing):
        one.close()


def test_a_range_ends_although_its_last_offsets_are_marks_of_transactions(
    kafka: str, bus: KafkaBus, topic: str
) -> None:
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions(60)
    for value, end in (
        (b"1", producer.commit_transaction),
        (b"2", producer.abort_transaction),
        (b"3", producer.commit_transaction),
    ):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(60)
        end(60)

    history = bus.read(topic)

    assert [e.value for e in history] == [b"1", b"3"]
    assert history.next == history.end == {0: 6}
    history.close()


def test_a_range_of_no_topic_or_partition_or_of_what_is_gone_says_so(
    kafka: str, bus: KafkaBus, topic: str
) -> None:
    with pytest.raises(BusError, match="splice-test-nobody"):
        bus.read("splice-test-nobody")
    with pytest.raises(BusError, match="a partition that the topic has not"):
        bus.read(topic, {5: 0})
    with pytest.raises(BusError) as away:
        KafkaBus("127.0.0.1:1", reach_s=1.0).read(topic)
    assert away.value.retryable


def test_history_that_the_topic_keeps_no_more_is_an_error_and_not_a_gap(
    kafka: str, bus: KafkaBus, topics: Topics
) -> None:
    topic = topics.make()
    produce(kafka, topic, *[b"%d" % number for number in range(10)])
    admin = AdminClient({"bootstrap.servers": kafka})
    for one in admin.delete_records([TopicPartition(topic, 0, 5)]).values():
        one.result(60)

    kept = bus.read(topic)
    lost = bus.read(topic, {0: 2})

    assert [e.value for e in kept] == [b"5", b"6", b"7", b"8", b"9"]
    with pytest.raises(BusError) as refused:
        list(lost)
    assert not refused.value.retryable
    kept.close()
    lost.close()


async def test_twenty_sends_at_once_are_all_there_when_they_return(
    bus: KafkaBus, sink: KafkaSink, topic: str, kafka: str
) -> None:
    await asyncio.gather(*[sink.send([message(topic, b"%d" % n)]) for n in range(20)])

    history = await asyncio.to_thread(bus.read, topic)
    assert history.end == {0: 20}
    history.close()
