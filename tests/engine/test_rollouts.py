"""Variants and shadows on the way of a call: who gets what, and what never reaches a caller."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from chat_house import (
    PRICE,
    ChatHouse,
    Chatting,
    Says,
    ScriptedProvider,
    balanced,
    chat_line,
    heard,
)
from engine_house import HighOrders, House, Orders, Screening, call_of, line_for

import splice
from splice.adapters.meters.memory import MemoryMeter
from splice.core.access import Budget, BudgetScope, Period
from splice.core.call import Prediction, Reason, Record, Status
from splice.core.errors import ProviderLimited, RouteTimeout
from splice.core.release import PinnedRoute
from splice.core.rollout import SHADOW, WHOLE
from splice.engine import observe
from splice.engine.abreast import fits
from splice.engine.gather import Look
from splice.engine.line import Arm, Line, Picked, Shadowing, Step
from splice.engine.routing.batched import Batched
from splice.engine.routing.relayed import Relayed
from splice.engine.routing.ruled import Ruled
from splice.engine.routing.split import Held, Split
from splice.engine.shadows import MOST
from splice.engine.spend import Purse
from splice.testing.fakes import After, ScriptedPredictor

GOOD, NEW = Prediction(score=0.25, cost_nano=1), Prediction(score=0.75, cost_nano=7)


def step_of(predictor: Any, label: str, timeout_s: float = 5.0) -> Step:
    route = PinnedRoute(label, "model", 0, timeout_s, f"{label} v2")
    return Step(route, predictor, immediate=False)


def with_challenger(line: Line, predictor: Any, share: int = WHOLE) -> Line:
    """The line with a challenger before its own routes."""
    steps = (step_of(predictor, "new@challenger"), *line.steps)
    split = Split("salt", line.steps, [(Arm("challenger", steps), share)])
    return msgspec.structs.replace(line, split=split)


def with_shadow(line: Line, predictor: Any, share: int = WHOLE) -> Line:
    return msgspec.structs.replace(
        line, shadow=Shadowing((step_of(predictor, "new@shadow"),), share)
    )


async def shadows_of(house: House | ChatHouse) -> list[Record]:
    """The shadows that are recorded once all is done."""
    await house.engine.rest()
    await house.recorder.flush()
    return [one for one in house.store.stored if one.surface == SHADOW]


async def test_the_challenger_answers_and_its_variant_is_recorded(house: House) -> None:
    line = with_challenger(line_for(Orders, ScriptedPredictor(GOOD)), ScriptedPredictor(NEW))

    answered = await house.ask(line)
    record = await house.recorded(answered.record.call_id)

    assert record.reply == b'{"risk":0.75}'
    assert (record.variant, record.route, record.reason) == (
        "challenger", "new@challenger", Reason.FIRST,
    )  # fmt: skip


async def test_a_challenger_that_fails_leaves_the_caller_with_the_champion(house: House) -> None:
    broken = ScriptedPredictor(RouteTimeout("new", got="no answer"))
    line = with_challenger(line_for(Orders, ScriptedPredictor(GOOD)), broken)

    answered = await house.ask(line)

    assert answered.record.reply == b'{"risk":0.25}'
    assert answered.record.variant == "challenger"
    assert answered.record.reason is Reason.FALLBACK
    assert [one.ended for one in answered.record.attempts] == ["timeout", "answered"]


async def test_a_challenger_ten_times_slower_than_the_deadline_costs_no_answer(
    house: House,
) -> None:
    slow = ScriptedPredictor(After(5.0, NEW))
    line = with_challenger(line_for(Orders, ScriptedPredictor(GOOD)), slow)

    answered = await house.ask(line)

    assert answered.record.reply == b'{"risk":0.25}'
    assert answered.record.duration_us < line.deadline_s * 1e6


async def test_who_is_not_in_the_share_gets_the_champion(house: House) -> None:
    line = with_challenger(line_for(Orders, ScriptedPredictor(GOOD)), ScriptedPredictor(NEW), 5000)

    seen: dict[str, set[str]] = {}
    for turn in range(3):
        for n in range(40):
            name = f"c-{n}"
            answered = await house.ask(line, {"customer": name, "amount": float(turn)})
            seen.setdefault(name, set()).add(answered.record.variant)

    assert all(len(variants) == 1 for variants in seen.values())
    assert {next(iter(variants)) for variants in seen.values()} == {"champion", "challenger"}


async def test_a_release_without_a_rollout_records_no_variant(house: House) -> None:
    answered = await house.ask(line_for(Orders, ScriptedPredictor(GOOD)))

    assert answered.record.variant == ""


async def test_a_shadow_answers_after_the_caller_and_for_the_ledger_only(house: House) -> None:
    shadow = ScriptedPredictor(NEW)
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), shadow)

    answered = await house.ask(line)
    asked_before_the_answer = len(shadow.questions)
    (record,) = await shadows_of(house)

    assert asked_before_the_answer == 0
    assert answered.record.reply == b'{"risk":0.25}'
    assert record.reply == b'{"risk":0.75}'
    assert (record.variant, record.shadow_of) == (SHADOW, answered.record.call_id)
    assert record.asked_us == answered.record.asked_us  # one outcome judges both
    assert (record.entity, record.cost_nano, record.status) == ("c-1", 7, Status.ANSWERED)
    assert record.key is None
    assert house.engine.in_flight == 0


async def test_a_shadow_that_fails_is_recorded_as_failed(house: House) -> None:
    broken = ScriptedPredictor(RouteTimeout("new", got="no answer"))

    await house.ask(with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), broken))
    (record,) = await shadows_of(house)

    assert (record.status, record.reason) == (Status.FAILED, Reason.EXHAUSTED)
    assert record.attempts[0].ended == "timeout"


async def test_a_call_that_failed_has_no_shadow(house: House) -> None:
    own = ScriptedPredictor(RouteTimeout("own", got="no answer"))

    await house.ask(with_shadow(line_for(Orders, own), ScriptedPredictor(NEW)))

    assert await shadows_of(house) == []


class Gated:
    """Answers once its gate is open; `most` is how many asked at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = self.most = 0

    async def predict(self, question: Any) -> Prediction:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        self.running -= 1
        return msgspec.structs.replace(NEW)


