"""Events that a model in this process answers as they are taken: many at once, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec
import pytest
from consumer_house import STREAM, MemorySource, MemoryStream, Running, consuming

import splice
from splice.core.call import Prediction
from splice.core.errors import StoreError
from splice.core.events import Event, Origin, Settled
from splice.engine.routing.batched import Batched
from splice.ports.events import EventStore
from splice.ports.stores import CallFilter
from splice.serve.events import settler
from splice.serve.events.lanes import Taken
from splice.serve.events.settler import Settler
from splice.testing.fakes import ScriptedModel


class Order(splice.Request):
    number: int


class Answer(splice.Reply):
    number: int


class Scored(splice.Integration):
    """Its rule is replaced by a model."""

    request, reply = Order, Answer
    routes: ClassVar = [splice.Rule(lambda context: float(context["number"]))]

    def decide(self, order: Order, prediction: splice.Prediction) -> Answer:
        return Answer(order.number)


class Model(ScriptedModel):
    """Notes how often the event loop came round between its runs, and calls `then` in the first."""

    def __init__(self, *, row_seconds: float = 0.000001, sleeps: float = 0.0) -> None:
        super().__init__(
            lambda context: context["number"] / 1e6, row_seconds=row_seconds, sleeps=sleeps
        )
        self.turns, self.turns_at = 0, list[int]()
        self.then: Callable[[], None] = lambda: None

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        if not self.turns_at:
            self.then()
        self.turns_at.append(self.turns)
        return super().run(rows)

    async def count_turns(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turns += 1


@asynccontextmanager
async def scoring(
    folder: Path, topic: MemoryStream, model: Model, count: int = 0, **terms: object
) -> AsyncIterator[Running]:
    """A consumer whose line has that model, before it reads an event; so many are put."""
    source = MemorySource(topic)
    source.paused.update((STREAM, partition) for partition in range(len(topic.events)))
    async with consuming(folder, Scored, source, **terms) as running:
        running.app.engine.lines["scored"].steps[0].predictor = Batched(model, "m")
        fill(topic, count, keyed=True)
        source.paused.clear()
        yield running


def fill(topic: MemoryStream, count: int, *, keyed: bool = False) -> None:
    """So many events, each under a key of its own or all without."""
    for number in range(count):
        topic.put(b'{"number":%d}' % number, key=b"%d" % number if keyed else None)


class Settling:
    """The transactions of a store of events, each of which may be held up."""

    def __init__(self, running: Running) -> None:
        self.sizes: list[int] = []
        self.away = False
        self._settle, running.stores.events.settle = running.stores.events.settle, self

    def __call__(self, settled: Sequence[Settled], **named: Any) -> Sequence[Settled]:
        if self.away:
            raise StoreError("ledger", got="away")
        self.sizes.append(len(settled))
        return self._settle(settled, **named)


async def until(true: Callable[[], object]) -> None:
    """Wait for it; a test that hangs is ended by the run."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


async def numbers(running: Running) -> list[int]:
    """The numbers of all stored replies."""
    await running.app.services.recorder.flush()
    found = running.stores.records.find(CallFilter(limit=100_000))
    records = running.stores.records.get_many([one.call_id for one in found])
    return [msgspec.json.decode(one.reply or b"")["number"] for one in records.values()]


async def test_a_full_batch_is_taken_answered_and_stored_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "_GATHER_S", 3600.0)
    model, topic = Model(), MemoryStream(1)
    async with scoring(tmp_path, topic, model, max_in_flight=10) as running:
        settling = Settling(running)
        fill(topic, 5000, keyed=True)
        await running.until_committed({0: 5000})

        assert settling.sizes == [4000, 1000]
        assert sorted(await numbers(running)) == list(range(5000))
    assert model.batches == [1024, 1024, 1024, 928, 1000]


async def test_small_batches_of_a_queue_that_is_full_are_stored_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "_EXPECT_S", 3600.0)
    model, topic, count = Model(), MemoryStream(1), 3 * settler._SOME + 7
    async with scoring(tmp_path, topic, model, max_batch=20) as running:
        settling = Settling(running)
        fill(topic, count, keyed=True)
        await running.until_committed({0: count})

        assert all(size >= settler._SOME for size in settling.sizes[:-1]), settling.sizes
        assert sum(settling.sizes) == count
        assert sorted(await numbers(running)) == list(range(count))
    assert max(model.batches) == 20


async def test_what_waits_for_more_is_stored_soon_where_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    class Store:
        def settle(self, settled: Sequence[Settled], *, now_us: int) -> Sequence[Settled]:
            sizes.append(len(settled))
            return ()

    async def nothing(*_: object) -> None:
        pass

    event = Event(Origin(STREAM, 0, 0), None, b"")
    finished = [Taken(event, (STREAM, 0), settled=Settled(event))]
    with ThreadPoolExecutor(1) as threads:
        storing = Settler(cast("EventStore", Store()), threads, nothing)
        storing.start()
        storing.expect(more=True)
        for _ in range(3):
            storing.put(finished)
        await until(lambda: sizes == [3])  # by its time alone

        monkeypatch.setattr(settler, "_EXPECT_S", 3600.0)
        await until(lambda: storing.idle)
        storing.put(finished)
        await asyncio.sleep(0.1)
        assert sizes == [3]
        storing.expect(more=False)
        await until(lambda: sizes == [3, 1])
        await storing.stop()


async def test_what_a_slow_model_answered_is_stored_while_it_goes_on(tmp_path: Path) -> None:
    model, topic = Model(row_seconds=0.0009, sleeps=0.05), MemoryStream(1)
    async with scoring(tmp_path, topic, model) as running:
        settling = Settling(running)
        fill(topic, 1000)
        await running.until_committed({0: 1000})

        assert len(settling.sizes) > 1
        assert sorted(await numbers(running)) == list(range(1000))
    assert max(model.batches) == 64


async def test_the_loop_comes_round_within_a_batch(tmp_path: Path) -> None:
    model, topic = Model(), MemoryStream(1)
    turning = asyncio.create_task(model.count_turns())
    async with scoring(tmp_path, topic, model, 4000) as running:
        await running.until_committed({0: 4000})
    turning.cancel()

    turns = model.turns_at
    assert len(set(turns)) >= 4, "one long stretch"


async def test_what_the_ledger_has_not_taken_is_bounded(tmp_path: Path) -> None:
    model, topic = Model(), MemoryStream(1)
    async with scoring(tmp_path, topic, model) as running:
        settling = Settling(running)
        settling.away = True
        fill(topic, 30_000)
        while running.consumer.in_flight < 12_000:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        read, in_flight = running.source.read[STREAM, 0], running.consumer.in_flight
        settling.away = False
        await running.until_committed({0: 30_000})

        assert 12_000 <= read == in_flight < 12_000 + 4000
        assert running.stores.records.count("scored") == 30_000
        assert max(settling.sizes) <= 4000


async def test_a_stop_within_a_batch_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    topic, first, second = MemoryStream(1), Model(), Model()
    async with scoring(tmp_path, topic, first) as running:
        first.then = running.consumer.stop
        fill(topic, 4000)
        await running.task
        answered = sum(first.batches)

        assert 0 < answered < 4000
        assert topic.committed[STREAM, 0] == answered
    async with scoring(tmp_path, topic, second) as running:
        await running.until_committed({0: 4000})

        assert sorted(await numbers(running)) == list(range(4000))
    assert sum(second.batches) == 4000 - answered
