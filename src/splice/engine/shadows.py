"""Shadows: answered calls are asked again on routes that are only watched.

Nobody waits for a shadow and nobody gets its answer. It begins when its call is answered and
recorded, models of this process run it aside, and where too many run already it is left out and
counted: a caller never waits for a shadow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import msgspec

from splice.core.access import ANYONE
from splice.core.call import Call, Problem, Reason, Record, Status
from splice.core.errors import DecisionError, RefusedError, SpliceError
from splice.core.rollout import SHADOW, WHOLE, place
from splice.engine import observe
from splice.engine.attempts import whole_record
from splice.engine.decide import decide
from splice.engine.faults import faults
from splice.engine.infer import infer, total_cost
from splice.engine.line import Line, Step
from splice.engine.observe import Metrics
from splice.engine.record import Recorder
from splice.engine.speech import Speech
from splice.engine.spend import NO_RESERVATION, Purse
from splice.ports.predictor import Question

_PROBE_NANO = 1
"""A shadow asks for a billionth: a budget that is spent has no room for it."""

_LATE_S = 1.0
"""The route's own deadline comes first: it says what was late."""

MOST = 32
"""Shadows of one process that run at once: enough for what comes while one batch runs."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Ground(Protocol):
    """What shadows need of the engine."""

    recorder: Recorder
    metrics: Metrics
    purse: Purse | None

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on whatever becomes of its caller."""
        ...

    async def sealed(self, line: Line, record: Record) -> Record:
        """The record as it is kept."""
        ...


class Shadows:
    """Repeats calls on the shadow routes of their release."""

    def __init__(self, ground: Ground, new_id: Callable[[], str]) -> None:
        self._ground = ground
        self._new_id = new_id
        self._running = 0

    def repeat(
        self, line: Line, call: Call, entity: str | None, request: Any, context: Mapping[str, Any]
    ) -> None:
        """Ask the shadow routes what this typed call was asked, later."""
        for step in self._wanted(line, call):
            self._start(line, self._typed(line, step, call, entity, request, context))

    def repeat_conversation(self, speech: Speech) -> None:
        """The same for a conversation; its shadow is always asked for a whole answer."""
        line, call = speech.line, speech.call
        for step in self._wanted(line, call):
            again = Speech(line, call, speech.asked, speech.input_tokens, NO_RESERVATION)
            self._start(line, self._spoken(again, step))

    def _wanted(self, line: Line, call: Call) -> tuple[Step, ...]:
        shadow = line.shadow
        if shadow is None or line.closed:
            return ()
        if shadow.share < WHOLE and place("shadow", call.id) >= shadow.share:
            return ()
        return shadow.steps

    def _start(self, line: Line, work: Coroutine[Any, Any, Record]) -> None:
        if self._running >= MOST or self._ground.recorder.full:
            work.close()
            self._count(line, "dropped")
            return
        self._running += 1
        self._ground.in_background(self._watched(line, work))

    async def _watched(self, line: Line, work: Coroutine[Any, Any, Record]) -> None:
        try:
            record = await self._paid(line, work)
            kept = await self._ground.sealed(line, record)
            self._ground.recorder.put(kept)
            self._count(line, str(record.status))
        except (TimeoutError, RefusedError):
            self._count(line, "dropped")
        except Exception as error:  # noqa: BLE001 - the task ends here
            faults.told(f"a shadow of {line.name}", error)
            self._count(line, "dropped")
        finally:
            work.close()  # it never began where a budget had no room
            self._running -= 1

    async def _paid(self, line: Line, work: Coroutine[Any, Any, Record]) -> Record:
        """What a shadow costs counts in the budgets of its integration, though nobody asked it."""
        purse = self._ground.purse
        reserved = NO_RESERVATION
        if purse is not None:
            budgets = line.declaration.options.budgets
            reserved = await purse.reserve(ANYONE, line.name, budgets, _PROBE_NANO, 0)
        record: Record | None = None
        try:
            async with asyncio.timeout(line.deadline_s + _LATE_S):
                record = await work
            return record
        finally:
            if purse is not None and reserved:
                await purse.settle(reserved, None if record is None else record.cost_nano, None)

    def _count(self, line: Line, ended: str) -> None:
        self._ground.metrics.add(observe.SHADOWS, (line.name, ended))

    async def _typed(
        self,
        line: Line,
        step: Step,
        call: Call,
        entity: str | None,
        request: Any,
        context: Mapping[str, Any],
    ) -> Record:
        started = time.monotonic()
        question = Question(call.id, context, started + line.deadline_s)
        inferred = await infer(line, question, started, (step,))
        prediction, reply, problem = inferred.prediction, None, None
        status, reason = Status.FAILED, Reason.EXHAUSTED
        if prediction is not None:
            try:
                reply = decide(line, request, prediction, context)
                status, reason = Status.ANSWERED, Reason.FIRST
            except DecisionError as error:
                reason, problem = Reason.DECISION_FAILED, error
        record = self._record(line, call, started, status, reason)
        record.entity = entity
        record.attempts = tuple(inferred.attempts)
        record.cost_nano = total_cost(inferred.attempts)
        record.prediction = None if prediction is None else _encode(prediction)
        record.reply = reply
        if prediction is not None:
            record.route, record.version = step.route.label, step.route.version
        if problem is not None:
            record.problem = _problem(problem)
        return record

    async def _spoken(self, speech: Speech, step: Step) -> Record:
        said = await whole_record(speech, (step,))
        said.call_id, said.shadow_of = self._new_id(), speech.call.id
        said.surface = said.variant = SHADOW
        said.key = None
        said.asked_us = time.time_ns() // 1000
        return said

    def _record(
        self, line: Line, call: Call, started: float, status: Status, reason: Reason
    ) -> Record:
        return Record(
            self._new_id(),
            line.name,
            line.release.number,
            time.time_ns() // 1000,
            int((time.monotonic() - started) * 1e6),
            status,
            reason,
            SHADOW,
            call.caller,
            variant=SHADOW,
            input=call.body,
            trace=call.trace,
            shadow_of=call.id,
        )


def _problem(error: SpliceError) -> Problem:
    return Problem(error.code, error.where, error.detail)
