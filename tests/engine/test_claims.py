"""One idempotency key, one execution: the first stored answer is given again."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_house import HighOrders, House, Orders, call_of, line_for, until

import splice
from splice.adapters.ledgers.sql import open_ledger
from splice.core.call import Prediction, Reason, Status
from splice.core.errors import (
    BadAnswer,
    InputMismatch,
    KeyInFlight,
    KeyReused,
    NotRecorded,
    StoreError,
)
from splice.engine import floor as engine_module
from splice.engine.admit import Claims
from splice.ports.stores import Claim
from splice.testing.fakes import After, ScriptedPredictor

GOOD = Prediction(score=0.25, cost_nano=0)


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A house over a ledger in memory, and over the real one."""
    ledger = None
    if request.param == "sqlite":
        ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path / "models")
    made = House(tmp_path / "spool", None if ledger is None else ledger.records)
    yield made
    made.close()
    if ledger is not None:
        ledger.close()


async def test_concurrent_duplicates_execute_once_and_get_one_answer(kept: House) -> None:
    route = ScriptedPredictor(After(0.05, GOOD))
    line = line_for(Orders, route)

    answered = await asyncio.gather(*(kept.ask(line, key="k") for _ in range(12)))

    assert len(route.questions) == 1
    assert len({one.record.call_id for one in answered}) == 1
    assert sorted(one.record.reason for one in answered) == ["first", *["repeated"] * 11]


async def test_a_repeated_call_gets_the_stored_answer_byte_for_byte(kept: House) -> None:
    route = ScriptedPredictor(GOOD, Prediction(score=0.75, cost_nano=0))
    line = line_for(Orders, route)

    first = await kept.ask(line, key="k")
    second = await kept.ask(line, key="k")

    assert second.record.reply == first.record.reply == b'{"risk":0.25}'
    assert second.record.call_id == first.record.call_id
    assert (first.record.reason, second.record.reason) == (Reason.FIRST, Reason.REPEATED)
    assert second.record.attempts == first.record.attempts


async def test_a_key_with_another_body_is_refused_and_does_not_run(kept: House) -> None:
    route = ScriptedPredictor(GOOD)
    line = line_for(Orders, route)
    await kept.ask(line, key="k")

    with pytest.raises(KeyReused):
        await kept.ask(line, {"customer": "c-1", "amount": 6.0}, key="k")

    assert len(route.questions) == 1


async def test_keys_of_other_callers_and_integrations_are_other_keys(kept: House) -> None:
    route = ScriptedPredictor(GOOD)
    orders, high = line_for(Orders, route), line_for(HighOrders, route)

    await kept.ask(orders, key="k", caller="a")
    await kept.ask(orders, key="k", caller="b")
    await kept.ask(high, key="k", caller="a")

    assert len(route.questions) == 3


@pytest.mark.parametrize("cls", [Orders, HighOrders])
async def test_a_failed_first_call_frees_its_key(
    kept: House, cls: type[splice.Integration]
) -> None:
    line = line_for(cls, ScriptedPredictor(BadAnswer("m"), GOOD))

    first = await kept.ask(line, key="k")
    second = await kept.ask(line, key="k")

    assert first.error is not None
    assert second.error is None
    assert second.record.reply == b'{"risk":0.25}'
    assert second.record.reason is Reason.FIRST
    failed = await kept.recorded(first.record.call_id)
    assert failed.status is Status.FAILED


async def test_those_who_wait_for_a_first_call_that_fails_run_one_after_the_other(
    kept: House,
) -> None:
    route = ScriptedPredictor(After(0.03, BadAnswer("m")), After(0.03, GOOD))
    line = line_for(Orders, route)

    answered = await asyncio.gather(*(kept.ask(line, key="k") for _ in range(5)))

    assert len(route.questions) == 2
    assert sum(one.error is not None for one in answered) == 1
    assert len({one.record.call_id for one in answered if one.error is None}) == 1


async def test_a_call_that_was_refused_for_want_of_a_ledger_leaves_its_key_free(
    house: House,
) -> None:
    line = line_for(HighOrders, ScriptedPredictor(GOOD))
    house.store.refuses = lambda record: record.status is Status.ANSWERED
    first = await house.ask(line, key="k")
    assert isinstance(first.error, NotRecorded)
    until(lambda: house.store.get(first.record.call_id))  # as refused

    house.store.refuses = lambda _: False
    second = await house.ask(line, key="k")

    assert second.error is None
    assert second.record.reply == b'{"risk":0.25}'


async def test_a_record_without_an_answer_is_never_given_as_the_answer_of_a_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line_for(Orders, ScriptedPredictor(BadAnswer("m")))
    line.deadline_s = 0.1
    first = await house.ask(line)
    await house.recorded(first.record.call_id)
    done = Claim(first.record.call_id, hashlib.sha256(call_of(line).body).digest(), True, False)
    monkeypatch.setattr(house.store, "claim", lambda *_: done)  # a store that knows no better

    with pytest.raises(KeyInFlight):
        await house.ask(line, key="k")


