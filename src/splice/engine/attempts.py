"""The attempts of a conversation: its routes in their order, each tried within its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from splice.core.call import Reason, Record, Status
from splice.core.chat import WireReply
from splice.core.errors import ExhaustedError, RequestError, RouteCrashed, RouteError
from splice.engine.faults import faults
from splice.engine.fencing import Outside
from splice.engine.infer import share_of
from splice.engine.line import Step
from splice.engine.live import Opened
from splice.engine.routing.cheapest import in_order
from splice.engine.routing.relayed import Relayed
from splice.engine.routing.tried import Ask, Tried
from splice.engine.speech import Speech
from splice.ports.predictor import Note
from splice.ports.providers import Provider

T = TypeVar("T")


def to_try(speech: Speech, steps: Sequence[Step]) -> Iterator[tuple[Step, Relayed, float]]:
    """The routes worth trying, each with when to give it up (on `time.monotonic()`).

    Those that are not are noted among the attempts.
    """
    deadline = speech.started + speech.line.deadline_s
    ordered = in_order(speech.line, steps, speech.input_tokens)
    for position, step in enumerate(ordered):
        relayed = step.predictor
        if isinstance(relayed, Outside):
            speech.unavailable(step, relayed.error.code, str(relayed.error))
            continue
        if not isinstance(relayed, Relayed) or step.unavailable or step.withdrawn:
            speech.unavailable(step, "model_unavailable", step.withdrawn or step.unavailable)
            continue
        now = time.monotonic()
        left = (deadline - now) * share_of(position, len(ordered))
        if left <= 0:
            speech.unavailable(step, "timeout", "the deadline of the call had passed")
            continue
        yield step, relayed, now + min(left, step.route.timeout_s)


async def whole(speech: Speech, step: Step, relayed: Relayed, until: float) -> WireReply:
    """The whole answer of one route.

    Raises:
        RequestError: The provider says that the request is wrong.
        RouteError: The route did not answer; it is among the attempts.
    """
    tried: Tried[WireReply] = Tried(
        relayed.balanced, relayed.patience, until, _noting(speech, step, relayed)
    )
    asked, trace = speech.asked, speech.call.trace

    async def ask(provider: Provider, left: float) -> WireReply:
        return await provider.send(relayed.request(asked, left, trace))

    reply = await _tried(tried, ask, speech, step, relayed)
    seconds = time.monotonic() - tried.began
    reply = relayed.priced(reply, seconds)
    speech.answered(step, tried.began, reply)
    relayed.took(seconds)
    return reply


async def begun(
    speech: Speech, step: Step, relayed: Relayed, until: float
) -> tuple[Opened, Tried[Opened]]:
    """The stream of one route, begun: its first token has come.

    Raises:
        RequestError: The provider says that the request is wrong.
        RouteError: The route did not begin to answer; it is among the attempts.
    """
    tried: Tried[Opened] = Tried(
        relayed.balanced, relayed.patience, until, _noting(speech, step, relayed), Opened.drop
    )
    # The whole of a stream has the call's deadline; only its beginning can be tried again.
    deadline = speech.started + speech.line.deadline_s

    async def ask(provider: Provider, left: float) -> Opened:
        request = relayed.request(speech.asked, deadline - time.monotonic(), speech.call.trace)
        return await Opened.by(provider, request, min(left, relayed.patience.first_s))

    return await _tried(tried, ask, speech, step, relayed), tried


async def _tried(tried: Tried[T], ask: Ask[T], speech: Speech, step: Step, relayed: Relayed) -> T:
    provider = relayed.balanced.provider
    try:
        return await tried.answer(ask)
    except RouteError as error:
        speech.failed(step, tried.began, error, provider)
        raise
    except RequestError as error:
        speech.unavailable(step, error.code, str(error))
        raise
    except asyncio.CancelledError:
        speech.stopped(step, tried.began, provider)
        raise
    except Exception as error:  # an adapter's own mistake must not take the next route with it
        label = step.route.label
        crash = RouteCrashed(label, got=faults.told(f"{speech.line.name} {label}", error))
        crash.cost_nano = None
        speech.failed(step, tried.began, crash, provider)
        raise crash from error


def _noting(speech: Speech, step: Step, relayed: Relayed) -> Note:
    def note(began: float, error: RouteError | None) -> None:
        if error is None:
            speech.outrun(step, began, relayed.balanced.provider)
        else:
            speech.failed(step, began, error, relayed.balanced.provider)

    return note


async def whole_record(speech: Speech, steps: Sequence[Step]) -> Record:
    """What the first of the routes that answers says, as a record that is not stored."""
    try:
        for step, relayed, until in to_try(speech, steps):
            try:
                reply = await whole(speech, step, relayed, until)
            except RouteError:
                continue  # it is among the attempts
            return speech.record(Status.ANSWERED, reason_of(speech), reply.body)
    except RequestError as error:
        return speech.record(Status.FAILED, Reason.REJECTED, None, error)
    return speech.record(Status.FAILED, Reason.EXHAUSTED, None, exhausted(speech))


def reason_of(speech: Speech) -> Reason:
    """Why this answer, once it is among the attempts."""
    routes = {one.route for one in speech.attempts}
    return Reason.FIRST if len(routes) == 1 else Reason.FALLBACK


def exhausted(speech: Speech) -> ExhaustedError:
    """The error of a call that no route answered."""
    tried = "; ".join(f"{one.route} {one.ended}" for one in speech.attempts)
    return ExhaustedError(
        speech.line.name,
        got=f"no answer from any route ({tried or 'it has none'})",
        mend="splice calls explain tells what each attempt said",
    )
