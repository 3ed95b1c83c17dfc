"""Abreast: calls that came together go through one run of their model, without a task each.

For lines on which nothing waits for the world. What does not go through smoothly (a context that
must be awaited, a model that is withdrawn, a prediction that is none) is left to the way of one
call, which tries the next route and says what went wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import msgspec

from splice.core.call import (
    Attempt,
    Call,
    Prediction,
    Problem,
    Reason,
    Record,
    Status,
    Trace,
)
from splice.core.errors import DecisionError, SpliceError
from splice.engine.admit import entity_of
from splice.engine.decide import decide
from splice.engine.engine import Engine
from splice.engine.gather import Look, recorded
from splice.engine.infer import ANSWERED
from splice.engine.line import Line
from splice.engine.routing.batched import Batched
from splice.engine.run import encode, plain


class Asked(msgspec.Struct, gc=False):
    """Calls of one caller that came together: of each its id, its body and its trace."""

    surface: str
    caller: str
    asked_us: int
    ids: Sequence[str]
    bodies: Sequence[bytes]
    traces: Sequence[Trace | None]


class Answers(msgspec.Struct, gc=False):
    """What became of them, in their order: a record, or None for one that must go alone.

    `failed` says why a call failed, by its place.
    """

    records: list[Record | None]
    failed: dict[int, SpliceError] = {}


_Ready: TypeAlias = "tuple[int, str | None, Any, Mapping[str, Any], bytes | None]"
"""Place of a call, entity, request (of the declared type), context, and that as it is recorded."""


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


def answer_abreast(engine: Engine, line: Line, asked: Asked) -> Answers:
    """Answers calls without idempotency keys.

    As `Engine.answer` with `recorded=False`: the records are for the surface to store.
    """
    answers = Answers([None] * len(asked.ids))
    step = line.steps[0]
    model = step.predictor
    if not isinstance(model, Batched) or step.unavailable or step.withdrawn or not asked.ids:
        return answers
    first = Call(
        asked.ids[0], line.name, asked.bodies[0], asked.asked_us, asked.surface, asked.caller
    )
    try:
        engine.admit(line, first)  # they are of one caller: what holds for one holds for all
    except SpliceError:
        return answers
    if engine.counts(line, first):
        return answers
    started = time.monotonic()
    look = Look(asked.asked_us, None)  # a context that gives what it has looks nothing up
    ready = _gathered(line, asked.bodies, look)
    if not ready:
        return answers
    began = time.monotonic()
    predictions, took, cost = model.run_now([context for _, _, _, context, _ in ready])
    route = step.route
    # One run is the attempt of all of them.
    attempts = (
        Attempt(
            route.label, ANSWERED, int((began - started) * 1e6), int(took * 1e6), route.version,
            "", None, cost,
        ),
    )  # fmt: skip
    duration_us = int((time.monotonic() - started) * 1e6)
    told = _recorded(line, asked, ready, predictions, attempts, duration_us, answers)
    if told:
        engine.told(*told)
    return answers


def _recorded(  # what one run has in common is worked out once
    line: Line, asked: Asked, ready: Sequence[_Ready], predictions: Sequence[Any],
    attempts: tuple[Attempt], duration_us: int, answers: Answers,
) -> list[Record]:  # fmt: skip
    """The records of those that a model answered; they are put where they belong."""
    told: list[Record] = []
    ids, bodies, traces, records = asked.ids, asked.bodies, asked.traces, answers.records
    name, number, asked_us = line.name, line.release.number, asked.asked_us
    surface, caller = asked.surface, asked.caller
    label, version, cost = attempts[0].route, attempts[0].version, attempts[0].cost_nano
    for (place, entity, request, context, text), prediction in zip(ready, predictions, strict=True):
        if not isinstance(prediction, Prediction) or prediction.usage is not None:
            continue
        prediction.cost_nano = cost
        records[place] = record = Record(
            ids[place], name, number, asked_us, duration_us, Status.ANSWERED, Reason.FIRST,
            surface, caller, entity, None, label, "", version, cost, bodies[place], (), text,
            attempts, encode(plain(prediction)), None, None, traces[place],
        )  # fmt: skip
        try:
            record.reply = decide(line, request, prediction, context)
        except DecisionError as error:
            record.status, record.reason = Status.FAILED, Reason.DECISION_FAILED
            record.problem = Problem(error.code, error.where, error.detail)
            answers.failed[place] = error
        told.append(record)
    return told


def _gathered(line: Line, bodies: Sequence[bytes], look: Look) -> list[_Ready]:
    """Those whose body is a request, and whose context is there at once."""
    ready: list[_Ready] = []
    decode, where, ask = line.request.decode, line.where, line.context
    fields, has_entity = line.request.fields, line.declaration.entity is not None
    for place, body in enumerate(bodies):
        try:
            request = decode(body, where)
            entity = entity_of(line, request) if has_entity else None
            if ask is None:
                ready.append((place, entity, request, fields(request), None))
                continue
            found: Any = ask(request, look)
            if type(found) is dict:
                context = cast("dict[str, Any]", found)
                ready.append((place, entity, request, context, recorded(line, context)))
        except Exception:  # noqa: BLE001, S112 - the user's own code: the way of one call says it
            continue
    return ready
