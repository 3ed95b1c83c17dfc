"""Abreast: calls that came together go through one run of their model, without a task each.

For lines on which nothing waits for the world. What does not go through smoothly (a context that
must be awaited, a model that is withdrawn, a prediction that is none) is left to the way of one
call, which tries the next route and says what went wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.core.call import Attempt, Call, Prediction, Problem, Reason, Record, Status
from splice.core.errors import DecisionError, SpliceError
from splice.engine.admit import entity_of
from splice.engine.decide import decide
from splice.engine.engine import Engine
from splice.engine.gather import Look, recorded
from splice.engine.infer import ANSWERED
from splice.engine.line import Line
from splice.engine.routing.batched import Batched
from splice.engine.run import Answered, encode, plain


class _Ready(msgspec.Struct, gc=False):
    """Calls whose contexts are there, in columns: a list of each kind of thing, in one order."""

    places: list[int] = []
    entities: list[str | None] = []
    requests: list[Any] = []  # of the declared type
    contexts: list[Mapping[str, Any]] = []
    recorded: list[bytes | None] = []


def fits(line: Line) -> bool:
    """Whether calls of a line may go abreast."""
    return (
        line.simple
        and line.split is None
        and line.shadow is None
        and line.seal is None
        and line.guard is None
        and isinstance(line.steps[0].predictor, Batched)
    )


def together(line: Line) -> int:
    """How many calls of a line that `fits` make one run of its model."""
    model = line.steps[0].predictor
    return model.together if isinstance(model, Batched) else 1


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
    started = time.monotonic()
    look = Look(calls[0].asked_us, None)  # a context that gives what it has looks nothing up
    ready = _gathered(line, calls, look)
    if not ready.places:
        return answers
    began = time.monotonic()
    predictions, took, cost = model.run_now(ready.contexts)
    route = step.route
    # One run is the attempt of all of them.
    attempts = (
        Attempt(
            route.label, ANSWERED, int((began - started) * 1e6), int(took * 1e6), route.version,
            "", None, cost,
        ),
    )  # fmt: skip
    duration_us = int((time.monotonic() - started) * 1e6)
    number, label, version = line.release.number, route.label, route.version
    records: list[Record] = []
    place: int
    for place, entity, request, context, text, prediction in zip(
        ready.places, ready.entities, ready.requests, ready.contexts, ready.recorded, predictions,
        strict=True,
    ):  # fmt: skip
        if not isinstance(prediction, Prediction) or prediction.usage is not None:
            continue
        prediction.cost_nano = cost
        call = calls[place]
        record = Record(
            call.id, call.integration, number, call.asked_us, duration_us,
            Status.ANSWERED, Reason.FIRST, call.surface, call.caller, entity, None,
            label, "", version, cost, call.body, (), text, attempts,
            encode(plain(prediction)), None, None, call.trace,
        )  # fmt: skip
        try:
            record.reply = decide(line, request, prediction, context)
        except DecisionError as error:
            answers[place] = _undecided(engine, record, error)
            continue
        records.append(record)
        answers[place] = Answered(record, None, None, record)
    if records:
        engine.told(*records)
    return answers


def _undecided(engine: Engine, record: Record, error: DecisionError) -> Answered:
    record.status, record.reason = Status.FAILED, Reason.DECISION_FAILED
    record.problem = Problem(error.code, error.where, error.detail)
    engine.told(record)
    return Answered(record, error, kept=record)


def _gathered(line: Line, calls: Sequence[Call], look: Look) -> _Ready:
    """Those whose body is a request, and whose context is there at once."""
    ready = _Ready()
    codec, where, ask = line.request, line.where, line.context
    has_entity = line.declaration.entity is not None
    for place, call in enumerate(calls):
        try:
            request = codec.decode(call.body, where)
            entity = entity_of(line, request) if has_entity else None
            if ask is None:
                context, text = codec.fields(request), None
            else:
                found: Any = ask(request, look)
                if type(found) is not dict:
                    continue
                context = cast("dict[str, Any]", found)
                text = recorded(line, context)
        except Exception:  # noqa: BLE001, S112 - the user's own code: the way of one call says it
            continue
        ready.places.append(place)
        ready.entities.append(entity)
        ready.requests.append(request)
        ready.contexts.append(context)
        ready.recorded.append(text)
    return ready
