"""Shadows: answered calls are asked again on routes that are only watched.

Nobody waits for a shadow and nobody gets its answer. It begins when its call is answered and
recorded, and models of this process run it aside. Where many run already it waits for its turn, and
where too many wait it is left out and counted: a caller never waits for a shadow.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

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
from splice.engine.routing.batched import Batched
from splice.engine.speech import Speech
from splice.engine.spend import NO_RESERVATION, Purse
from splice.ports.predictor import Question

_PROBE_NANO = 1
"""A shadow asks for a billionth: a budget that is spent has no room for it."""

_LATE_S = 1.0
"""The route's own deadline comes first: it says what was late."""

ASIDE_S = 10.0
"""The timeout of a model of this process. It runs behind everything else, so that how long it takes
says nothing of how long it would take before a caller: the timeout of its route would only count
answers as failures where the machine is busy."""

MOST = 32
"""Shadows of one process that run at once: enough for what comes while one batch runs."""

WAITING = 1000
WAITING_BYTES = 16_000_000
"""What waits for its turn at most, in shadows and in bytes of their requests: enough for a burst,
and not more than a process can spare."""


class _Waiting(NamedTuple):
    line: Line
    work: Coroutine[Any, Any, Record]
    patience_s: float
    size: int


_LOOK_S = 0.02

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
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0

    def repeat(
        self, line: Line, call: Call, entity: str | None, request: Any, context: Mapping[str, Any]
    ) -> None:
        """Ask the shadow routes what this typed call was asked, later."""
        for step in self._wanted(line, call):
            patience_s = line.deadline_s
            if isinstance(step.predictor, Batched):
                patience_s = max(patience_s, ASIDE_S)
                route = msgspec.structs.replace(step.route, timeout_s=patience_s)
                step = msgspec.structs.replace(step, route=route)
            work = self._typed(line, step, call, entity, request, context, patience_s)
            self._start(_Waiting(line, work, patience_s, len(call.body)))

    def repeat_conversation(self, speech: Speech) -> None:
        """The same for a conversation; its shadow is always asked for a whole answer."""
        line, call = speech.line, speech.call
        for step in self._wanted(line, call):
            again = Speech(line, call, speech.asked, speech.input_tokens, NO_RESERVATION)
            work = self._spoken(again, step)
            self._start(_Waiting(line, work, line.deadline_s, len(call.body)))

    def _wanted(self, line: Line, call: Call) -> Iterator[Step]:
        """The routes that are asked again; those there is no room for are counted as left out."""
        shadow = line.shadow
        if shadow is None or line.closed:
            return
        if shadow.share < WHOLE and place("shadow", call.id) >= shadow.share:
            return
        for step in shadow.steps:
            if self._room(len(call.body)):
                yield step
            else:
                self._count(line, "dropped")

    def _room(self, size: int) -> bool:
        """Whether one more, of so many bytes, may run or wait."""
        if self._ground.recorder.full:
            return False
        fits = len(self._waiting) < WAITING and self._waiting_bytes + size <= WAITING_BYTES
        return fits or self._running < MOST

    def _start(self, one: _Waiting) -> None:
        if self._running < MOST:
            self._run(one)
        else:
            self._waiting.append(one)
            self._waiting_bytes += one.size

    def _run(self, one: _Waiting) -> None:
        self._running += 1
        self._ground.in_background(self._watched(one))

    def _drop(self, one: _Waiting) -> None:
        one.work.close()
        self._count(one.line, "dropped")

    def _next(self) -> _Waiting:
        one = self._waiting.popleft()
        self._waiting_bytes -= one.size
        return one

    async def wind_up(self, within_s: float) -> None:
        """Run what waits for its turn, for so many seconds; what is left then is left out."""
        until = time.monotonic() + within_s
        while self._waiting and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)
        while self._waiting:
            self._drop(self._next())

    async def _watched(self, one: _Waiting) -> None:
        line = one.line
        try:
            record = await self._paid(one)
            kept = await self._ground.sealed(line, record)
            self._ground.recorder.put(kept)
            self._count(line, str(record.status))
        except (TimeoutError, RefusedError):
            self._count(line, "dropped")
        except Exception as error:  # noqa: BLE001 - the task ends here
            faults.told(f"a shadow of {line.name}", error)
            self._count(line, "dropped")
        finally:
            one.work.close()  # it never began where a budget had no room
            self._running -= 1
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next one that waits; what was stopped meanwhile is left out."""
        while self._waiting and self._running < MOST:
            one = self._next()
            if one.line.closed or self._ground.recorder.full:
                self._drop(one)
            else:
                self._run(one)

    async def _paid(self, one: _Waiting) -> Record:
        """What a shadow costs counts in the budgets of its integration, though nobody asked it."""
        line = one.line
        purse = self._ground.purse
        reserved = NO_RESERVATION
        if purse is not None:
            budgets = line.declaration.options.budgets
            reserved = await purse.reserve(ANYONE, line.name, budgets, _PROBE_NANO, 0)
        record: Record | None = None
        try:
            async with asyncio.timeout(one.patience_s + _LATE_S):
                record = await one.work
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
        patience_s: float,
    ) -> Record:
        started = time.monotonic()
        question = Question(call.id, context, started + patience_s)
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
        return said

    def _record(
        self, line: Line, call: Call, started: float, status: Status, reason: Reason
    ) -> Record:
        return Record(
            self._new_id(),
            line.name,
            line.release.number,
            call.asked_us,  # when it was asked: what came to be known since then judges both
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
