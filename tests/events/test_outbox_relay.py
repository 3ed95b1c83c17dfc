"""A relay sends what applications wrote: in order for each key, and none is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from outbox_house import Place, Shop, away, postgres_shop, postgres_url, refused, shop

from splice import outbox
from splice.adapters.outboxes.sql import SqlOutboxTable
from splice.core.errors import BusError, SettingsError, StoreError
from splice.core.events import Message
from splice.ports.outboxes import Held
from splice.serve.events.outbox_messages import targets_of
from splice.serve.events.relay import Relay, RelayPlan

__all__ = ["postgres_shop", "postgres_url", "shop"]

PATIENCE_S = 60  # nothing is measured here
PLAN = RelayPlan("shop", ("kafka:outbox.event.{aggregatetype}",), poll_s=0.005, backoff_s=0.01)


class Clock:
    """Seconds that stand still until they are moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def table_of(shop: Shop, **options: Any) -> Iterator[SqlOutboxTable]:
    table = SqlOutboxTable(shop.url, **options)
    try:
        yield table
    finally:
        table.close()


def relay_of(
    shop: Shop, place: Place, plan: RelayPlan = PLAN, clock: Callable[[], float] = time.monotonic
) -> Relay:
    return Relay(SqlOutboxTable(shop.url), {"kafka": place, "queue": place}, plan, clock)


async def test_rows_are_sent_in_their_order_and_deleted(shop: Shop) -> None:
    ids = shop.add(*((f"o-{n % 3}", {"n": n}) for n in range(20)))
    place = Place()
    relay = relay_of(shop, place, PLAN)

    assert await relay.drain() == 20

    assert [one.id for one in place.got] == ids
    assert [one.key for one in place.got] == [b"o-%d" % (n % 3) for n in range(20)]
    assert {one.target for one in place.got} == {"kafka:outbox.event.order"}
    assert shop.waiting == 0
    await relay.close()


async def test_a_message_says_what_debezium_says_and_is_a_cloudevent(shop: Shop) -> None:
    with closing(shop.connect()) as connection:
        known = outbox.add(
            connection, aggregatetype="order", aggregateid="ö-1", type="OrderPlaced",
            payload={"amount": 5}, headers={"tenant": "blau", "id": "not mine"},
            traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )  # fmt: skip
        connection.commit()
    place = Place()
    relay = relay_of(shop, place)

    await relay.drain()

    (message,) = place.got
    headers = {name: value.decode() for name, value in message.headers}
    when = headers.pop("ce_time")
    assert message.id == headers.pop("id") == headers.pop("ce_id") == known
    assert (message.value or b"").replace(b" ", b"") == b'{"amount":5}'
    assert message.key == "ö-1".encode()
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "/outbox/order",
        "ce_type": "OrderPlaced",
        "ce_subject": "ö-1",
        "content-type": "application/json",
        "tenant": "blau",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    assert when.endswith("Z")
    await relay.close()


async def test_a_tombstone_has_no_value_and_bytes_stay_bytes(shop: Shop) -> None:
    if shop.kind == "postgresql":
        shop.run("ALTER TABLE outbox ALTER COLUMN payload TYPE bytea USING NULL")
    shop.add(("o-1", None), ("o-2", b"\x00\xff"))
    place = Place()
    relay = relay_of(shop, place)

    await relay.drain()

    assert place.bodies() == [None, b"\x00\xff"]
    assert "content-type" not in dict(place.got[1].headers)
    await relay.close()


async def test_debeziums_own_table_and_its_word_for_the_type_will_do(shop: Shop) -> None:
    json = "jsonb" if shop.kind == "postgresql" else "text"
    shop.run(
        f"CREATE TABLE outboxevent (id {'uuid' if json == 'jsonb' else 'text'} PRIMARY KEY, "
        "aggregatetype varchar(255), aggregateid varchar(255), type varchar(255), "
        f"payload {json}, at bigint)",
        "INSERT INTO outboxevent VALUES "
        "('4d47e190-0402-4048-bc2c-89dd54343cdc', 'order', '1', 'Placed', '{}', 2), "
        "('4d47e190-0402-4048-bc2c-89dd54343cdd', 'order', '1', 'Placed', '[]', 1)",
    )
    place = Place()
    plan = RelayPlan("shop", targets_of(["kafka:outbox.event.${routedByValue}"], "relay"))
    table = SqlOutboxTable(shop.url, "outboxevent", order_by="at")
    relay = Relay(table, {"kafka": place}, plan)

    await relay.drain()

    assert place.bodies("kafka:outbox.event.order") == [b"[]", b"{}"]
    assert shop.rows("SELECT count(*) FROM outboxevent") == [(0,)]
    await relay.close()


