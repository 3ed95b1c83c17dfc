"""app.publish() and `splice events publish`: requests of a program and of a file become events."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from kafka_house import Topics, read, reader

import splice
from splice.app.settings import load
from splice.core.errors import (
    BusError,
    Draining,
    InputMismatch,
    SettingsError,
    Stopped,
    UnknownIntegration,
)
from splice.core.events import Event
from splice.serve.events.envelope import Envelopes


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [splice.Rule(lambda context: 0.5)]  # noqa: RUF012 - as a user writes it

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)


def app_of(folder: Path, toml: str = "") -> splice.App:
    (folder / "splice.toml").write_text(toml)
    return splice.App(Orders, settings=load(folder, {}))


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[splice.App]:
    async with app_of(tmp_path) as running:
        yield running


def taken(app: splice.App, queue: str = "orders") -> list[Event]:
    now_us = time.time_ns() // 1000
    queues = app.services.stores.queue
    found: list[Event] = []
    while some := queues.take(queue, 100, "test", now_us=now_us, lease_us=10**12):
        found += some
    return found


async def test_a_request_is_in_the_queue_when_publish_returns(app: splice.App) -> None:
    first = await app.publish(Orders, Order("c-1", 5.0))
    second = await app.publish("orders", {"customer": "c-2", "amount": 6.0}, key="k", id="e-2")

    events = taken(app)
    letters = [Envelopes().open(event) for event in events]
    assert [letter.id for letter in letters] == [first, second]
    assert second == "e-2"
    assert [event.key for event in events] == [b"c-1", b"k"]
    assert [json.loads(letter.body)["amount"] for letter in letters] == [5.0, 6.0]
    assert {letter.source for letter in letters} == {"/splice/orders/python"}


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"customer": "c"}, {}),
        ({"customer": "", "amount": 1.0}, {}),
        ({"customer": "c", "amount": float("nan")}, {}),
        ({"customer": "\ud800", "amount": 1.0}, {}),
        ({"customer": "c", "amount": 1.0}, {"id": ""}),
        ({"customer": "c", "amount": 1.0}, {"id": "a\nb"}),
    ],
)
async def test_what_is_not_of_the_type_is_refused_and_not_stored(
    app: splice.App, request_: Any, named: dict[str, str]
) -> None:
    with pytest.raises(InputMismatch):
        await app.publish(Orders, request_, **named)

    assert taken(app) == []


async def test_an_integration_that_is_stopped_gone_or_closing_takes_nothing(
    app: splice.App,
) -> None:
    with pytest.raises(UnknownIntegration):
        await app.publish("nobody", {})
    app.engine.line("orders").stopped = "a test"
    with pytest.raises(Stopped):
        await app.publish(Orders, Order("c", 1.0))
    app.engine.line("orders").stopped = ""
    app.drain()
    with pytest.raises(Draining):
        await app.publish(Orders, Order("c", 1.0))

    assert taken(app) == []


async def test_a_source_that_nothing_can_be_published_to_is_said(tmp_path: Path) -> None:
    toml = '[consume.orders]\nsource = "kafka:orders"\n'
    async with app_of(tmp_path, toml) as app:
        with pytest.raises(SettingsError, match=r"kafka\.servers"):
            await app.publish(Orders, Order("c", 1.0))

    async with app_of(tmp_path, '[consume.orders]\nsource = "table:orders"\n') as app:
        with pytest.raises(SettingsError, match=r"consume\.orders\.source"):
            await app.publish(Orders, Order("c", 1.0))


async def test_a_ledger_that_fails_is_an_error_of_the_bus(
    app: splice.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splice.core.errors import StoreError

    def put(*_: Any, **__: Any) -> list[int]:
        raise StoreError("ledger", got="a full disk")

    monkeypatch.setattr(app.services.stores.queue, "put", put)

    with pytest.raises(BusError, match="a full disk") as error:
        await app.publish(Orders, Order("c", 1.0))
    assert error.value.retryable


@pytest.mark.kafka
async def test_a_source_on_kafka_gets_the_event(tmp_path: Path, kafka: str, topics: Topics) -> None:
    topic = topics.make()
    toml = f'[kafka]\nservers = "{kafka}"\n[consume.orders]\nsource = "kafka:{topic}"\n'
    async with app_of(tmp_path, toml) as app:
        known = await app.publish(Orders, Order("c-1", 5.0))

    with reader(kafka, topic) as consumer:
        (message,) = read(consumer, 1)
    assert message.key() == b"c-1"
    assert dict(message.headers() or ())["ce_id"].decode() == known
    assert json.loads(message.value() or b"")["amount"] == 5.0


LINES = '{"customer": "c-1", "amount_eur": 5}\n\n{"customer": "c-2", "amount_eur": 6}\n'
EVENT = {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "t"}


def test_lines_of_a_file_are_published_and_answered_once_where_that_is_wanted(
    applied: Callable[[str], Any], orders: Any
) -> None:
    applied("")
    orders.write("in.jsonl", LINES)
    event = {**EVENT, "data": {"customer": "c", "amount_eur": 7.0}}
    orders.write("events.jsonl", json.dumps(event) + "\n")

    first = orders("events", "publish", "order-screening", "in.jsonl", "--once")
    again = orders("events", "publish", "order-screening", "in.jsonl", "--once")
    more = orders("events", "publish", "order-screening", "events.jsonl")
    consumed = orders("consume", "--until-empty", "--workers", "1")
    calls = orders("calls", "list", "--json")

    assert "2 events published" in first.out
    assert (again.code, more.code, consumed.code) == (0, 0, 0), consumed.err
    assert len(calls.json) == 3
    assert {call["entity"] for call in calls.json} == {"c-1", "c-2", "c"}


def test_a_wrong_line_is_named_and_those_before_it_are_published(
    applied: Callable[[str], Any], orders: Any
) -> None:
    applied("")
    orders.write("in.jsonl", LINES + '{"customer": "c"}\n' + LINES)

    ran = orders("events", "publish", "order-screening", "in.jsonl")
    gone = orders("events", "publish", "order-screening", "nowhere.jsonl")
    orders.write("bad.jsonl", '{"customer": "c"}\n')
    as_it_is = orders("events", "publish", "order-screening", "bad.jsonl", "--unchecked")

    assert ran.code == 2
    assert "in.jsonl:4: order-screening.input" in ran.err
    assert (gone.code, as_it_is.code) == (2, 0)
    stores = splice.App(settings=load(orders.folder, {}))._open()[0].stores
    assert stores.queue.depth("order-screening") == 3
    stores.close()