def shadows_ended(house: House) -> dict[str, float]:
    counted = dict(house.engine.metrics.snapshot()[observe.SHADOWS.name])
    return {ended: values[0] for (_, ended), values in counted.items()}


async def test_shadows_of_a_burst_wait_for_their_turn_and_no_caller_does(house: House) -> None:
    slow = Gated()
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), slow)

    answers = [await house.ask(line) for _ in range(MOST + 50)]  # none waits for the gate
    await asyncio.sleep(0.01)  # those whose turn it is begin
    slow.gate.set()
    recorded = await shadows_of(house)

    assert all(one.record.status is Status.ANSWERED for one in answers)
    assert [one.shadow_of for one in recorded] == [one.record.call_id for one in answers]
    assert slow.most == MOST
    assert shadows_ended(house) == {"answered": MOST + 50.0}


@pytest.mark.parametrize("bound", ["WAITING", "WAITING_BYTES"])
async def test_shadows_beyond_what_may_wait_are_left_out(
    house: House, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Gated()
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), slow)
    size = len((await house.ask(line)).record.input)
    monkeypatch.setattr(f"splice.engine.shadows.{bound}", 5 if bound == "WAITING" else 5 * size)

    for _ in range(MOST + 14):
        await house.ask(line)
    slow.gate.set()

    assert len(await shadows_of(house)) == MOST + 5
    assert shadows_ended(house) == {"answered": MOST + 5.0, "dropped": 10.0}


async def test_a_process_that_ends_leaves_out_what_still_waits(house: House) -> None:
    slow = Gated()
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), slow)

    for _ in range(MOST + 3):
        await house.ask(line)
    await house.engine.shadows.wind_up(0.05)
    slow.gate.set()

    assert len(await shadows_of(house)) == MOST
    assert shadows_ended(house) == {"answered": float(MOST), "dropped": 3.0}


class SlowModel:
    """A model of this process, on a machine that has no time for it."""

    row_seconds = 0.0

    def run(self, rows: Any) -> list[Prediction]:
        time.sleep(0.3)
        return [msgspec.structs.replace(NEW) for _ in rows]


async def test_a_model_that_runs_behind_everything_else_is_given_time(house: House) -> None:
    behind = Batched(cast("Any", SlowModel()), "new@shadow", aside=True)
    line = line_for(Orders, ScriptedPredictor(GOOD))
    shadow = Shadowing((step_of(behind, "new@shadow", 0.1),), WHOLE)

    await house.ask(msgspec.structs.replace(line, deadline_s=0.2, shadow=shadow))
    (record,) = await shadows_of(house)
    await behind.close()

    assert record.status is Status.ANSWERED
    assert record.duration_us > 250_000


async def test_a_shadow_beyond_its_deadline_is_ended(house: House) -> None:
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), ScriptedPredictor(After(9, NEW)))

    await house.ask(line)
    (record,) = await shadows_of(house)

    assert record.status is Status.FAILED
    assert record.attempts[0].ended == "timeout"


async def test_a_shadow_repeats_its_share_of_the_calls(house: House) -> None:
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), ScriptedPredictor(NEW), 2500)

    for _ in range(400):
        await house.ask(line)
        await house.engine.rest()

    assert 60 < len(await shadows_of(house)) < 140