async def test_a_call_whose_commit_may_still_happen_keeps_its_key(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_RECORD_SECONDS", 0.05)
    route = ScriptedPredictor(GOOD)
    line = line_for(HighOrders, route)
    line.deadline_s = 0.1
    house.store.hang()

    first = await house.ask(line, key="k")
    with pytest.raises(KeyInFlight):
        await house.ask(line, key="k")
    house.store.resume()
    until(lambda: house.store.get(first.record.call_id))
    third = await house.ask(line, key="k")

    assert isinstance(first.error, NotRecorded)
    assert len(route.questions) == 1
    assert third.record.call_id == first.record.call_id
    assert third.record.reason is Reason.REPEATED


async def test_a_call_does_not_run_when_its_key_cannot_be_claimed(house: House) -> None:
    route = ScriptedPredictor(GOOD)
    line = line_for(Orders, route)
    house.store.failing = True

    with pytest.raises(StoreError):
        await house.ask(line, key="k")

    assert route.questions == []
    assert house.engine.in_flight == 0


async def test_a_key_held_by_another_process_is_waited_for_and_then_said(kept: House) -> None:
    line = line_for(Orders, ScriptedPredictor(GOOD))
    line.deadline_s = 0.15
    there = call_of(line, key="k")
    await Claims(kept.store).take(line, there, "k")
    began = time.monotonic()

    with pytest.raises(KeyInFlight):
        await kept.engine.answer(call_of(line, key="k"), line)

    assert 0.1 < time.monotonic() - began < 5.0


async def test_a_key_whose_holder_died_is_free_after_its_lease(
    kept: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line_for(Orders, ScriptedPredictor(GOOD))
    line.deadline_s = 0.1
    with monkeypatch.context() as patch:
        patch.setattr("splice.engine.admit._LEASE_SLACK_SECONDS", 0.0)
        await Claims(kept.store).take(line, call_of(line, key="k"), "k")
    await asyncio.sleep(0.15)

    answered = await kept.engine.answer(call_of(line, key="k"), line)

    assert answered.error is None


async def test_the_lease_of_a_call_that_waited_covers_its_whole_deadline(
    kept: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splice.engine.admit._LEASE_SLACK_SECONDS", 0.0)
    line = line_for(Orders, ScriptedPredictor(GOOD))
    line.deadline_s = 0.5
    old = call_of(line, key="k")
    old.asked_us -= 400_000  # it waited for so long
    await Claims(kept.store).take(line, old, "k")
    await asyncio.sleep(0.2)

    stored = hashlib.sha256(b"k").hexdigest()  # the ledger never holds the key itself
    other = kept.store.claim("orders", "test", stored, old.id[:-1] + "0", b"x",
                             time.time_ns() // 1000, 1)  # fmt: skip

    assert (other.mine, other.done) == (False, False)


async def test_a_caller_who_goes_while_the_ledger_is_slow_leaves_no_claim_behind(
    kept: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, claim = threading.Event(), kept.store.claim

    def wait(*what: Any) -> Claim:
        slow.wait(10.0)
        return claim(*what)

    line, claims = line_for(Orders, ScriptedPredictor(GOOD)), Claims(kept.store)
    with monkeypatch.context() as patched:
        patched.setattr(kept.store, "claim", wait)
        gone = asyncio.ensure_future(claims.take(line, call_of(line, key="k"), "k"))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        slow.set()

    async with asyncio.timeout(5.0):  # far less than the lease
        assert await claims.take(line, call_of(line, key="k"), "k") is None


async def test_calls_that_wait_for_a_key_count_as_in_flight(house: House) -> None:
    line = line_for(Orders, ScriptedPredictor(After(0.1, GOOD)))

    tasks = [asyncio.create_task(house.ask(line, key="k")) for _ in range(5)]
    await asyncio.sleep(0.05)
    waiting = house.engine.in_flight
    await asyncio.gather(*tasks)

    assert waiting == 5
    assert house.engine.in_flight == 0


@pytest.mark.parametrize("entity", ["", "x" * 257, "x" * 10_000])
async def test_an_entity_key_that_is_empty_or_too_long_is_refused_and_nothing_is_recorded(
    house: House, entity: str
) -> None:
    line = line_for(Orders, ScriptedPredictor(GOOD))

    with pytest.raises(InputMismatch) as refused:
        await house.ask(line, {"customer": entity, "amount": 1.0})

    assert refused.value.where == "orders.input.customer"
    await house.recorder.flush()
    assert house.store.count() == 0
