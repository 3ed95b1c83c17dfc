"""A broker that is killed and comes back: readers and writers go on by themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from broker import Broker
from kafka_house import Topics, produce, read_all
from kafka_member import QUICK, Member, copy_batch, new_group, until
from test_kafka_exchange import committed_values

from splice.adapters.buses.kafka import KafkaBus
from splice.adapters.buses.kafka_sink import KafkaSink
from splice.core.errors import BusError
from splice.core.events import Event, Message

pytestmark = pytest.mark.kafka


async def send(sink: KafkaSink, messages: Sequence[Message]) -> list[str]:
    """As an outbox does: again, until they are there. Gives what went wrong meanwhile."""
    wrong: list[str] = []
    while True:
        try:
            await sink.send(messages)
        except BusError as error:
            if not error.retryable:
                raise
            wrong.append(str(error))
            await asyncio.sleep(0.1)
        else:
            return wrong


async def test_a_reader_and_a_writer_go_on_when_their_broker_is_back(own_broker: Broker) -> None:
    await asyncio.to_thread(own_broker.start)
    servers, topics, group = own_broker.servers, Topics(own_broker.servers), new_group()
    topic = topics.make()
    bus = KafkaBus(servers, QUICK, delivery_s=2.0)
    sink, source = bus.sink(), bus.source([topic], group)
    member = Member(source)
    await send(sink, [Message(str(n), f"kafka:{topic}", b"k", b"%d" % n) for n in range(100)])
    await source.start(member._assigned, member._revoked)
    troubles: list[BusError] = []

    async def run() -> None:
        while True:
            try:
                for event in await source.poll(20, 0.2):
                    member.came.append(event)
            except BusError as error:
                troubles.append(error)
                await asyncio.sleep(0.1)

    reading = asyncio.create_task(run())
    await until(lambda: len(member.came) == 100)
    await source.commit({(source.stream, 0): 50})

    await asyncio.to_thread(own_broker.kill)
    sending = asyncio.create_task(
        send(sink, [Message(str(n), f"kafka:{topic}", b"k", b"%d" % n) for n in range(100, 200)])
    )
    await until(lambda: troubles, "that the broker is away")
    await asyncio.sleep(3)  # longer than a delivery may take
    await asyncio.to_thread(own_broker.start)
    wrong = await sending
    await until(lambda: {int(e.value or b"") for e in member.came} == set(range(200)))
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(BusError):
                await source.commit({(source.stream, 0): 150})
                break
    reading.cancel()
    await source.close()
    await sink.close()

    assert wrong
    assert all(error.retryable for error in troubles)
    assert read_all(servers, topic, 1, group_id=group) == [b"150"]


async def test_each_event_is_exchanged_once_although_the_broker_is_killed(
    own_broker: Broker,
) -> None:
    await asyncio.to_thread(own_broker.start)
    servers, topics, group = own_broker.servers, Topics(own_broker.servers), new_group()
    come, go = topics.make(), topics.make()
    values = [b"%d" % number for number in range(600)]
    produce(servers, come, *values)
    bus = KafkaBus(servers, QUICK | {"transaction.timeout.ms": 60_000})
    source = bus.source([come], group)
    exchange = bus.exchange(source, new_group())
    member = Member(source)
    done = 0
    await exchange.start()
    await source.start(member._assigned, member._revoked)

    async def run() -> None:
        nonlocal done
        while done < 600:
            try:
                turn = member.turn
                events = await source.poll(5, 0.2)
                if not events:  # as a consumer does: else nobody is told where to read on
                    await exchange.exchange((), {})
                while events and member.turn == turn:  # else they come again
                    if await exchanged(events):
                        done, events = events[-1].origin.offset + 1, ()
                        await asyncio.sleep(0.01)
            except BusError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(0.1)

    async def exchanged(events: Sequence[Event]) -> bool:
        messages = [Message(str(e.origin), f"kafka:{go}", e.key, e.value) for e in events]
        try:
            await exchange.exchange(messages, {(source.stream, 0): events[-1].origin.offset + 1})
        except BusError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.1)
            return False
        return True

    running = asyncio.create_task(run())
    await until(lambda: done > 100 or running.done())
    await asyncio.to_thread(own_broker.kill)
    await asyncio.to_thread(own_broker.start)
    await running
    await exchange.close()
    await source.close()

    assert committed_values(servers, go) == values


async def test_closing_while_the_broker_is_away_ends(own_broker: Broker) -> None:
    await asyncio.to_thread(own_broker.start)
    servers, topics = own_broker.servers, Topics(own_broker.servers)
    come, go = topics.make(), topics.make()
    produce(servers, come, b"1")
    bus = KafkaBus(servers, QUICK)
    source, sink = bus.source([come], new_group()), bus.sink()
    exchange = bus.exchange(source, new_group())
    exchange._patience_s = 2.0
    member = Member(source)
    await exchange.start()
    await source.start(member._assigned, member._revoked)
    await copy_batch(source, exchange, f"kafka:{go}", 5)
    await sink.send([Message("1", f"kafka:{go}", None, b"1")])

    await asyncio.to_thread(own_broker.kill)
    with pytest.raises(BusError) as away:
        await exchange.exchange([Message("2", f"kafka:{go}", None, b"2")], {(source.stream, 0): 2})
    await exchange.close()
    await source.close()
    await sink.close()

    assert away.value.retryable