async def test_a_stopped_integration_starts_no_shadow(house: House) -> None:
    line = with_shadow(
        line_for(Orders, ScriptedPredictor(After(0.05, GOOD))), ScriptedPredictor(NEW)
    )

    asking = asyncio.ensure_future(house.ask(line))
    await asyncio.sleep(0.01)
    line.stopped = "odd"
    await asking

    assert await shadows_of(house) == []


async def test_a_spent_budget_pays_no_shadow_and_a_shadow_counts_in_it(house: House) -> None:
    budget = Budget(BudgetScope.INTEGRATION, "orders", Period.TOTAL, 20)
    house.engine.purse = Purse(MemoryMeter(), [budget])
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), ScriptedPredictor(NEW))

    for _ in range(6):  # each call costs 1, its shadow 7
        await house.ask(line)
        await house.engine.rest()

    assert len(await shadows_of(house)) == 3
    counted = dict(house.engine.metrics.snapshot()[observe.SHADOWS.name])
    assert counted[("orders", "dropped")] == [3.0]


async def test_a_high_risk_answer_waits_for_its_own_record_and_not_for_its_shadow(
    house: House,
) -> None:
    line = with_shadow(line_for(HighOrders, ScriptedPredictor(GOOD)), ScriptedPredictor(NEW))

    answered = await house.ask(line)

    assert house.store.get(answered.record.call_id) is not None
    assert len(await shadows_of(house)) == 1


async def test_a_replay_asks_the_variant_that_answered_and_no_shadow(house: House) -> None:
    own, new = ScriptedPredictor(GOOD), ScriptedPredictor(NEW)
    line = with_shadow(with_challenger(line_for(Orders, own), new, 0), ScriptedPredictor(NEW))
    assert line.split is not None
    call = call_of(line)
    request = line.request.decode(call.body, "test")
    again = await house.engine.run(
        line, call, request, Look(0, None), "c-1", Picked(line.split.named("challenger"))
    )

    assert again.record.reply == b'{"risk":0.75}'
    assert await shadows_of(house) == []


# Conversations


def chat_house(folder: Path, champion: Any, challenger: Any, share: int) -> ChatHouse:
    line = chat_line(Chatting, balanced(champion), balanced(ScriptedProvider()))
    route = PinnedRoute("llm:c/m@challenger", "llm", 0, 5.0, "m2", model="m", provider="c")
    step = Step(
        route,
        Relayed(balanced(challenger, name="c"), route, line.declaration.routes[0].patience, None),
        immediate=False,
    )
    split = Split("salt", line.steps, [(Arm("challenger", (step, *line.steps)), share)])
    shadow = Shadowing((step,), WHOLE) if not share else None
    if shadow is None:
        line = msgspec.structs.replace(line, split=split)
    else:
        line = msgspec.structs.replace(line, shadow=shadow)
    return ChatHouse(folder, line)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_is_answered_by_its_variant(tmp_path: Path, stream: bool) -> None:
    champion, challenger = ScriptedProvider(), ScriptedProvider()
    house = chat_house(tmp_path, champion, challenger, WHOLE)

    spoken = await house.say(stream=stream)
    if stream:
        await heard(spoken)
    (record,) = await house.records()
    house.close()

    assert (len(champion.asked), len(challenger.asked)) == (0, 1)
    assert (record.variant, record.route) == ("challenger", "llm:c/m@challenger")


async def test_a_conversation_keeps_its_variant_by_the_user_it_names(tmp_path: Path) -> None:
    house = chat_house(tmp_path, ScriptedProvider(), ScriptedProvider(), 5000)

    for n in range(60):
        asked = house.asked(user=f"u-{n % 6}")
        await house.engine.converse(house.call(), asked)
    for n in range(12):
        asked = house.asked(metadata={"user_id": f"u-{n % 6}"})
        await house.engine.converse(house.call(), asked)
    records = await house.records()
    house.close()

    by_user = [{one.variant for one in records[n::6]} for n in range(6)]
    assert all(len(variants) == 1 for variants in by_user)
    assert set.union(*by_user) == {"champion", "challenger"}


