"""What is in the outbox gets to where it goes: in order, and no target holds up another."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from outbox_house import Place, away, refused

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.errors import BusError, StoreError
from splice.core.events import Event, Message, Origin, Settled
from splice.ports.buses import Sink
from splice.ports.events import Waiting
from splice.serve.events.sender import Sender, SenderPlan

PATIENCE_S = 60
PLAN = SenderPlan(backoff_s=0.02, max_backoff_s=0.1, poll_s=0.01, send_s=5.0, lease_s=60.0)
HOOK, OTHER = "https://a.example/hook?key=s3cret", "https://b.example/hook"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sender")
    open_ledger(f"sqlite:///{folder}/ledger.db", folder).close()
    return folder / "ledger.db"


@pytest.fixture
def ledger(template: Path, tmp_path: Path) -> Iterator[Ledger]:
    shutil.copy(template, tmp_path / "ledger.db")
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path)
    yield opened
    opened.close()


def put(ledger: Ledger, *messages: tuple[str, str, bytes]) -> None:
    """Messages as the consumer leaves them: target, key and value of each."""
    event = Event(Origin("kafka:orders", 0, 0), None, b"{}")
    made = tuple(
        Message(f"m-{value.decode()}", target, key.encode() or None, value)
        for target, key, value in messages
    )
    ledger.events.settle([Settled(event, messages=made)], now_us=time.time_ns() // 1000)


class Sending:
    """A sender that runs, and what to wait for."""

    def __init__(self, ledger: Ledger, sender: Sender) -> None:
        self.ledger, self.sender = ledger, sender

    async def until(self, true: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(true):
            assert time.monotonic() < give_up, "it did not become true"
            await asyncio.sleep(0.005)

    async def until_empty(self) -> None:
        await self.until(lambda: self.ledger.outbox.outbox_size() == 0)


@asynccontextmanager
async def sending(
    ledger: Ledger, place: Sink, plan: SenderPlan = PLAN, holder: str = "h"
) -> AsyncIterator[Sending]:
    sinks = dict.fromkeys(("kafka", "https"), place)
    sender = Sender(ledger.outbox, sinks, plan, holder)
    stop = asyncio.Event()
    running = asyncio.create_task(sender.run(stop, PATIENCE_S))
    try:
        yield Sending(ledger, sender)
    finally:
        stop.set()
        await running


def values(place: Place, target: str = "") -> list[bytes]:
    return [value or b"" for value in place.bodies(target)]


async def test_each_key_of_each_target_gets_its_messages_in_order(ledger: Ledger) -> None:
    place = Place()
    places = [("kafka:d", "a"), ("kafka:d", "b"), (HOOK, "a"), (HOOK, "b"), (HOOK, ""), (OTHER, "")]
    put(ledger, *((target, key, b"%d" % n) for n in range(30) for target, key in places))

    async with sending(ledger, place) as running:
        await running.until_empty()

    assert len(place.got) == 180
    for target, key in places:
        got = [m.value for m in place.got if m.target == target and m.key == (key.encode() or None)]
        assert got == [b"%d" % n for n in range(30)]
    assert running.sender.delivered == 180


async def test_a_wake_up_sends_at_once_what_would_wait_for_the_next_look(ledger: Ledger) -> None:
    place = Place()
    async with sending(ledger, place, SenderPlan(poll_s=3600.0)) as running:
        await running.until(lambda: not place.got)
        await asyncio.to_thread(put, ledger, ("kafka:d", "a", b"1"))
        running.sender.wake()
        await running.until_empty()

    assert values(place) == [b"1"]


async def test_a_target_that_is_away_holds_up_no_other_and_gets_all_in_order_later(
    ledger: Ledger,
) -> None:
    place, broken = Place(), True
    place.refuses = lambda m: away() if broken and m.target in (HOOK, "kafka:bad") else None
    bad = [("kafka:bad", "k", b"%d" % n) for n in range(700)]
    hook = [(HOOK, f"k{n % 3}", b"%d" % n) for n in range(30)]
    put(ledger, *bad, *hook, *((OTHER, "k", b"%d" % n) for n in range(30)))

    async with sending(ledger, place) as running:
        await running.until(lambda: len(values(place, OTHER)) == 30)
        await running.until(lambda: len(running.sender.waiting_targets) == 2)
        assert values(place, HOOK) == values(place, "kafka:bad") == []
        broken = False
        await running.until_empty()

    assert values(place, "kafka:bad") == [value for _, _, value in bad]
    for key in (b"k0", b"k1", b"k2"):
        got = [int(m.value or b"") for m in place.got if m.target == HOOK and m.key == key]
        assert got == sorted(got)
        assert len(got) == 10


async def test_what_is_behind_messages_that_go_back_is_not_sent_before_them(
    ledger: Ledger,
) -> None:
    class SlowToLetGo:
        """The outbox, of which more is taken while messages go back to it."""

        def __init__(self) -> None:
            self.takes = 0

        def take_outbox(self, *arguments: Any, **named: Any) -> list[Waiting]:
            self.takes += 1
            return ledger.outbox.take_outbox(*arguments, **named)

        def let_go(self, *arguments: Any, **named: Any) -> None:
            before, give_up = self.takes, time.monotonic() + PATIENCE_S
            while self.takes < before + 5 and time.monotonic() < give_up:
                time.sleep(0.001)
            ledger.outbox.let_go(*arguments, **named)

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger.outbox, name)

    place = Place()
    place.refuses = lambda m: away() if place.tries == 1 else None
    put(ledger, *(("kafka:d", "k", b"%d" % n) for n in range(200)))
    plan = SenderPlan(batch=20, lane=20, backoff_s=0.001, max_backoff_s=0.001, poll_s=0.002)
    sender = Sender(SlowToLetGo(), {"kafka": place}, plan, "h")  # pyright: ignore[reportArgumentType]
    stop = asyncio.Event()

    running = asyncio.create_task(sender.run(stop, PATIENCE_S))
    await Sending(ledger, sender).until_empty()
    stop.set()
    await running

    assert values(place) == [b"%d" % n for n in range(200)]


async def test_what_was_taken_while_messages_went_back_is_not_sent_before_them(
    ledger: Ledger,
) -> None:
    class Crossing:
        """The outbox; its second take falls between the two steps of a failure."""

        def __init__(self) -> None:
            self.takes = 0
            self.postponed, self.taken, self.gone = (threading.Event() for _ in range(3))

        def take_outbox(self, *arguments: Any, **named: Any) -> list[Waiting]:
            self.takes += 1
            if self.takes != 2:
                return ledger.outbox.take_outbox(*arguments, **named)
            self.postponed.wait(PATIENCE_S)
            named["now_us"] = time.time_ns() // 1000 + 1_000_000  # what was postponed is due
            some = ledger.outbox.take_outbox(*arguments, **named)
            self.taken.set()
            self.gone.wait(PATIENCE_S)
            return some

        def postpone(self, *arguments: Any, **named: Any) -> None:
            ledger.outbox.postpone(*arguments, **named)
            self.postponed.set()

        def let_go(self, *arguments: Any, **named: Any) -> None:
            self.taken.wait(PATIENCE_S)
            ledger.outbox.let_go(*arguments, **named)
            self.gone.set()

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger.outbox, name)

    place = Place()
    place.refuses = lambda m: away() if place.tries == 1 else None
    put(ledger, *(("kafka:d", "k", b"%d" % n) for n in range(100)))
    plan = SenderPlan(batch=20, backoff_s=0.001, max_backoff_s=0.001, poll_s=0.002)
    sender = Sender(Crossing(), {"kafka": place}, plan, "h")  # pyright: ignore[reportArgumentType]
    stop = asyncio.Event()

    running = asyncio.create_task(sender.run(stop, PATIENCE_S))
    await Sending(ledger, sender).until_empty()
    stop.set()
    await running

    assert values(place) == [b"%d" % n for n in range(100)]


async def test_after_a_message_that_failed_no_other_of_its_key_goes_before_it(
    ledger: Ledger,
) -> None:
    fails = Counter[bytes | None]()

    def twice(message: Message) -> BusError | None:
        fails[message.value] += 1
        return away() if message.value == b"0" and fails[b"0"] <= 2 else None

    place = Place()
    place.refuses = twice
    put(ledger, *((HOOK, "k", b"%d" % n) for n in range(10)))

    async with sending(ledger, place) as running:
        await running.until_empty()

    assert values(place) == [b"%d" % n for n in range(10)]


async def test_a_webhook_that_never_answers_holds_up_no_other(ledger: Ledger) -> None:
    class Stuck(Place):
        async def send(self, messages: Sequence[Message]) -> None:
            if messages[0].target == HOOK:
                await asyncio.Event().wait()
            await super().send(messages)

    place = Stuck()
    put(ledger, *((HOOK, f"{n}", b"%d" % n) for n in range(60)))
    put(ledger, *((OTHER, "k", b"%d" % n) for n in range(60)))
    plan = SenderPlan(batch=20, lane=20, poll_s=0.01, send_s=0.5, backoff_s=0.05, lease_s=60.0)

    async with sending(ledger, place, plan) as running:
        await running.until(lambda: len(values(place, OTHER)) == 60)
        await running.until(lambda: running.sender.failed > 0)
        waiting = await asyncio.to_thread(ledger.outbox.outbox)
        assert "no answer within 0.5 s" in {one.why.partition("got ")[2][:22] for one in waiting}

    assert values(place, HOOK) == []
    assert ledger.outbox.outbox_size() == 60


async def test_no_more_of_a_stuck_target_is_taken_than_its_lane_holds(ledger: Ledger) -> None:
    class Stuck(Place):
        async def send(self, messages: Sequence[Message]) -> None:
            if messages[0].target == HOOK:
                await asyncio.Event().wait()
            await super().send(messages)

    class Counted:
        """The outbox, and how much of it was taken."""

        def __init__(self) -> None:
            self.taken = Counter[str]()

        def take_outbox(self, *arguments: Any, **named: Any) -> list[Waiting]:
            some = ledger.outbox.take_outbox(*arguments, **named)
            self.taken.update(one.message.target for one in some)
            return some

        def __getattr__(self, name: str) -> Any:
            return getattr(ledger.outbox, name)

    place, store = Stuck(), Counted()
    put(ledger, *((HOOK, f"{n}", b"%d" % n) for n in range(200)))
    put(ledger, *((OTHER, "k", b"%d" % n) for n in range(60)))
    plan = SenderPlan(batch=20, lane=20, poll_s=0.01, send_s=1000.0, lease_s=2000.0)
    sender = Sender(store, {"https": place}, plan, "h")  # pyright: ignore[reportArgumentType]
    stop = asyncio.Event()

    running = asyncio.create_task(sender.run(stop, 0.05))
    await Sending(ledger, sender).until(lambda: len(values(place, OTHER)) == 60)
    stop.set()
    await running

    assert store.taken[HOOK] < plan.lane + plan.batch
    now_us = time.time_ns() // 1000
    left = ledger.outbox.take_outbox(("https",), 1000, "other", now_us=now_us, lease_us=1)
    assert len(left) == 200 - plan.keys, "those on their way keep their leases"


async def test_a_message_that_can_never_be_delivered_is_given_up_and_the_next_follows(
    ledger: Ledger,
) -> None:
    place, wrong = Place(), True
    place.refuses = lambda m: refused() if wrong and m.value == b"2" else None
    put(ledger, *((target, "k", b"%d" % n) for target in (HOOK, "kafka:d") for n in range(5)))

    async with sending(ledger, place) as running:
        await running.until_empty()
        given_up = await asyncio.to_thread(ledger.outbox.outbox, given_up=True)
        assert [one.message.value for one in given_up] == [b"2", b"2"]
        assert {one.due_us for one in given_up} == {0}
        assert all("too large" in one.why for one in given_up)

        wrong = False
        numbers = [one.number for one in given_up]
        again = await asyncio.to_thread(
            ledger.outbox.send_again, numbers, now_us=time.time_ns() // 1000
        )
        running.sender.wake()
        await running.until(lambda: len(values(place, HOOK)) == 5)
        await running.until(lambda: len(set(values(place, "kafka:d"))) == 5)

    assert again == 2
    assert values(place, HOOK) == [b"0", b"1", b"3", b"4", b"2"]


async def test_a_target_that_refuses_everything_is_held_and_not_emptied(ledger: Ledger) -> None:
    place, wrong = Place(), True
    place.refuses = lambda m: refused() if wrong else None
    put(ledger, *((HOOK, "", b"%d" % n) for n in range(40)))

    async with sending(ledger, place) as running:
        await running.until(lambda: running.sender.failed >= 3)
        wrong = False
        await running.until_empty()

    given_up = ledger.outbox.outbox(given_up=True)
    assert len(given_up) < 15
    assert len(given_up) + len(place.got) == 40


async def test_a_webhook_is_given_up_after_its_attempts_and_kafka_never_is(ledger: Ledger) -> None:
    place = Place()
    place.refuses = lambda m: away()
    put(ledger, (HOOK, "k", b"1"), ("kafka:d", "k", b"1"))
    plan = SenderPlan(attempts=4, backoff_s=0.001, max_backoff_s=0.01, poll_s=0.005, send_s=5.0)

    async with sending(ledger, place, plan) as running:
        await running.until(lambda: len(ledger.outbox.outbox(given_up=True)) == 1)
        await running.until(lambda: tries(ledger, "kafka:d") > 4)

    (given_up,) = ledger.outbox.outbox(given_up=True)
    assert (given_up.message.target, given_up.attempts) == (HOOK, 4)


def tries(ledger: Ledger, target: str) -> int:
    return sum(w.attempts for w in ledger.outbox.outbox() if w.message.target == target)


async def test_a_receiver_that_says_when_is_not_asked_before(ledger: Ledger) -> None:
    def later(message: Message) -> BusError:
        error = away()
        error.retry_after = 1000.0
        return error

    place = Place()
    place.refuses = later
    put(ledger, *((HOOK, f"{n}", b"1") for n in range(20)))

    async with sending(ledger, place) as running:
        await running.until(lambda: all(due_in(one) > 900 for one in ledger.outbox.outbox()))

    assert 0 < place.tries <= PLAN.keys, "only those that were on their way"


def due_in(one: Waiting) -> float:
    return one.due_us / 1e6 - time.time()


async def test_only_so_many_keys_of_a_webhook_run_at_once_and_a_key_never_twice(
    ledger: Ledger,
) -> None:
    running_now: list[bytes | None] = []
    most: list[int] = []

    class Counting(Place):
        async def send(self, messages: Sequence[Message]) -> None:
            (message,) = messages
            assert message.key not in running_now
            running_now.append(message.key)
            most.append(len(running_now))
            await asyncio.sleep(0.001)
            running_now.remove(message.key)
            await super().send(messages)

    place = Counting()
    put(ledger, *((HOOK, f"{n % 20}", b"%d" % n) for n in range(100)))

    async with sending(ledger, place) as running:
        await running.until_empty()

    assert len(place.got) == 100
    assert max(most) == PLAN.keys


async def test_what_was_not_begun_at_the_end_is_free_for_another_process_at_once(
    ledger: Ledger,
) -> None:
    class Slow(Place):
        async def send(self, messages: Sequence[Message]) -> None:
            await asyncio.sleep(0.05)
            await super().send(messages)

    first, second = Slow(), Place()
    put(ledger, *((HOOK, "k", b"%d" % n) for n in range(20)))
    async with sending(ledger, first) as running:
        await running.until(lambda: len(first.got) >= 2)
    begun = len(first.got)

    async with sending(ledger, second, holder="other") as running:
        await running.until_empty()

    assert begun < 20
    assert values(first) + values(second) == [b"%d" % n for n in range(20)]


async def test_what_a_dead_process_held_comes_again_in_order(ledger: Ledger) -> None:
    put(ledger, *(("kafka:d", "k", b"%d" % n) for n in range(10)))
    now_us = time.time_ns() // 1000
    held = ledger.outbox.take_outbox(("kafka",), 5, "dead", now_us=now_us, lease_us=200_000)
    place = Place()

    async with sending(ledger, place) as running:
        await running.until_empty()

    assert held
    assert values(place) == [b"%d" % n for n in range(10)]


async def test_a_ledger_that_is_away_for_a_while_loses_nothing(ledger: Ledger) -> None:
    class Flaky:
        """The outbox of a ledger that fails every second time."""

        def __init__(self) -> None:
            self.calls = Counter[str]()

        def __getattr__(self, name: str) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                self.calls[name] += 1
                if self.calls[name] % 2:
                    raise StoreError("ledger", got="no connection")
                return getattr(ledger.outbox, name)(*arguments, **named)

            return call

    place = Place()
    put(ledger, *(("kafka:d", "k", b"%d" % n) for n in range(50)))
    sender = Sender(Flaky(), {"kafka": place}, PLAN, "h")  # pyright: ignore[reportArgumentType]
    stop = asyncio.Event()
    running = asyncio.create_task(sender.run(stop, PATIENCE_S))
    await Sending(ledger, sender).until_empty()
    stop.set()
    await running

    assert list(dict.fromkeys(values(place))) == [b"%d" % n for n in range(50)]


async def test_an_error_that_nobody_foresaw_is_one_of_its_target_alone(ledger: Ledger) -> None:
    class Odd(Place):
        async def send(self, messages: Sequence[Message]) -> None:
            if messages[0].target == HOOK and self.tries < 5:
                self.tries += 1
                raise ZeroDivisionError
            await super().send(messages)

    place = Odd()
    put(ledger, (HOOK, "k", b"1"), (OTHER, "k", b"2"))

    async with sending(ledger, place) as running:
        await running.until_empty()

    assert sorted(values(place)) == [b"1", b"2"]


async def test_no_error_that_is_kept_shows_the_query_of_a_webhook(ledger: Ledger) -> None:
    class Odd(Place):
        async def send(self, messages: Sequence[Message]) -> None:
            raise ZeroDivisionError

    put(ledger, (HOOK, "k", b"1"))

    async with sending(ledger, Odd()) as running:
        await running.until(lambda: tries(ledger, HOOK) > 0)

    (waiting,) = ledger.outbox.outbox()
    assert "ZeroDivisionError" in waiting.why
    assert "s3cret" not in waiting.why
