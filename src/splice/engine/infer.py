"""Infer: the routes run in order, each with its timeout, all inside one deadline."""

from __future__ import annotations

import asyncio
import time

import msgspec

from splice.core.call import Attempt, Prediction
from splice.core.errors import RouteCrashed, RouteError
from splice.engine.faults import faults
from splice.engine.line import Line, Step
from splice.ports.predictor import Note, Question

ANSWERED = "answered"

# A route never takes the whole of what is left of the deadline while another stands behind it.
_SHARE_WITH_NEXT = 0.8


def share_of(position: int, routes: int) -> float:
    """The share of the time left that the route at a position may take."""
    return 1.0 if position == routes - 1 else _SHARE_WITH_NEXT


class Inferred(msgspec.Struct, gc=False):
    """The prediction with the step that gave it (both None where no route answered)."""

    attempts: list[Attempt]
    prediction: Prediction | None = None
    step: Step | None = None


async def infer(
    line: Line, question: Question, started: float, steps: tuple[Step, ...] | None = None
) -> Inferred:
    """Tries each route until one answers or the deadline has passed.

    `steps` are the routes of the call's variant; those of the release where they are left out.
    `started` is when the call began, on `time.monotonic()`, the clock of the question's deadline.
    """
    inferred = Inferred([])
    steps = line.steps if steps is None else steps
    for position, step in enumerate(steps):
        begun = time.monotonic()
        if not step.immediate:  # a route that waits may try more than once, and says so
            question.note = _noting(inferred.attempts, step, started)
        left = (question.deadline - begun) * share_of(position, len(steps))
        ended, why, prediction, cost, limit = ANSWERED, "", None, 0, None
        if step.predictor is None or step.unavailable or step.withdrawn:
            ended, why = "model_unavailable", step.withdrawn or step.unavailable
        elif left <= 0:
            ended, why = "timeout", "the deadline of the call had passed"
        else:
            patience = min(step.route.timeout_s, left)
            question.until = begun + patience
            try:
                answer = step.predictor.predict(question)
                if isinstance(answer, Prediction):
                    prediction = answer
                elif step.immediate:
                    prediction = await answer
                else:
                    async with asyncio.timeout(patience) as limit:
                        prediction = await answer
                cost = prediction.cost_nano
            except RouteError as error:
                ended, why, cost = error.code, str(error), error.cost_nano
            except Exception as error:  # noqa: BLE001 - a route may run the user's own code
                prediction = None
                if limit is not None and limit.expired():
                    ended, why, cost = "timeout", f"no answer within {patience:.3g} s", None
                else:  # a TimeoutError of its own is a crash as any other
                    told = faults.told(f"{line.name} {step.route.label}", error)
                    crash = RouteCrashed(step.route.label, got=told)
                    ended, why = crash.code, str(crash)
        inferred.attempts.append(
            Attempt(
                step.route.label,
                ended,
                int((begun - started) * 1e6),
                int((time.monotonic() - begun) * 1e6),
                step.route.version,
                why,
                usage=None if prediction is None else prediction.usage,
                cost_nano=cost,
                masked=None if prediction is None else prediction.masked,
            )
        )
        if prediction is not None:
            inferred.prediction, inferred.step = prediction, step
            break
    return inferred


def _noting(attempts: list[Attempt], step: Step, started: float) -> Note:
    def note(began: float, error: RouteError | None) -> None:
        ended = "outrun" if error is None else error.code
        why = "another try answered first" if error is None else str(error)
        cost = None if error is None else error.cost_nano
        attempts.append(
            Attempt(
                step.route.label,
                ended,
                int((began - started) * 1e6),
                int((time.monotonic() - began) * 1e6),
                step.route.version,
                why,
                None,
                cost,
            )
        )

    return note


def total_cost(attempts: list[Attempt]) -> int | None:
    """What a call cost in billionths of the currency; None as soon as one attempt's is unknown."""
    total = 0
    for attempt in attempts:
        if attempt.cost_nano is None:
            return None
        total += attempt.cost_nano
    return total
