"""The routes run in order, each with its timeout, all inside one deadline."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest
from engine_house import House, Order, Orders, Screening, line_for

import splice
from splice.core.call import Attempt, Prediction, Reason, Status
from splice.core.errors import (
    BadAnswer,
    DecisionError,
    ExhaustedError,
    GatherError,
    ModelMismatch,
)
from splice.engine.engine import Answered
from splice.engine.infer import total_cost
from splice.engine.routing.ruled import Ruled
from splice.ports.predictor import Question
from splice.serve.drive import drive
from splice.testing.fakes import After, ScriptedPredictor

GOOD = Prediction(score=0.25, cost_nano=0)


def ended(attempts: tuple[Attempt, ...]) -> list[str]:
    return [one.ended for one in attempts]


async def test_the_first_route_that_answers_gives_the_reply_and_no_other_is_asked(
    house: House,
) -> None:
    second = ScriptedPredictor(GOOD)
    line = line_for(Orders, ScriptedPredictor(GOOD), second)

    answered = await house.ask(line)

    assert answered.record.reply == b'{"risk":0.25}'
    assert answered.record.reason is Reason.FIRST
    assert (answered.record.route, answered.record.version) == ("route:0", "version 0")
    assert second.questions == []


@pytest.mark.parametrize(
    ("trouble", "code", "why"),
    [
        (After(9.0, GOOD), "timeout", "no answer within"),
        (ValueError("no such column"), "crashed", "ValueError: no such column"),
        (TimeoutError("of its own"), "crashed", "TimeoutError: of its own"),
        (BadAnswer("m", got="NaN"), "bad_answer", "got NaN"),
        (ModelMismatch("m", got="nothing"), "model_mismatch", "got nothing"),
    ],
)
async def test_a_route_that_fails_hands_on_to_the_next_and_its_attempt_says_why(
    house: House, trouble: Any, code: str, why: str
) -> None:
    line = line_for(Orders, ScriptedPredictor(trouble), ScriptedPredictor(GOOD), timeouts=(0.05,))

    answered = await house.ask(line)

    assert ended(answered.record.attempts) == [code, "answered"]
    assert why in answered.record.attempts[0].why
    assert answered.record.reason is Reason.FALLBACK
    assert answered.record.route == "route:1"


async def test_a_withdrawn_and_an_unavailable_route_are_passed_over_unasked(house: House) -> None:
    asked = ScriptedPredictor(GOOD)
    line = line_for(Orders, asked, asked, ScriptedPredictor(GOOD))
    line.steps[0].withdrawn = "orders@3 is withdrawn: biased"
    line.steps[1].unavailable = "the file is gone"

    answered = await house.ask(line)

    attempts = answered.record.attempts
    assert ended(attempts) == ["model_unavailable", "model_unavailable", "answered"]
    assert [one.why for one in attempts[:2]] == [
        "orders@3 is withdrawn: biased",
        "the file is gone",
    ]
    assert asked.questions == []


@pytest.mark.parametrize("said", [float("nan"), float("inf"), object(), {1: {2, object()}}])
async def test_a_rule_that_says_what_is_no_answer_hands_on_to_the_next(
    house: House, said: Any
) -> None:
    line = line_for(Orders, Ruled(lambda _: said), Ruled(lambda _: 0.5))

    answered = await house.ask(line)

    assert ended(answered.record.attempts) == ["bad_answer", "answered"]


async def test_a_rule_whose_prediction_holds_nan_hands_on_to_the_next(house: House) -> None:
    rule = Ruled(lambda _: Prediction(value="ship", scores={"ship": float("nan")}))
    line = line_for(Orders, rule, Ruled(lambda _: 0.5))

    answered = await house.ask(line)

    assert ended(answered.record.attempts) == ["bad_answer", "answered"]


async def test_an_answer_that_is_no_prediction_is_a_crash_of_its_route(house: House) -> None:
    class Odd:
        async def predict(self, _: Question) -> Any:
            return "0.5"

        async def close(self) -> None: ...

    line = line_for(Orders, Odd(), ScriptedPredictor(GOOD))

    answered = await house.ask(line)

    assert ended(answered.record.attempts) == ["crashed", "answered"]


async def test_when_every_route_fails_the_error_names_them_and_the_call_is_recorded(
    house: House,
) -> None:
    line = line_for(Orders, ScriptedPredictor(ValueError("x")), ScriptedPredictor(BadAnswer("m")))

    answered = await house.ask(line)

    assert isinstance(answered.error, ExhaustedError)
    assert "route:0 crashed; route:1 bad_answer" in str(answered.error)
    record = await house.recorded(answered.record.call_id)
    assert (record.status, record.reason) == (Status.FAILED, Reason.EXHAUSTED)
    assert record.problem is not None
    assert record.problem.code == "exhausted"


async def test_all_routes_together_keep_the_deadline(house: House) -> None:
    line = line_for(Orders, *[ScriptedPredictor(After(30.0, GOOD))] * 4)
    began = time.monotonic()

    answered = await house.ask(line)

    assert ended(answered.record.attempts) == ["timeout"] * 4
    assert time.monotonic() - began < line.deadline_s + 0.4
    assert answered.record.duration_us >= line.deadline_s * 1e6 * 0.99


async def test_the_last_route_gets_its_turn_after_slow_ones_without_timeouts(house: House) -> None:
    slow = ScriptedPredictor(After(30.0, GOOD))
    line = line_for(Orders, slow, slow, Ruled(lambda _: 0.5))

    answered = await house.ask(line)

    assert ended(answered.record.attempts) == ["timeout", "timeout", "answered"]


async def test_attempts_tell_when_each_began_and_how_long_it_took(house: House) -> None:
    line = line_for(
        Orders, ScriptedPredictor(After(0.05, BadAnswer("m"))), ScriptedPredictor(After(0.05, GOOD))
    )

    answered = await house.ask(line)

    first, second = answered.record.attempts
    assert first.started_us < 40_000
    assert first.latency_us >= 50_000
    assert second.started_us >= first.started_us + first.latency_us
    assert answered.record.duration_us >= 100_000


@pytest.mark.parametrize(
    ("costs", "total"),
    [((0,), 0), ((None,), None), ((3, 4), 7), ((3, None), None), ((0, 0), 0), ((), 0)],
)
def test_an_unknown_cost_is_unknown_and_not_nothing(
    costs: tuple[int | None, ...], total: int | None
) -> None:
    attempts = [Attempt("r", "answered", 0, 0, cost_nano=cost) for cost in costs]

    assert total_cost(attempts) == total


async def test_a_failed_attempt_that_was_charged_counts_in_the_cost_of_the_call(
    house: House,
) -> None:
    charged = BadAnswer("m")
    charged.cost_nano = 5
    line = line_for(Orders, ScriptedPredictor(charged), ScriptedPredictor(GOOD))

    answered = await house.ask(line)

    assert [one.cost_nano for one in answered.record.attempts] == [5, 0]
    assert answered.record.cost_nano == 5


async def test_a_timed_out_attempt_makes_the_cost_of_the_call_unknown(house: House) -> None:
    slow = ScriptedPredictor(After(9.0, GOOD))
    line = line_for(Orders, slow, ScriptedPredictor(GOOD), timeouts=(0.02,))

    answered = await house.ask(line)

    assert answered.record.cost_nano is None


class SlowContext(Orders):
    """Look up for longer than the deadline."""

    deadline = 0.1

    async def context(self, order: Order, look: splice.Lookup) -> dict[str, Any]:
        await asyncio.sleep(30)
        return {}


async def test_the_deadline_holds_when_context_is_slow(house: House) -> None:
    line = line_for(SlowContext, ScriptedPredictor(GOOD))
    began = time.monotonic()

    answered = await house.ask(line)

    assert time.monotonic() - began < 2.0
    assert isinstance(answered.error, GatherError)
    assert "nothing within 0.1 s" in answered.error.got
    record = await house.recorded(answered.record.call_id)
    assert (record.status, record.reason) == (Status.FAILED, Reason.CONTEXT_FAILED)


class HandsOn(Orders):
    """A plain function that hands on what is still to be waited for."""

    deadline = 0.1

    def context(self, order: Order, look: splice.Lookup) -> Any:
        return self.found(order)

    async def found(self, order: Order) -> dict[str, Any]:
        await asyncio.sleep(30 if order.customer == "slow" else 0.001)
        return {"amount": 1.0}


async def test_a_plain_context_that_must_be_waited_for_is_waited_for_without_a_task(
    house: House,
) -> None:
    line = line_for(HandsOn, ScriptedPredictor(GOOD))
    line.simple = line.steps[0].immediate = True
    asker = asyncio.current_task()
    answers: list[Answered] = []

    async def ask(customer: str) -> None:
        answers.append(await house.ask(line, {"customer": customer, "amount": 1.0}))

    drive(ask("c"), asyncio.get_running_loop())  # from within a task, which is not its own
    drive(ask("slow"), asyncio.get_running_loop())
    while len(answers) < 2:
        await asyncio.sleep(0.01)

    assert answers[0].error is None
    assert isinstance(answers[1].error, GatherError)
    assert asker is not None
    assert asker.cancelling() == 0


CIRCLE: dict[str, Any] = {}
CIRCLE["circle"] = CIRCLE


@pytest.mark.parametrize(
    ("found", "got"),
    [
        (KeyError("customer"), "KeyError: 'customer'"),
        (TimeoutError("the database"), "TimeoutError: the database"),
        ([("a", 1)], "list"),
        (None, "NoneType"),
        ({"text": "\ud800"}, "a value that is not JSON"),
        (CIRCLE, "a value that is not JSON"),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
async def test_a_context_that_is_none_is_a_problem_that_is_recorded(
    house: House, found: Any, got: str, waits: bool
) -> None:
    def look_up() -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    async def look_up_later() -> Any:
        return look_up()

    class BadContext(Orders):
        """Look up what is none."""

        def context(self, order: Order, look: splice.Lookup) -> Any:
            return look_up_later() if waits else look_up()

    answered = await house.ask(line_for(BadContext, ScriptedPredictor(GOOD)))

    assert isinstance(answered.error, GatherError)
    assert got in answered.error.got
    record = await house.recorded(answered.record.call_id)
    assert (record.status, record.reason) == (Status.FAILED, Reason.CONTEXT_FAILED)
    assert record.input == b'{"customer":"c-1","amount":5.0}'


@pytest.mark.parametrize(
    "said",
    [
        ZeroDivisionError("division"),
        Order("c", 1.0),
        Screening(float("nan")),
        Screening(float("inf")),
        Screening("much"),  # type: ignore[arg-type]
        Screening("\ud800"),  # type: ignore[arg-type]
        Screening(CIRCLE),  # type: ignore[arg-type]
        Screening(object()),  # type: ignore[arg-type]
        {"risk": 0.5},
        None,
    ],
)
async def test_a_decision_that_is_none_is_a_problem_that_is_recorded(
    house: House, said: Any
) -> None:
    class BadDecision(Orders):
        """Decide what is none."""

        def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
            if isinstance(said, Exception):
                raise said
            return said

    answered = await house.ask(line_for(BadDecision, ScriptedPredictor(GOOD)))

    assert isinstance(answered.error, DecisionError)
    record = await house.recorded(answered.record.call_id)
    assert (record.status, record.reason) == (Status.FAILED, Reason.DECISION_FAILED)
    assert record.reply is None
    assert msgspec.json.decode(record.prediction or b"") == {"score": 0.25, "cost_nano": 0}


async def test_a_caller_in_this_process_who_goes_away_is_recorded_as_cancelled(
    house: House,
) -> None:
    line = line_for(Orders, ScriptedPredictor(After(9.0, GOOD)))
    task = asyncio.create_task(house.ask(line))
    await asyncio.sleep(0.02)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await house.recorder.flush()
    (record,) = house.store.stored
    assert (record.status, record.reason) == (Status.FAILED, Reason.CANCELLED)
    assert house.engine.in_flight == 0