async def test_who_names_a_model_himself_gets_that_model(tmp_path: Path) -> None:
    champion, challenger = ScriptedProvider(), ScriptedProvider()
    house = chat_house(tmp_path, champion, challenger, WHOLE)

    await house.say(model="a/other")
    (record,) = await house.records()
    house.close()

    assert (record.variant, len(challenger.asked)) == ("", 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shadow_of_a_conversation_is_asked_whole(tmp_path: Path, stream: bool) -> None:
    champion, shadow = ScriptedProvider(), ScriptedProvider(Says(words=("other",)))
    house = chat_house(tmp_path, champion, shadow, 0)

    spoken = await house.say(stream=stream)
    if stream:
        said, _ = await heard(spoken)
        assert b"hello" in said
    records = await house.records()
    house.close()

    (repeated,) = [one for one in records if one.surface == SHADOW]
    (own,) = [one for one in records if one.surface != SHADOW]
    assert b"other" in (repeated.reply or b"")
    assert (repeated.shadow_of, repeated.asked_us) == (own.call_id, own.asked_us)
    assert own.variant == ""
    assert repeated.cost_nano == 10 * PRICE.input_nano // 10**6 + 5 * PRICE.output_nano // 10**6


async def test_what_a_challenger_is_refused_is_not_held_against_the_champion() -> None:
    own = balanced(ScriptedProvider())
    others = own.apart()

    deployment = others.pick()
    deployment.failed(ProviderLimited("a", retry_after=60.0))
    with pytest.raises(ProviderLimited):
        others.pick()

    assert own.pick().provider is deployment.provider


async def test_a_rule_in_a_shadow_holds_nobody_up(house: House) -> None:
    running, let_go = threading.Event(), threading.Event()

    def slow(_: Any) -> float:
        running.set()
        let_go.wait(20)
        return 0.5

    rule = Ruled(slow, aside=True)
    line = with_shadow(line_for(Orders, ScriptedPredictor(GOOD)), rule)
    await house.ask(line)
    await asyncio.to_thread(running.wait, 20)
    answered = await house.ask(line)  # while the rule of the first shadow still runs
    let_go.set()

    assert answered.record.status is Status.ANSWERED
    assert len(await shadows_of(house)) == 2


async def test_a_second_try_of_the_first_route_is_still_the_first_route(house: House) -> None:
    class Retries:
        async def predict(self, question: Any) -> Prediction:
            question.note(0.0, RouteTimeout("own", got="no answer"))
            return msgspec.structs.replace(GOOD)

    answered = await house.ask(line_for(Orders, Retries(), ScriptedPredictor(NEW)))

    assert len(answered.record.attempts) == 2
    assert answered.record.reason is Reason.FIRST


async def test_a_caller_who_goes_away_leaves_the_variant_in_the_record(house: House) -> None:
    line = with_challenger(
        line_for(Orders, ScriptedPredictor(GOOD)), ScriptedPredictor(After(5.0, NEW))
    )
    asking = asyncio.ensure_future(house.ask(line))
    await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await house.recorder.flush()

    (record,) = house.store.stored
    assert (record.reason, record.variant) == (Reason.CANCELLED, "challenger")


class AnyOrder(splice.Request):
    amount: float
    customer: splice.Entity | None = None


class AnyOrders(Orders):
    """Find the orders that will not be paid, some of nobody known."""

    def decide(self, order: AnyOrder, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score or 0.0)


def with_holdout(line: Line, share: int = WHOLE, flag: str = "") -> Line:
    """The line with a rule for those who are held out, and a challenger for everybody else."""
    rule = PinnedRoute("rule:before@holdout", "rule", 0, 5.0, "before")
    arm = Arm("holdout", (Step(rule, Ruled(lambda _: 0.125), immediate=True),))
    steps = (step_of(ScriptedPredictor(NEW), "new@challenger"), *line.steps)
    others = [(Arm("challenger", steps), WHOLE)]
    split = Split(
        "salt", line.steps, others, flag, Names() if flag else None, Held("h", share, arm)
    )
    return msgspec.structs.replace(line, split=split)


class Names:
    """Flags that name the challenger for everybody."""

    async def variant(self, flag: str, who: str, facts: Any) -> str:
        return "challenger"

    async def close(self) -> None:
        pass


async def test_who_is_held_out_never_gets_a_model_whatever_shares_and_flags_say(
    house: House,
) -> None:
    line = line_for(Orders, ScriptedPredictor(GOOD))

    by_share = await house.ask(with_holdout(line))
    by_flag = await house.ask(with_holdout(line, flag="orders-model"))
    not_held = await house.ask(with_holdout(line, 0, "orders-model"))

    assert (by_share.record.variant, by_share.record.reply) == ("holdout", b'{"risk":0.125}')
    assert by_flag.record.variant == "holdout"
    assert not_held.record.variant == "challenger"


async def test_a_call_that_names_nobody_is_never_held_out(house: House) -> None:
    line = with_holdout(line_for(AnyOrders, ScriptedPredictor(GOOD)))

    nobody = await house.ask(line, {"amount": 1.0})
    somebody = await house.ask(line, {"amount": 1.0, "customer": "c-1"})

    assert (nobody.record.variant, somebody.record.variant) == ("challenger", "holdout")


def test_calls_do_not_go_abreast_where_some_may_be_held_out() -> None:
    line = line_for(Orders, Ruled(lambda _: 0.1))

    assert not fits(with_holdout(line))
