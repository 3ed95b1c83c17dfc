"""Concurrent questions to one model run together; a lone one never waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from engine_house import House, Orders, line_for

from splice.core.call import Prediction
from splice.core.errors import ModelMismatch, RouteCrashed, RouteError
from splice.engine.routing.batched import Batched
from splice.ports.predictor import Question
from splice.testing.fakes import ScriptedModel

SLOW = 0.005  # a row that is measured to take this long runs in a thread


def question(**context: Any) -> Question:
    return Question("call", context, time.monotonic() + 10)


def score_of(row: Mapping[str, Any]) -> float:
    if row.get("bad"):
        raise ModelMismatch("model", got="a bad row")
    if row.get("crash"):
        raise MemoryError("no room")
    return float(row["score"])


async def test_questions_of_one_tick_make_one_batch_and_each_gets_its_own_answer() -> None:
    model = ScriptedModel(score_of)
    batched = Batched(model, "m")

    answers = await asyncio.gather(*(batched.predict(question(score=i)) for i in range(40)))

    assert [one.score for one in answers] == list(range(40))
    assert model.batches == [40]


async def test_a_batch_is_never_larger_than_its_bound() -> None:
    model = ScriptedModel(score_of)
    batched = Batched(model, "m", max_batch=16)

    await asyncio.gather(*(batched.predict(question(score=i)) for i in range(40)))

    assert model.batches == [16, 16, 8]


async def test_concurrent_calls_of_an_integration_share_a_run_of_the_model(house: House) -> None:
    model = ScriptedModel(lambda row: row["amount"])
    line = line_for(Orders, Batched(model, "m"))

    answered = await asyncio.gather(
        *(house.ask(line, {"customer": "c", "amount": i / 100}) for i in range(50))
    )

    assert [one.record.reply for one in answered] == [b'{"risk":%s}' % str(i / 100).encode()
                                                      for i in range(50)]  # fmt: skip
    assert model.batches == [50]


async def test_a_lone_question_is_answered_in_the_tick_it_came_in() -> None:
    model = ScriptedModel(score_of)
    batched = Batched(model, "m")
    ticks = 0

    future = batched.predict(question(score=1))
    while not future.done():
        await asyncio.sleep(0)
        ticks += 1

    assert ticks == 1
    assert model.batches == [1]


@pytest.mark.parametrize("row_seconds", [0.0, SLOW])
@pytest.mark.parametrize(("fault", "kind"), [("bad", ModelMismatch), ("crash", RouteCrashed)])
async def test_a_bad_row_spoils_only_its_own_answer(
    row_seconds: float, fault: str, kind: type[RouteError]
) -> None:
    batched = Batched(ScriptedModel(score_of, row_seconds=row_seconds), "m")
    rows = [question(score=i) for i in range(5)]
    rows[2] = question(bad=True)
    rows[4] = question(**{fault: True})

    answers = await asyncio.gather(*map(batched.predict, rows), return_exceptions=True)

    scores = [one.score for one in answers if isinstance(one, Prediction)]
    assert scores == [0, 1, 3]
    assert isinstance(answers[2], ModelMismatch)
    assert isinstance(answers[4], kind)


@pytest.mark.parametrize("row_seconds", [0.0, SLOW])
async def test_a_model_that_answers_too_few_rows_is_a_crash_and_not_a_wait_for_ever(
    row_seconds: float,
) -> None:
    class Short(ScriptedModel):
        def run(self, rows: Any) -> list[Prediction]:
            return super().run(rows)[1:]

    batched = Batched(Short(score_of, row_seconds=row_seconds), "m")

    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *(batched.predict(question(score=i)) for i in range(3)), return_exceptions=True
        )

    assert [type(one) for one in answers] == [RouteCrashed] * 3


async def test_a_slow_model_runs_in_a_thread_and_the_loop_goes_on() -> None:
    model = ScriptedModel(score_of, row_seconds=SLOW, sleeps=0.2)
    batched = Batched(model, "m")
    ticks = 0

    future = batched.predict(question(score=1))
    while not future.done():
        await asyncio.sleep(0.001)
        ticks += 1

    assert ticks > 20
    assert model.threads == {"run m_0"}
    await batched.close()


async def test_what_comes_while_a_slow_model_runs_makes_its_next_batch() -> None:
    model = ScriptedModel(score_of, row_seconds=SLOW, sleeps=0.1)
    batched = Batched(model, "m")

    first = batched.predict(question(score=0))
    await asyncio.sleep(0.02)
    later = [batched.predict(question(score=i)) for i in range(1, 31)]
    answers = await asyncio.gather(first, *later)

    assert [one.score for one in answers] == list(range(31))
    assert model.batches == [1, 30]


async def test_callers_who_went_away_are_left_out_of_a_slow_models_batch() -> None:
    model = ScriptedModel(score_of, row_seconds=SLOW, sleeps=0.1)
    batched = Batched(model, "m")
    first = batched.predict(question(score=0))
    await asyncio.sleep(0.02)
    gone = [batched.predict(question(score=i)) for i in range(20)]
    stays = batched.predict(question(score=99))

    for one in gone:
        one.cancel()
    answers = await asyncio.gather(first, stays)

    assert [one.score for one in answers] == [0, 99]
    assert model.batches == [1, 1]


async def test_a_caller_who_goes_away_does_not_disturb_the_others(house: House) -> None:
    model = ScriptedModel(lambda row: row["amount"], row_seconds=SLOW, sleeps=0.1)
    line = line_for(Orders, Batched(model, "m"))
    asked = [asyncio.create_task(house.ask(line, {"customer": "c", "amount": i})) for i in (0, 1)]
    await asyncio.sleep(0.02)

    asked[0].cancel()
    answered = await asked[1]

    assert answered.record.reply == b'{"risk":1.0}'


@pytest.mark.parametrize(("rate", "known"), [(None, False), (1e9, True)])
async def test_the_cost_of_a_run_is_shared_by_its_rows_and_unknown_without_a_price(
    rate: float | None, known: bool
) -> None:
    batched = Batched(ScriptedModel(score_of, sleeps=0.02), "m", nano_per_second=rate)

    answers = await asyncio.gather(*(batched.predict(question(score=i)) for i in range(4)))

    costs = {one.cost_nano for one in answers}
    assert len(costs) == 1
    (cost,) = costs
    assert (cost is not None) == known
    if cost is not None:
        assert 0.005e9 <= cost < 0.2e9
