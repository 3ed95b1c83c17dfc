"""Calls that go abreast get what each would have got alone, or are left to go alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from engine_house import House, Order, Orders, call_of, line_for

import splice
from splice.core.call import Call, Prediction, Status
from splice.core.errors import ModelMismatch
from splice.engine.abreast import Answers, Asked, answer_abreast, fits
from splice.engine.line import Line
from splice.engine.routing.batched import Batched
from splice.testing.fakes import ScriptedModel, ScriptedPredictor

AMOUNTS: list[Any] = [0.1, 0.2, "many", 0.3, None, -1.0, 0.4, -2.0, -3.0, 0.5]
BODIES = [{"customer": f"c-{n}", "amount": amount} for n, amount in enumerate(AMOUNTS)]


def score(row: Mapping[str, Any]) -> float:
    if row["amount"] == -1.0:
        raise ModelMismatch("model", got="a bad row")
    return float(row["amount"])


class Deciding(Orders):
    """Gathers by a plain function, and breaks where it is told to."""

    def context(self, order: Order, look: splice.Lookup) -> dict[str, Any]:
        if order.amount == -3.0:
            raise OSError("no context")
        return {"amount": order.amount, "customer": order.customer}

    def decide(self, order: Order, prediction: Prediction) -> Any:
        if order.amount == -2.0:
            raise ValueError("no decision")
        return super().decide(order, prediction)


def answered(house: House, line: Line, calls: Sequence[Call]) -> Answers:
    """What becomes of the calls together."""
    first = calls[0]
    asked = Asked(
        first.surface, first.caller, first.asked_us, [one.id for one in calls],
        [one.body for one in calls], [one.trace for one in calls],
    )  # fmt: skip
    return answer_abreast(house.engine, line, asked)


def plain(record: Any) -> dict[str, Any]:
    """A record without what differs from call to call."""
    attempts = tuple(
        msgspec.structs.replace(one, started_us=0, latency_us=0, cost_nano=None)
        for one in record.attempts
    )
    same = msgspec.structs.replace(
        record, call_id="", asked_us=0, duration_us=0, attempts=attempts, cost_nano=None
    )
    return msgspec.structs.asdict(same)


@pytest.mark.parametrize("integration", [Orders, Deciding])
async def test_each_gets_what_it_would_have_got_alone(
    house: House, integration: type[splice.Integration]
) -> None:
    line = line_for(integration, Batched(ScriptedModel(score), "m"))
    calls = [call_of(line, body) for body in BODIES]

    together = answered(house, line, calls)
    alone = {
        place: await house.engine.answer(call, line, recorded=False)
        for place, call in enumerate(calls)
        if together.records[place] is not None
    }

    assert fits(line)
    for place, one in alone.items():
        assert plain(together.records[place]) == plain(one.record) == plain(one.kept)
        assert type(together.failed.get(place)) is type(one.error)
    left = [AMOUNTS[place] for place, one in enumerate(together.records) if one is None]
    own = [-1.0] if integration is Orders else [-1.0, -3.0]
    assert left == ["many", None, *own]
    statuses = {one.status for one in together.records if one is not None}
    assert statuses <= {Status.ANSWERED, Status.FAILED}
    assert (Status.FAILED in statuses) == bool(together.failed) == (integration is Deciding)


async def test_they_share_runs_of_the_model_and_nothing_is_recorded(house: House) -> None:
    model = ScriptedModel(lambda row: row["amount"])
    line = line_for(Orders, Batched(model, "m", max_batch=32))
    calls = [call_of(line, {"customer": "c", "amount": n / 100}) for n in range(50)]

    answers = answered(house, line, calls)

    assert model.batches == [32, 18]
    assert all(answers.records)
    assert not answers.failed
    assert house.store.count() == 0
    assert house.engine.in_flight == 0


@pytest.mark.parametrize(
    ("row_seconds", "batches"),
    [(0.000001, [1024]), (0.00002, [500, 500, 24]), (0.0009, [32] * 32), (0.0, [32] * 32)],
)
async def test_a_run_is_as_long_as_the_rows_of_a_quick_model_are_short(
    house: House, row_seconds: float, batches: list[int]
) -> None:
    model = ScriptedModel(lambda row: row["amount"], row_seconds=row_seconds)
    line = line_for(Orders, Batched(model, "m", max_batch=32))
    calls = [call_of(line, {"customer": "c", "amount": n / 2000}) for n in range(1024)]

    answers = answered(house, line, calls)

    assert model.batches == batches
    predictions = [one.prediction or b"" for one in answers.records if one]
    scores = [msgspec.json.decode(one)["score"] for one in predictions]
    assert scores == [n / 2000 for n in range(1024)]


async def test_lines_on_which_something_waits_do_not_go_abreast(house: House) -> None:
    class Waits(Orders):
        """Gathers what it must wait for."""

        async def context(self, order: Order, look: splice.Lookup) -> dict[str, Any]:
            return {"amount": order.amount}

    fast = ScriptedModel(score)

    assert not fits(line_for(Orders, ScriptedPredictor(Prediction(score=0.1))))
    assert not fits(line_for(Waits, Batched(fast, "m")))
    slow = line_for(Orders, Batched(ScriptedModel(score, row_seconds=0.01), "m"))
    assert not fits(slow)


async def test_a_stopped_line_and_a_withdrawn_model_leave_every_call_to_its_own_way(
    house: House,
) -> None:
    line = line_for(Orders, Batched(ScriptedModel(score), "m"))
    calls = [call_of(line)] * 3

    line.stopped = "by a test"
    stopped = answered(house, line, calls)
    line.stopped, line.steps[0].withdrawn = "", "v1 is withdrawn"
    withdrawn = answered(house, line, calls)

    assert stopped.records == withdrawn.records == [None] * 3
