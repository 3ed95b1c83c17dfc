"""What a consumer promises, on a real ledger and a stream that breaks when it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from consumer_house import STREAM, MemoryExchange, MemorySource, MemoryStream, consuming

import splice
from splice.core.call import Status
from splice.core.errors import BusError, Fenced, StoreError
from splice.core.events import DeadLetter, Inbox, Mark, Settled, body_digest, place_id
from splice.ports.stores import CallFilter

PARTITION = (STREAM, 0)


class Order(splice.Request):
    number: int
    fails: int = 0  # so often its call fails


class Answer(splice.Reply):
    number: int


class World:
    """What the rules of these tests see and do."""

    calls: ClassVar[list[int]] = []
    failed: ClassVar[dict[int, int]] = defaultdict(int)
    gate: ClassVar[asyncio.Event | None] = None
    running: ClassVar[set[int]] = set()
    beside: ClassVar[dict[int, int]] = {}  # how many ran at once, while this one did

    @classmethod
    def most(cls) -> int:
        return max(cls.beside.values())


@pytest.fixture(autouse=True)
def world() -> type[World]:
    World.calls, World.failed, World.gate = [], defaultdict(int), None
    World.running, World.beside = set(), {}
    return World


def number_of(context: Mapping) -> float:
    World.calls.append(context["number"])
    return float(context["number"])


class Quick(splice.Integration):
    """Answers at once."""

    request, reply = Order, Answer
    routes: ClassVar = [splice.Rule(number_of)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Answer:
        return Answer(order.number)


class Slow(Quick):
    """Gathers for a while, and fails where it is told to."""

    async def context(self, order: Order, look: splice.Lookup) -> dict:
        World.running.add(order.number)
        for one in World.running:
            World.beside[one] = max(World.beside.get(one, 0), len(World.running))
        try:
            if World.gate is not None:
                await World.gate.wait()
            await asyncio.sleep(0.001)
            if World.failed[order.number] < order.fails:
                World.failed[order.number] += 1
                raise OSError("away")
        finally:
            World.running.discard(order.number)
        return {"number": order.number}

    deadline = "30 s"


def order(number: int, **more: int) -> bytes:
    return json.dumps({"number": number, **more}).encode()


def stream(count: int, partitions: int = 1, keys: int = 0) -> MemoryStream:
    made = MemoryStream(partitions)
    for number in range(count):
        key = f"k{number % keys}".encode() if keys else None
        made.put(order(number), key=key, partition=number % partitions)
    return made


async def numbers(running) -> list[int]:
    """The numbers of the answered calls, oldest first."""
    records = running.stores.records
    found = records.find(CallFilter(limit=10_000))
    whole = records.get_many([one.call_id for one in found if one.status is Status.ANSWERED])
    return [json.loads(whole[one].input)["number"] for one in sorted(whole)]


def whole_letters(running) -> list[DeadLetter]:
    """The dead letters with their bytes, which a list leaves out."""
    store = running.stores.dead_letters
    return [store.dead_letter(one.id) for one in store.dead_letters()]


@pytest.mark.parametrize("integration", [Quick, Slow])
async def test_every_event_is_answered_once_and_the_position_moves_to_the_end(
    tmp_path: Path, integration: type[splice.Integration]
) -> None:
    source = MemorySource(stream(500, partitions=3))
    async with consuming(tmp_path, integration, source, max_batch=64) as running:
        await running.until_committed({0: 167, 1: 167, 2: 166})

        assert sorted(await numbers(running)) == list(range(500))
        assert sorted(World.calls) == list(range(500))


async def test_what_comes_again_is_not_asked_again(tmp_path: Path) -> None:
    topic = stream(50)
    async with consuming(tmp_path, Quick, MemorySource(topic)) as running:
        await running.until_committed({0: 50})
    topic.committed.clear()
    async with consuming(tmp_path, Quick, MemorySource(topic)) as running:
        await running.until_committed({0: 50})

        assert running.stores.records.count() == 50
    assert len(World.calls) == 50


async def test_one_id_is_answered_once_wherever_it_stands(tmp_path: Path) -> None:
    topic = MemoryStream(2)
    head = ((b"specversion", b"1.0"), (b"id", b"e-1"), (b"source", b"/shop"), (b"type", b"order"))
    headers = tuple((f"ce_{name.decode()}", value) for name, value in head)
    for partition in (0, 1, 0):
        topic.put(order(7), headers=headers, partition=partition)
    async with consuming(tmp_path, Slow, MemorySource(topic)) as running:
        await running.until_committed({0: 2, 1: 1})

        assert await numbers(running) == [7]
    assert World.calls == [7]


async def test_doubles_of_what_cannot_be_answered_are_dead_letters_each(tmp_path: Path) -> None:
    topic = MemoryStream(2)
    headers = tuple(
        (f"ce_{name}", value.encode())
        for name, value in {"specversion": "1.0", "id": "e", "source": "/s", "type": "t"}.items()
    )
    for partition in (0, 1, 0):
        topic.put(b'{"number": "x"}', headers=headers, partition=partition)
    async with consuming(tmp_path, Quick, MemorySource(topic)) as running:
        await running.until_committed({0: 2, 1: 1})

        assert len(running.stores.dead_letters.dead_letters()) == 3


async def test_an_id_with_another_body_is_a_dead_letter_that_says_so(tmp_path: Path) -> None:
    topic = MemoryStream()
    headers = tuple(
        (f"ce_{name}", value.encode())
        for name, value in {"specversion": "1.0", "id": "e", "source": "/s", "type": "t"}.items()
    )
    topic.put(order(1), headers=headers)
    topic.put(order(2), headers=headers)
    async with consuming(tmp_path, Quick, MemorySource(topic)) as running:
        await running.until_committed({0: 2})
        dead = whole_letters(running)

        assert [(one.code, one.event.value) for one in dead] == [("event_id_reused", order(2))]
        assert await numbers(running) == [1]


async def test_events_of_a_key_run_in_their_order_and_keys_side_by_side(tmp_path: Path) -> None:
    source = MemorySource(stream(90, keys=9))
    async with consuming(tmp_path, Slow, source) as running:
        await running.until_committed({0: 90})

    for key in range(9):
        assert [one for one in World.calls if one % 9 == key] == list(range(key, 90, 9))
    assert 1 < World.most() <= 9


async def test_a_failing_event_holds_back_its_partition_and_keeps_its_place(tmp_path: Path) -> None:
    topic = MemoryStream()
    topic.put(order(0, fails=2), key=b"k")
    topic.put(order(1), key=b"k")
    topic.put(order(2), key=b"other")
    source = MemorySource(topic)
    async with consuming(tmp_path, Slow, source) as running:
        await running.until_committed({0: 3})

        assert [one for one in World.calls if one != 2] == [0, 1]
        assert source.pauses == [PARTITION, PARTITION]
        assert source.paused == set()
        failed = running.stores.records.find(CallFilter(status=Status.FAILED))
        assert len(failed) == 2
        assert running.stores.dead_letters.dead_letters() == []


async def test_an_event_that_fails_too_often_is_kept_with_its_bytes_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    topic = MemoryStream()
    topic.put(order(0, fails=99), key=b"k", headers=(("x", b"\xff"),))
    topic.put(order(1), key=b"k")
    async with consuming(tmp_path, Slow, MemorySource(topic), attempts=3) as running:
        await running.until_committed({0: 2})
        (dead,) = whole_letters(running)

        assert (dead.code, dead.attempts) == ("context_failed", 3)
        assert (dead.event.value, dead.event.key) == (order(0, fails=99), b"k")
        assert dead.event.headers == (("x", b"\xff"),)
        assert dead.event.origin == topic.events[0][0].origin
    assert World.failed[0] == 3
    assert World.calls == [1]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"{", "malformed_body"),
        (b'{"number": "x"}', "input_mismatch"),
        (b'{"number": 1, "number": 2}', None),
        (b'{"number": NaN}', "malformed_body"),
        (b"[" * 100_000, None),
        (b"", "bad_event"),
        (None, "bad_event"),
        (b'{"number": 1, "x": "' + b"y" * 20_000_000 + b'"}', None),
        (b"\x00\x00\x00", None),
        (b"\xff\xfe", "malformed_body"),
    ],
    ids=lambda one: repr(one)[:30],
)
async def test_what_is_no_request_is_a_dead_letter_at_once_and_the_next_is_answered(
    tmp_path: Path, value: bytes | None, code: str | None
) -> None:
    topic = MemoryStream()
    topic.put(value, key=b"k")
    topic.put(order(1), key=b"k")
    async with consuming(tmp_path, Quick, MemorySource(topic)) as running:
        await running.until_committed({0: 2})
        dead = whole_letters(running)

        assert len(dead) == 1
        assert dead[0].event.value == value
        assert code in (None, dead[0].code)
        assert await numbers(running) == [1]


async def test_no_more_is_taken_up_than_may_be_in_flight(tmp_path: Path) -> None:
    World.gate = asyncio.Event()
    source = MemorySource(stream(100))
    async with consuming(tmp_path, Slow, source, max_in_flight=10) as running:
        while len(World.running) < 10:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        read, in_flight = source.read[PARTITION], running.consumer.in_flight
        World.gate.set()
        await running.until_committed({0: 100})

    assert (read, in_flight, World.most()) == (10, 10, 10)


async def test_a_ledger_that_is_away_loses_and_doubles_nothing(tmp_path: Path) -> None:
    source = MemorySource(stream(200))
    async with consuming(tmp_path, Quick, source, max_batch=20) as running:
        store, settle, left = running.stores.events, running.stores.events.settle, [4]

        def sometimes(*arguments, **named):
            if left[0]:
                left[0] -= 1
                raise StoreError("ledger", got="away")
            return settle(*arguments, **named)

        store.settle = sometimes
        await running.until_committed({0: 200})

        assert left == [0]
        assert sorted(await numbers(running)) == list(range(200))
    assert len(World.calls) == 200


async def test_a_stopped_integration_holds_its_events_and_counts_no_attempt(tmp_path: Path) -> None:
    source = MemorySource(stream(5))
    async with consuming(tmp_path, Quick, source, attempts=1) as running:
        releases = running.stores.releases
        await running.until_committed({0: 5})
        releases.set_stopped("quick", "by a test", by="t", now_us=1)
        while not running.app.engine.lines["quick"].stopped:
            await asyncio.sleep(0.01)
        source.topic.put(order(5))
        while running.consumer.in_flight == 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.2)
        held = source.topic.committed[PARTITION]
        releases.set_stopped("quick", "", by="t", now_us=2)
        await running.until_committed({0: 6})

        assert held == 5
        assert running.stores.dead_letters.dead_letters() == []
        assert sorted(await numbers(running)) == [0, 1, 2, 3, 4, 5]


async def test_partitions_that_are_taken_away_are_finished_first_and_read_on_by_the_next(
    tmp_path: Path,
) -> None:
    topic = stream(400, partitions=2)
    source = MemorySource(topic)
    async with consuming(tmp_path, Slow, source, max_in_flight=60, max_batch=10) as running:
        while len(World.calls) < 50:
            await asyncio.sleep(0.001)
        positions = await source.take_away([PARTITION])
        position = positions.get(PARTITION, topic.committed.get(PARTITION, 0))
        answered = [one for one in await numbers(running) if one % 2 == 0]
        await source.give([PARTITION])
        await running.until_committed({0: 200, 1: 200})

        assert sorted(answered) == [2 * n for n in range(position)]
        assert sorted(await numbers(running)) == list(range(400))
    assert len(World.calls) == 400


async def test_partitions_that_are_lost_are_not_committed(tmp_path: Path) -> None:
    World.gate = asyncio.Event()
    topic = stream(20)
    source = MemorySource(topic)
    async with consuming(tmp_path, Slow, source) as running:
        while len(World.running) < 20:
            await asyncio.sleep(0.01)
        positions = await source.take_away([PARTITION], lost=True)
        World.gate.set()
        while running.consumer.in_flight:
            await asyncio.sleep(0.01)

        assert positions == {}
        assert source.commits == []
        assert len(await numbers(running)) == 20  # they were asked and paid: recorded all the same


async def test_events_that_were_running_when_a_process_died_run_alone_and_are_counted(
    tmp_path: Path,
) -> None:
    topic = stream(30)
    async with consuming(tmp_path, Slow, MemorySource(topic)) as running:
        await running.until_committed({0: 30})
    for number in range(30, 40):
        topic.put(order(number))
    World.beside = {}
    async with consuming(tmp_path, Slow, MemorySource(topic, [])) as running:
        running.stores.events.begin("splice-slow", {PARTITION: Mark(34)})
        await running.source.give([PARTITION])
        await running.until_committed({0: 40})
        attempts = running.stores.events.attempts("splice-slow", PARTITION, 0)

        assert sorted(await numbers(running)) == list(range(40))
    assert [World.beside[one] for one in range(30, 35)] == [1] * 5
    assert World.most() > 1
    assert attempts == {}


async def test_an_event_that_killed_its_process_each_time_is_a_dead_letter(tmp_path: Path) -> None:
    topic = stream(3)
    async with consuming(tmp_path, Quick, MemorySource(topic, []), attempts=3) as running:
        store = running.stores.events
        store.begin("splice-quick", {PARTITION: Mark(1)})
        store.count_attempt("splice-quick", [topic.events[0][0]])
        store.count_attempt("splice-quick", [topic.events[0][0]])
        await running.source.give([PARTITION])
        await running.until_committed({0: 3})
        (dead,) = whole_letters(running)

        assert (dead.code, dead.attempts) == ("attempts_exhausted", 3)
        assert dead.event.origin.offset == 0
        assert sorted(await numbers(running)) == [1, 2]


async def test_decisions_go_with_the_position_and_in_the_order_of_their_events(
    tmp_path: Path,
) -> None:
    topic = stream(60, keys=7)
    exchange = MemoryExchange(topic)
    exchange.failures = [BusError("kafka"), BusError("kafka")]
    async with consuming(
        tmp_path, Slow, MemorySource(topic), exchange=exchange, targets=["kafka:decisions"]
    ) as running:
        await running.until_committed({0: 60})

        assert running.stores.outbox.outbox_size() == 0
    sent = [json.loads(one.value or b"")["number"] for one in exchange.messages]
    assert sent == list(range(60))


async def test_a_decision_that_was_stored_and_not_sent_is_sent_when_its_event_comes_again(
    tmp_path: Path,
) -> None:
    topic = stream(10)
    first = MemoryExchange(topic)
    first.failures = [BusError("kafka")] * 1000
    targets = ["kafka:decisions"]
    async with consuming(
        tmp_path, Quick, MemorySource(topic), exchange=first, targets=targets
    ) as running:
        while len(await numbers(running)) < 10:
            await asyncio.sleep(0.01)
    second = MemoryExchange(topic)
    async with consuming(
        tmp_path, Quick, MemorySource(topic), exchange=second, targets=targets
    ) as running:
        await running.until_committed({0: 10})

        assert running.stores.records.count() == 10
    assert first.messages == []
    assert [json.loads(one.value or b"")["number"] for one in second.messages] == list(range(10))
    assert World.calls == list(range(10))


async def test_what_another_decided_meanwhile_is_sent_by_who_has_the_partition(
    tmp_path: Path,
) -> None:
    topic = stream(3)
    event = topic.events[0][1]
    exchange = MemoryExchange(topic)
    async with consuming(
        tmp_path, Slow, MemorySource(topic, []), exchange=exchange, targets=["kafka:decisions"]
    ) as running:
        theirs = (await running.app.ask("slow", {"number": 1})).record.call_id
        await running.app.services.recorder.flush()
        World.gate = asyncio.Event()
        await running.source.give([PARTITION])
        while len(World.running) < 3:
            await asyncio.sleep(0.01)
        # The reader before us, which has lost the partition, stores what it decided.
        row = Inbox(place_id("slow", event.origin), body_digest(event.value or b""), theirs)
        running.stores.events.settle([Settled(event, None, row)], now_us=1)
        World.gate.set()
        await running.until_committed({0: 3})

    assert [json.loads(one.value or b"")["number"] for one in exchange.messages] == [0, 1, 2]
    assert dict(exchange.messages[1].headers)["ce_id"] == theirs.encode()


async def test_what_another_decided_is_sent_once_by_who_has_the_partition_back(
    tmp_path: Path,
) -> None:
    topic = stream(1)
    event = topic.events[0][0]
    exchange, source = MemoryExchange(topic), MemorySource(topic, [])
    async with consuming(
        tmp_path, Slow, source, exchange=exchange, targets=["kafka:decisions"]
    ) as running:
        theirs = (await running.app.ask("slow", {"number": 0})).record.call_id
        await running.app.services.recorder.flush()
        World.gate = asyncio.Event()
        await source.give([PARTITION])
        while not World.running:
            await asyncio.sleep(0.01)
        await source.take_away([PARTITION], lost=True)
        row = Inbox(place_id("slow", event.origin), body_digest(event.value or b""), theirs)
        running.stores.events.settle([Settled(event, None, row)], now_us=1)
        await source.give([PARTITION])
        await running.until_committed({0: 1})  # while ours runs on
        World.gate.set()
        while running.consumer.in_flight:
            await asyncio.sleep(0.01)
        topic.put(order(1))
        await running.until_committed({0: 2})

    sent = [dict(one.headers)["ce_id"] for one in exchange.messages]
    assert sent[0] == theirs.encode()
    assert [json.loads(one.value or b"")["number"] for one in exchange.messages] == [0, 1]


async def test_who_was_fenced_ends_with_that_word(tmp_path: Path) -> None:
    topic = stream(10)
    exchange = MemoryExchange(topic)
    exchange.failures = [Fenced("kafka", got="another process")]
    async with consuming(
        tmp_path, Quick, MemorySource(topic), exchange=exchange, targets=["kafka:decisions"]
    ) as running:
        with pytest.raises(Fenced):
            await running.task

        assert running.source.closed
    assert topic.committed == {}


async def test_without_an_exchange_decisions_wait_in_the_outbox(tmp_path: Path) -> None:
    topic = stream(10)
    async with consuming(
        tmp_path, Quick, MemorySource(topic), targets=["kafka:decisions", "https://h.example/x"]
    ) as running:
        await running.until_committed({0: 10})

        assert running.stores.outbox.outbox_size() == 20


async def test_a_failing_event_moves_to_its_delayed_topic_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    topic = MemoryStream()
    topic.put(order(0, fails=1), key=b"k")
    topic.put(order(1), key=b"k")
    topics = (("kafka:orders.retry-30s", 30.0),)
    async with consuming(tmp_path, Slow, MemorySource(topic), retry_topics=topics) as running:
        await running.until_committed({0: 2})
        (waiting,) = running.stores.outbox.take_outbox(
            ["kafka"], 10, "t", now_us=4_000_000_000_000_000, lease_us=1
        )

        assert waiting.message.target == "kafka:orders.retry-30s"
        assert waiting.message.value == order(0, fails=1)
    assert World.calls == [1]


async def test_a_bus_that_is_away_is_asked_again(tmp_path: Path) -> None:
    source = MemorySource(stream(5))
    source.broken = BusError("kafka", got="away")
    async with consuming(tmp_path, Quick, source) as running:
        while not running.consumer.trouble:
            await asyncio.sleep(0.01)
        source.broken = None
        await running.until_committed({0: 5})

    assert World.calls == list(range(5))


async def test_a_stop_lets_what_runs_end_and_leaves_the_rest(tmp_path: Path) -> None:
    World.gate = asyncio.Event()
    topic = stream(100, keys=5)
    async with consuming(tmp_path, Slow, MemorySource(topic), max_in_flight=50) as running:
        while len(World.running) < 5:
            await asyncio.sleep(0.01)
        running.consumer.stop()
        await asyncio.sleep(0.05)
        World.gate.set()
        await running.task

        assert World.calls == [0, 1, 2, 3, 4]
        assert topic.committed == {PARTITION: 5}
        assert running.stores.events.marks("splice-slow", [PARTITION]) == {}


async def test_events_that_come_again_while_they_are_stored_are_sent_with_their_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = stream(20)
    exchange, source = MemoryExchange(topic), MemorySource(topic)
    async with consuming(
        tmp_path, Quick, source, exchange=exchange, targets=["kafka:decisions"]
    ) as running:
        store, stuck, go_on = running.consumer._kit.events, threading.Event(), threading.Event()
        settle = store.settle

        def stalled(*args: Any, **named: Any) -> Any:
            stuck.set()
            assert go_on.wait(60)
            return settle(*args, **named)

        monkeypatch.setattr(running.consumer._settler._store, "settle", stalled)
        await asyncio.to_thread(stuck.wait, 60)
        while source.read[PARTITION] < 20:
            await asyncio.sleep(0.01)
        await source.take_away([PARTITION], lost=True)
        await source.give([PARTITION])
        while source.read[PARTITION] < 20:
            await asyncio.sleep(0.01)
        go_on.set()
        await running.until_committed({0: 20})

        sent = [json.loads(one.value or b"")["number"] for one in exchange.messages]
        assert sent == list(range(20))


async def test_events_that_come_again_while_they_run_are_sent_once(tmp_path: Path) -> None:
    World.gate = asyncio.Event()
    topic = stream(20)
    exchange, source = MemoryExchange(topic), MemorySource(topic)
    async with consuming(
        tmp_path, Slow, source, exchange=exchange, targets=["kafka:decisions"]
    ) as running:
        while len(World.running) < 20:
            await asyncio.sleep(0.01)
        await source.take_away([PARTITION], lost=True)
        await source.give([PARTITION])
        while source.read[PARTITION] < 20:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # they wait for those that run
        World.gate.set()
        await running.until_committed({0: 20})
        while running.consumer.in_flight:
            await asyncio.sleep(0.01)
        for number in range(20, 40):
            topic.put(order(number))
        await running.until_committed({0: 40})

    sent = [json.loads(one.value or b"")["number"] for one in exchange.messages]
    assert sent == list(range(40))
    assert sorted(World.calls) == list(range(40))