async def test_rows_can_be_marked_in_place_of_deleted(shop: Shop) -> None:
    ids = shop.add(("o-1", {}), ("o-2", {}))
    place = Place()
    relay = Relay(SqlOutboxTable(shop.url, mark=True), {"kafka": place}, PLAN)

    await relay.drain()
    more = shop.add(("o-3", {}))
    await relay.drain()

    assert [one.id for one in place.got] == ids + more
    assert shop.waiting == 3
    assert shop.rows("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == [(0,)]
    await relay.close()


@pytest.mark.postgres
async def test_a_row_that_is_committed_late_is_sent_though_later_ones_are_gone(
    postgres_shop: Shop,
) -> None:
    shop = postgres_shop  # SQLite has one writer: numbers and commits have one order
    place = Place()
    relay = relay_of(shop, place)

    with closing(shop.connect()) as late:
        outbox.add(late, aggregatetype="order", aggregateid="late", type="T", payload={"n": 1})
        shop.add(("early", {"n": 2}))
        assert await relay.drain() == 1
        late.commit()
    await relay.drain()

    assert [one.key for one in place.got] == [b"early", b"late"]
    await relay.close()


async def test_a_row_of_a_transaction_that_was_rolled_back_is_never_sent(shop: Shop) -> None:
    place = Place()
    relay = relay_of(shop, place)

    with closing(shop.connect()) as connection:
        outbox.add(connection, aggregatetype="order", aggregateid="1", type="T", payload={})
        assert await relay.drain() == 0
        connection.rollback()

    assert await relay.drain() == 0
    assert place.got == []
    await relay.close()


async def test_while_one_relay_sends_no_other_gets_a_row(shop: Shop) -> None:
    shop.add(("o-1", {}), ("o-2", {}))
    with table_of(shop) as first, table_of(shop) as second:
        taken = first.take(1, Held())

        assert second.take(10, Held()) is None

        first.done(taken or [])
        first.close()
        rest = second.take(10, Held())
        assert [row.aggregateid for row in rest or []] == ["o-2"]


def test_a_relay_that_died_is_followed_by_another_with_the_same_rows(shop: Shop) -> None:
    shop.add(("o-1", {}), ("o-2", {}))
    first = SqlOutboxTable(shop.url)
    taken = first.take(1, Held())
    first.close()  # as the system does for a process that was killed: see the next file

    with table_of(shop) as second:
        again = second.take(10, Held())

    assert taken
    assert [row.aggregateid for row in again or []] == ["o-1", "o-2"]
    assert shop.waiting == 2


async def test_the_application_can_write_while_a_batch_is_being_sent(shop: Shop) -> None:
    shop.add(("o-1", {}))
    wrote: list[str] = []

    class Slow(Place):
        async def send(self, messages: Any) -> None:
            if not wrote:
                wrote.extend(await asyncio.to_thread(shop.add, ("o-1", {"n": 2})))
            await super().send(messages)

    place = Slow()
    relay = relay_of(shop, place)

    await relay.drain()

    assert [one.id for one in place.got][1:] == wrote
    assert shop.waiting == 0
    await relay.close()


@pytest.mark.parametrize("error", [away, refused])
async def test_a_type_that_cannot_be_sent_holds_up_no_other_and_keeps_its_order(
    shop: Shop, error: Callable[[], BusError]
) -> None:
    broken, clock = True, Clock()
    place = Place()
    place.refuses = lambda m: error() if broken and m.target.endswith("bad") else None
    relay = relay_of(shop, place, clock=clock)
    bad = shop.add(*((f"b-{n}", {"n": n}) for n in range(6)), kind="bad")
    shop.add(("g-1", {}), kind="good")

    await relay.drain()
    shop.add(("g-2", {}), kind="good")
    bad += shop.add(("b-0", {"n": 9}), kind="bad")
    await relay.drain()

    assert [one.key for one in place.got] == [b"g-1", b"g-2"]
    assert "bad" in relay.held
    broken = False
    tries = place.tries
    await relay.drain()
    assert place.tries == tries, "it is not due yet"
    for _ in range(3):  # a type, and those of its aggregates that were tried by themselves
        clock.now += 61
        await relay.drain()
    assert [one.id for one in place.got if one.target.endswith("bad")] == bad
    assert relay.held == []
    await relay.close()


async def test_a_row_that_can_never_be_sent_holds_up_only_its_aggregate(shop: Shop) -> None:
    clock, place = Clock(), Place()
    place.refuses = lambda m: refused() if m.value and b"large" in m.value else None
    relay = relay_of(shop, place, clock=clock)
    shop.add(("o-1", {"n": 1}), ("o-2", '["large"]'), ("o-3", {"n": 3}), ("o-2", {"n": 4}))

    await relay.drain()
    shop.add(("o-2", {"n": 5}), ("o-1", {"n": 6}))
    await relay.drain()

    assert [one.key for one in once(place.got)] == [b"o-1", b"o-3", b"o-1"]
    assert relay.held == ["order/o-2"]
    shop.run("DELETE FROM outbox WHERE CAST(payload AS text) LIKE '%large%'")
    clock.now += 61
    await relay.drain()
    rest = once(place.got)[3:]
    assert [one.key for one in rest] == [b"o-2", b"o-2"]
    assert [(one.value or b"").replace(b" ", b"") for one in rest] == [
        b'{"n":4}', b'{"n":5}',
    ]  # fmt: skip
    assert shop.waiting == 0
    await relay.close()


async def test_a_row_stays_until_each_of_its_targets_has_it(shop: Shop) -> None:
    broken, clock, place = True, Clock(), Place()
    place.refuses = lambda m: away() if broken and m.target.startswith("queue:") else None
    plan = RelayPlan("shop", ("kafka:all", "queue:{aggregatetype}"))
    relay = relay_of(shop, place, plan, clock)
    (known,) = shop.add(("o-1", {}))

    await relay.drain()
    assert shop.waiting == 1
    broken = False
    clock.now += 61
    await relay.drain()

    assert [(one.target, one.id) for one in place.got] == [
        ("kafka:all", known), ("kafka:all", known), ("queue:order", known),
    ]  # fmt: skip
    assert shop.waiting == 0
    await relay.close()


@pytest.mark.postgres
async def test_a_database_that_was_away_is_read_on_when_it_is_back(postgres_shop: Shop) -> None:
    shop = postgres_shop  # a file is not away
    place = Place()
    relay = relay_of(shop, place)
    stop = asyncio.Event()
    running = asyncio.create_task(relay.run(stop))
    await until(lambda: not relay.standby)

    for n in range(5):
        shop.add(("o-1", {"n": n}))
        with psycopg.connect(shop.url, autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'splice relay' AND datname = current_database()"
            )
    await until(lambda: shop.waiting == 0)

    stop.set()
    await running
    firsts = list(dict.fromkeys(one.value for one in place.got))
    assert [value and value[-2:-1] for value in firsts] == [b"0", b"1", b"2", b"3", b"4"]
    assert relay.trouble == ""
    await relay.close()


async def test_many_relays_at_once_send_every_row_and_keep_each_keys_order(shop: Shop) -> None:
    """Each key is written by one thread, as an application that locks what it changes does."""
    place = Place()
    plan = RelayPlan("shop", PLAN.targets, batch=7, poll_s=0.002)
    relays = [relay_of(shop, place, plan) for _ in range(3)]
    stop = asyncio.Event()
    running = [asyncio.create_task(relay.run(stop)) for relay in relays]

    def write(key: str) -> None:
        for n in range(40):
            shop.add((key, {"n": n}))

    writers = [threading.Thread(target=write, args=(f"k{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    await until(lambda: not any(writer.is_alive() for writer in writers))
    await until(lambda: shop.waiting == 0)
    stop.set()
    await asyncio.gather(*running)

    for key in (b"k0", b"k1", b"k2", b"k3"):
        assert numbers(place.got, key) == list(range(40))
    assert len(place.got) == 160, "none was killed: none is sent twice"
    for relay in relays:
        await relay.close()


def once(messages: list[Message]) -> list[Message]:
    """As a receiver sees them that drops the ids which it knows."""
    return list({one.id: one for one in reversed(messages)}.values())[::-1]


def numbers(messages: list[Message], key: bytes) -> list[int]:
    """The numbers of a key in the order in which each came first."""
    found = [int((m.value or b"").split(b":")[1].strip(b" }")) for m in messages if m.key == key]
    return list(dict.fromkeys(found))


async def until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(true):
        assert time.monotonic() < give_up, "it did not become true"
        await asyncio.sleep(0.01)


def test_what_is_wrong_with_the_table_is_said_without_the_password(shop: Shop) -> None:
    shop.run("CREATE TABLE wrong (id text)")

    with table_of(shop, table="wrong") as table, pytest.raises(StoreError) as error:
        table.take(1, Held())
    assert "without the columns aggregatetype" in str(error.value)
    with table_of(shop, table="nowhere") as table, pytest.raises(StoreError, match="nowhere"):
        table.take(1, Held())
    with table_of(shop, order_by="at") as table, pytest.raises(StoreError, match="order_by"):
        table.take(1, Held())
    hidden = SqlOutboxTable("postgresql://me:s3cret@127.0.0.1:1/shop")
    with pytest.raises(StoreError) as error:
        hidden.take(1, Held())
    assert "s3cret" not in str(error.value)
    assert "127.0.0.1" in str(error.value)


def test_a_slip_in_the_path_makes_no_empty_database(tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        SqlOutboxTable(f"sqlite:///{tmp_path}/shpo.db").take(1, Held())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_leads_to_no_outbox_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"relay\.url_env"):
        SqlOutboxTable(url)


@pytest.mark.parametrize(
    "targets", [(), ("https://example.com",), ("kafka:",), ("kafka:{aggregateid}",), ("orders",)]
)
def test_a_target_that_no_relay_can_fill_is_refused(targets: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=r"relay\.shop\.targets"):
        targets_of(targets, "relay.shop.targets")
