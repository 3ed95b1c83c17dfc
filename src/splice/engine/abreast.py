"""Abreast: calls that came together go through one run of their model, without a task each.

For lines on which nothing waits for the world. What does not go through smoothly (a context that
must be awaited, a model that is withdrawn, a prediction that is none) is left to the way of one
call, which tries the next route and says what went wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from splice.core.call import Attempt, Call, Prediction, Reason, Status
from splice.core.errors import DecisionError, SpliceError
from splice.engine.admit import entity_of
from splice.engine.decide import decide
from splice.engine.engine import Engine
from splice.engine.gather import Look, recorded
from splice.engine.infer import ANSWERED
from splice.engine.line import Line
from splice.engine.routing.batched import Batched
from splice.engine.run import Answered, Run, encode, plain


class _Ready:
    """A call whose context is there."""

    __slots__ = ("context", "place", "request", "run")

    def __init__(self, place: int, run: Run, request: Any, context: Mapping[str, Any]) -> None:
        self.place, self.run, self.request, self.context = place, run, request, context


def fits(engine: Engine, line: Line) -> bool:
    """Whether calls of a line may go abreast."""
    return (
        line.simple
        and line.split is None
        and line.shadow is None
        and line.seal is None
        and isinstance(line.steps[0].predictor, Batched)
    )


def answer_abreast(engine: Engine, line: Line, calls: Sequence[Call]) -> list[Answered | None]:
    """Answers calls of one caller, without idempotency keys; None for those that must go alone.

    As `Engine.answer` with `recorded=False`: `kept` is what the surface stores.
    """
    answers: list[Answered | None] = [None] * len(calls)
    step = line.steps[0]
    model = step.predictor
    if not isinstance(model, Batched) or step.unavailable or step.withdrawn or not calls:
        return answers
    try:
        engine.admit(line, calls[0])  # they are of one caller: what holds for one holds for all
    except SpliceError:
        return answers
    if engine.counts(line, calls[0]):
        return answers
    ready = [one for place, call in enumerate(calls) if (one := _ready(line, place, call))]
    if not ready:
        return answers
    began = time.monotonic()
    predictions, took, cost = model.run_now([one.context for one in ready])
    latency_us = int(took * 1e6)
    for one, prediction in zip(ready, predictions, strict=True):
        if not isinstance(prediction, Prediction):
            continue
        prediction.cost_nano = cost
        run = one.run
        started_us = int((began - run.started) * 1e6)
        label, version = step.route.label, step.route.version
        run.attempts = [
            Attempt(label, ANSWERED, started_us, latency_us, version, "", prediction.usage, cost)
        ]
        run.prediction, run.route, run.version = encode(plain(prediction)), label, version
        try:
            reply = decide(line, one.request, prediction, one.context)
        except DecisionError as error:
            answered = run.failed(error, Reason.DECISION_FAILED)
        else:
            answered = Answered(run.record(Status.ANSWERED, Reason.FIRST, reply))
        answered.kept = answered.record
        engine.told(answered.record)
        answers[one.place] = answered
    return answers


def _ready(line: Line, place: int, call: Call) -> _Ready | None:
    try:
        request = line.request.decode(call.body, line.where)
        run = Run(line, call, entity_of(line, request), time.monotonic())
        if line.context is None:
            return _Ready(place, run, request, line.request.fields(request))
        look = Look(call.asked_us, None)
        context: Any = line.context(request, look)
        if type(context) is not dict:
            return None
        context = cast("dict[str, Any]", context)
        run.gathered = look.gathered
        run.context = recorded(line, context)
        return _Ready(place, run, request, context)
    except SpliceError:
        return None
    except Exception:  # noqa: BLE001 - the user's own code: the way of one call says what it raised
        return None
