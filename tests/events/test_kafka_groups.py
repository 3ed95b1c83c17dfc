"""Members of a group on a real Kafka: they come, go, stall and die, and no event is lost."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer
from kafka_house import Topics, produce
from kafka_member import PATIENCE_S, QUICK, Child, Member, new_group, until

from splice.adapters.buses.kafka import KafkaBus
from splice.adapters.buses.kafka_source import KafkaSource
from splice.core.errors import BusError, SettingsError
from splice.core.events import Event, Partition

pytestmark = pytest.mark.kafka


def write(servers: str, topic: str, numbers: range, partitions: int) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for number in numbers:
        producer.produce(topic, b"%d" % number, partition=number % partitions)
    assert producer.flush(60) == 0


def numbers(came: Sequence[Event]) -> list[int]:
    return [int(one.value or b"") for one in came]


async def more(source: KafkaSource, count: int) -> list[Event]:
    came: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(came) < count:
            came += await source.poll(5, 0.2)
    return came


def assert_in_order(came: Sequence[Event]) -> None:
    by_partition: dict[int, list[int]] = defaultdict(list)
    for one in came:
        by_partition[one.origin.partition].append(one.origin.offset)
    for offsets in by_partition.values():
        assert offsets == sorted(offsets)


async def test_members_that_come_and_go_have_each_event_once_and_in_order(
    kafka: str, topics: Topics
) -> None:
    topic, group = topics.make(6), new_group()
    bus = KafkaBus(kafka, QUICK)
    members = [Member(bus.source([topic], group, batch=20), pace_s=0.01) for _ in range(3)]
    write(kafka, topic, range(300), 6)

    def seen() -> int:
        return sum(len(one.came) for one in members)

    await members[0].start()
    await until(lambda: seen() > 60)
    await members[1].start()
    await until(lambda: members[1].ours)
    write(kafka, topic, range(300, 600), 6)
    await members[2].start()
    await until(lambda: members[2].ours and members[0].ours and members[1].ours)
    write(kafka, topic, range(600, 900), 6)
    await members[0].stop()
    await until(lambda: len(members[1].ours | members[2].ours) == 6)
    write(kafka, topic, range(900, 1200), 6)
    await until(lambda: seen() >= 1200, "every event")
    for one in members[1:]:
        await one.stop()

    assert sorted(n for one in members for n in numbers(one.came)) == list(range(1200))
    assert [one.strays for one in members] == [[], [], []]
    for one in members:
        assert_in_order(one.came)


async def test_what_was_read_ahead_of_partitions_that_went_is_not_given(
    kafka: str, topics: Topics
) -> None:
    topic, group = topics.make(2), new_group()
    write(kafka, topic, range(10), 2)
    bus = KafkaBus(kafka, QUICK)
    first, second = (Member(bus.source([topic], group, batch=50)) for _ in range(2))
    await first.source.start(first._assigned, first._revoked)
    await until(lambda: len(first.ours) == 2)
    reader = first.source._reader
    assert reader is not None
    await first.source.poll(1, 60)

    def ahead() -> set[int]:
        return {one.origin.partition for one in [*reader.buffer._now, *reader.buffer._next]}

    await until(lambda: ahead() == {0, 1})

    await second.start()
    await until(lambda: second.ours)
    came: list[Event] = []
    while batch := await first.source.poll(1000, 0.5):
        came += batch
    await first.source.close()
    await second.stop()

    assert came
    assert {(one.origin.stream, one.origin.partition) for one in came} <= first.ours


async def test_members_that_stay_keep_their_partitions_while_another_joins(
    kafka: str, topics: Topics
) -> None:
    topic, group = topics.make(4), new_group()
    bus = KafkaBus(kafka, QUICK)
    first, second = (Member(bus.source([topic], group)) for _ in range(2))
    await first.start()
    await until(lambda: len(first.ours) == 4)
    had = set(first.ours)

    taken: list[Partition] = []
    revoked = first._revoked

    async def note(partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        taken.extend(partitions)
        return await revoked(partitions, lost)

    first.source._reader._revoked = note  # type: ignore[union-attr]
    await second.start()
    await until(lambda: len(second.ours) == 2 and len(first.ours) == 2)
    await first.stop()
    await second.stop()

    assert len(taken) == 2
    assert set(taken) == had - first.ours


async def test_a_partition_that_comes_back_is_not_paused_any_more(
    kafka: str, topics: Topics
) -> None:
    topic, group = topics.make(2), new_group()
    bus = KafkaBus(kafka, QUICK)
    first, second = (Member(bus.source([topic], group)) for _ in range(2))
    await first.start()
    await until(lambda: len(first.ours) == 2)
    first.source.pause(list(first.ours))
    await asyncio.sleep(0.3)  # it is paused in the client as well

    await second.start()
    await until(lambda: len(first.ours) == 1)
    await second.stop()
    await until(lambda: len(first.ours) == 2)
    (kept,) = first.source._reader.buffer.paused  # type: ignore[union-attr]
    write(kafka, topic, range(10), 2)
    await until(lambda: len(first.came) == 5, "the partition that came back")
    first.source.resume([kept])
    await until(lambda: len(first.came) == 10)
    await first.stop()

    assert sorted(numbers(first.came)) == list(range(10))


async def test_what_a_killed_member_had_not_told_comes_to_the_others(
    kafka: str, topics: Topics
) -> None:
    come, go, group = topics.make(2), topics.make(1), new_group()
    write(kafka, come, range(100), 2)
    child = Child("hold", kafka, come, go, group, new_group())
    try:
        await asyncio.to_thread(child.next, "holds")
    finally:
        child.kill()

    member = Member(KafkaBus(kafka, QUICK).source([come], group))
    await member.start()
    await until(lambda: len(member.came) >= 100)
    await member.stop()

    assert sorted(numbers(member.came)) == list(range(100))
    assert_in_order(member.came)


async def test_a_loop_that_is_busy_for_long_keeps_its_partitions(
    kafka: str, topics: Topics
) -> None:
    topic = topics.make(1)
    write(kafka, topic, range(100), 1)
    quick = QUICK | {"session.timeout.ms": 2000, "max.poll.interval.ms": 2000}
    member = Member(KafkaBus(kafka, quick).source([topic], new_group(), batch=10))
    await member.source.start(member._assigned, member._revoked)
    came = list(await member.source.poll(5, 60))

    time.sleep(5)  # nothing of the loop runs, and a batch waits to be taken
    await until(lambda: member.ours)
    buffer = member.source._reader.buffer  # type: ignore[union-attr]
    assert len(buffer._now) + len(buffer._next) <= 20  # a batch, and one ahead
    came += await more(member.source, 100 - len(came))
    await member.source.commit({(came[0].origin.stream, 0): 100})
    await member.source.close()

    assert member.lost == []
    assert numbers(came) == list(range(100))


async def test_a_paused_partition_stays_with_its_member(kafka: str, topics: Topics) -> None:
    topic = topics.make(1)
    write(kafka, topic, range(100), 1)
    quick = QUICK | {"session.timeout.ms": 2000, "max.poll.interval.ms": 2000}
    member = Member(KafkaBus(kafka, quick).source([topic], new_group(), batch=10))
    await member.source.start(member._assigned, member._revoked)
    came = list(await member.source.poll(5, 60))
    place = came[0].origin.stream, 0
    member.source.pause([place])

    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:
        assert list(await member.source.poll(5, 0.1)) == []
    member.source.resume([place])
    came += await more(member.source, 100 - len(came))
    await member.source.close()

    assert member.lost == []
    assert numbers(came) == list(range(100))


async def test_a_commit_that_waits_for_an_answer_does_not_hold_up_a_rebalance(
    kafka: str, topics: Topics
) -> None:
    topic, group = topics.make(2), new_group()
    write(kafka, topic, range(10), 2)
    bus = KafkaBus(kafka, QUICK)
    told: list[dict[Partition, int]] = []
    first = Member(bus.source([topic], group, drain_s=60))

    async def revoked(partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        positions = {one: first.done[one] for one in partitions}
        await first.source.commit(positions)  # while the thread that commits waits for us
        told.append(positions)
        await first._revoked(partitions, lost)
        return {}

    await first.source.start(first._assigned, revoked)
    first._task = asyncio.create_task(first._run())
    await until(lambda: len(first.came) == 10)
    second = Member(bus.source([topic], group))
    await second.start()
    await until(lambda: second.ours)
    await first.stop()
    await second.stop()

    assert [set(one) for one in told] == [second.ours]
    assert second.came == []


async def test_positions_of_others_are_not_told(kafka: str, topic: str) -> None:
    produce(kafka, topic, b"1")
    source = KafkaBus(kafka, QUICK).source([topic], new_group())
    member = Member(source)
    await source.start(member._assigned, member._revoked)
    await until(lambda: member.ours)

    with pytest.raises(BusError, match="partition of another member") as refused:
        await source.commit({(source.stream, 7): 1})
    await source.close()

    assert refused.value.retryable


async def test_a_commit_after_the_end_is_refused(kafka: str, topic: str) -> None:
    source = KafkaBus(kafka, QUICK).source([topic], new_group())
    member = Member(source)
    await source.start(member._assigned, member._revoked)
    await source.close()

    with pytest.raises(BusError):
        await source.commit({(source.stream, 0): 1})


async def test_a_failure_as_partitions_come_is_told_to_who_reads(kafka: str, topic: str) -> None:
    produce(kafka, topic, b"1")
    source = KafkaBus(kafka, QUICK).source([topic], new_group())

    async def fails(partitions: Sequence[Partition]) -> None:
        raise BusError("marks", got="a broken disk")

    async def revoked(partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        return {}

    await source.start(fails, revoked)
    with pytest.raises(BusError, match="a broken disk"):
        await source.poll(1, 60)
    await source.close()


async def test_a_drain_that_takes_too_long_is_given_up(kafka: str, topics: Topics) -> None:
    topic, group = topics.make(2), new_group()
    bus = KafkaBus(kafka, QUICK)
    first = Member(bus.source([topic], group))
    gone: list[Partition] = []

    async def never(partitions: Sequence[Partition], lost: bool) -> dict[Partition, int]:
        gone.extend(partitions)
        await asyncio.Event().wait()
        return {}

    first.source._plan = first.source._plan._replace(drain_s=0.5)
    await first.source.start(first._assigned, never)
    await until(lambda: len(first.ours) == 2)
    second = Member(bus.source([topic], group))
    await second.start()
    await until(lambda: second.ours)
    await second.stop()
    await first.source.close()

    assert len(gone) == 1


async def test_an_unknown_topic_is_named_at_the_start(kafka: str) -> None:
    source = KafkaBus(kafka).source(["splice-test-nobody"], new_group())
    member = Member(source)

    with pytest.raises(BusError, match=r"kafka:splice-test-nobody.*[Cc]reate the topic") as refused:
        await source.start(member._assigned, member._revoked)

    assert not refused.value.retryable


async def test_a_broker_that_does_not_answer_is_told_at_the_start() -> None:
    source = KafkaBus("127.0.0.1:1", reach_s=1.0).source(["t"], new_group())
    member = Member(source)

    with pytest.raises(BusError, match=r"kafka\.servers") as refused:
        await source.start(member._assigned, member._revoked)

    assert refused.value.retryable


async def test_a_wrong_option_is_named_and_its_value_is_not_shown(kafka: str, topic: str) -> None:
    for options in (
        {"sasl.mechanism": "PLAIN", "security.protocol": "s3cret"},
        {"isolation.level": "s3cret"},
        {"ssl.key.pem": "s3cret", "security.protocol": "SSL"},
        {"no.such.option": "s3cret"},
    ):
        bus = KafkaBus(kafka, options)
        source = bus.source([topic], new_group())
        member = Member(source)
        with pytest.raises(SettingsError, match=r"kafka\.options\.[a-z.]+") as refused:
            await source.start(member._assigned, member._revoked)
        shown = f"{refused.value} {refused.value.__cause__} {bus!r}"
        assert "s3cret" not in shown

    with pytest.raises(SettingsError, match=r"enable\.auto\.commit"):
        KafkaBus(kafka, {"enable.auto.commit": True})
