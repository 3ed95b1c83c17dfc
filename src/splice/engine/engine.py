"""The way of one call, from top to bottom: admit, gather, infer, decide, record, reply."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from splice.core.call import Attempt, Call, Gathered, Problem, Reason, Record, Status
from splice.core.errors import (
    DecisionError,
    ExhaustedError,
    GatherError,
    NotRecorded,
    SpliceError,
    UnknownIntegration,
)
from splice.engine import observe
from splice.engine.admit import Claims, entity_of, may_enter
from splice.engine.decide import decide
from splice.engine.gather import Look, gather, recorded
from splice.engine.infer import infer, total_cost
from splice.engine.line import Line
from splice.engine.record import Recorder, not_recorded
from splice.engine.routing.prompted import output_plain
from splice.ports.features import FeatureStore
from splice.ports.predictor import Question
from splice.ports.stores import RecordStore
from splice.ports.telemetry import Tracer

_encode = msgspec.json.Encoder(enc_hook=str).encode
_RECORD_SECONDS = 5.0
"""A high-risk call waits at least this long for its commit, even at the end of its deadline: an
answer that is ready is worth the wait, and a hung disk must still give the caller a word."""


class Answered(msgspec.Struct):
    """What a surface hands back: the record, and the error where there is no reply."""

    record: Record
    error: SpliceError | None = None


class Engine:
    """Answers calls by the lines that are live.

    Args:
        records: The ledger, for idempotency keys.
        recorder: Takes finished calls to the ledger.
        features: What `context()` can look up; None where nothing is configured.
        tracer: Is told of finished calls; None where no endpoint is set.
        max_in_flight: Calls at once; beyond it new ones are refused.
    """

    def __init__(
        self,
        records: RecordStore,
        recorder: Recorder,
        *,
        features: FeatureStore | None = None,
        tracer: Tracer | None = None,
        max_in_flight: int = 1000,
    ) -> None:
        self._claims = Claims(records)
        self._features = features
        self._tracer = tracer
        self._max_in_flight = max_in_flight
        self.recorder = recorder
        self.metrics = observe.Metrics()
        self.lines: dict[str, Line] = {}
        self.in_flight = 0

    def line(self, integration: str) -> Line:
        """The live line of an integration.

        Raises:
            UnknownIntegration: It has no live release here.
        """
        line = self.lines.get(integration)
        if line is None:
            raise UnknownIntegration(
                integration[:80],
                got="no live release of that name",
                promised=f"one of {', '.join(sorted(self.lines)) or 'none yet'}",
                mend="splice release list shows what is live",
            )
        return line

    async def answer(self, call: Call, line: Line | None = None) -> Answered:
        """Answers one call by the release that is live as it comes in, or by the line given.

        Raises:
            RequestError: It is not a call of that integration; nothing was recorded.
            RefusedError: It may not run now; nothing was recorded.
        """
        line = line or self.line(call.integration)
        try:
            may_enter(line, self.recorder, self.in_flight, self._max_in_flight)
            request = line.request.decode(call.body, line.where)
            entity = entity_of(line, request)
            first = None if call.key is None else await self._first(line, call, call.key)
            if first is not None:
                return _repeated(first)
        except SpliceError as error:
            self.metrics.add(observe.REFUSED, (line.name, error.code))
            raise

        self.in_flight += 1
        answered: Answered | None = None
        try:
            look = Look(call.asked_us, self._features)
            answered = await self.run(line, call, request, look, entity)
            if line.durable or call.key is not None:
                answered = await self._committed(line, answered)
            else:
                self.recorder.put(answered.record)
            self.metrics.called(answered.record)
            if self._tracer is not None:
                self._tracer.finished(answered.record)
            return answered
        except asyncio.CancelledError:
            if answered is None:
                self.recorder.put(_cancelled(line, call, entity))
            raise
        finally:
            self.in_flight -= 1
            if call.key is not None:
                await self._end_claim(call, call.key, answered)

    async def _first(self, line: Line, call: Call, key: str) -> Record | None:
        self.in_flight += 1  # it waits for another call, and takes as much room as one that runs
        try:
            return await self._claims.take(line, call, key)
        finally:
            self.in_flight -= 1

    async def run(
        self, line: Line, call: Call, request: Any, look: Look, entity: str | None
    ) -> Answered:
        """Gather, infer, decide: the part of a call that a replay repeats. Records nothing."""
        started = time.monotonic()
        run = _Run(line, call, entity, started)
        if line.context is None:
            context = line.request.fields(request)
        else:
            run.gathered = look.gathered
            try:
                context = await gather(line, line.context, request, look)
                run.context = recorded(line, context)
            except GatherError as error:
                return run.failed(error, Reason.CONTEXT_FAILED)

        question = Question(call.id, context, started + line.deadline_s, call.trace)
        inferred = await infer(line, question, started)
        run.attempts = inferred.attempts
        prediction, step = inferred.prediction, inferred.step
        if prediction is None or step is None:
            return run.failed(_exhausted(line, inferred.attempts), Reason.EXHAUSTED)
        run.prediction = _encode(_plain(prediction))
        run.route, run.version = step.route.label, step.route.version

        try:
            reply = decide(line, request, prediction)
        except DecisionError as error:
            return run.failed(error, Reason.DECISION_FAILED)
        reason = Reason.FIRST if len(inferred.attempts) == 1 else Reason.FALLBACK
        return Answered(run.record(Status.ANSWERED, reason, reply))

    async def _committed(self, line: Line, answered: Answered) -> Answered:
        record = answered.record
        left = line.deadline_s - record.duration_us / 1e6
        try:
            await self.recorder.commit(record, max(left, _RECORD_SECONDS))
        except NotRecorded as error:
            return Answered(not_recorded(record, error), error)
        return answered

    async def _end_claim(self, call: Call, key: str, answered: Answered | None) -> None:
        # Whether a late commit still stores an answer nobody can tell: then the lease ends the
        # claim, for a second execution would be worse than a wait.
        error = None if answered is None else answered.error
        unsure = isinstance(error, NotRecorded) and error.unsure
        if unsure or (answered is not None and error is None):
            self._claims.ended(call, key)
            return
        try:
            await self._claims.give_back(call, key)
        except SpliceError:  # the lease will end it
            self._claims.ended(call, key)


class _Run:
    """What is known of a call so far; becomes its record."""

    __slots__ = (
        "attempts", "call", "context", "entity", "gathered", "line", "prediction", "route",
        "started", "version",
    )  # fmt: skip

    def __init__(self, line: Line, call: Call, entity: str | None, started: float) -> None:
        self.line, self.call, self.entity, self.started = line, call, entity, started
        self.gathered: list[Gathered] = []
        self.attempts: list[Attempt] = []
        self.context: bytes | None = None
        self.prediction: bytes | None = None
        self.route = self.version = ""

    def record(
        self, status: Status, reason: Reason, reply: bytes | None, problem: Problem | None = None
    ) -> Record:
        """The record, as of now."""
        call = self.call
        return Record(
            call.id,
            call.integration,
            self.line.release.number,
            call.asked_us,
            int((time.monotonic() - self.started) * 1e6),
            status,
            reason,
            call.surface,
            call.caller,
            self.entity,
            call.key if status is Status.ANSWERED else None,
            self.route,
            version=self.version,
            cost_nano=total_cost(self.attempts),
            input=call.body,
            gathered=tuple(self.gathered),
            context=self.context,
            attempts=tuple(self.attempts),
            prediction=self.prediction,
            reply=reply,
            problem=problem,
            trace=call.trace,
        )

    def failed(self, error: SpliceError, reason: Reason) -> Answered:
        """The call ended without a reply."""
        problem = Problem(error.code, error.where, error.detail)
        return Answered(self.record(Status.FAILED, reason, None, problem), error)


def _plain(prediction: Any) -> Any:
    if prediction.value is not None and not isinstance(prediction.value, (str, int, float, bool)):
        return msgspec.structs.replace(prediction, value=output_plain(prediction.value))
    return prediction


def _exhausted(line: Line, attempts: list[Attempt]) -> ExhaustedError:
    tried = "; ".join(f"{one.route} {one.ended}" for one in attempts)
    return ExhaustedError(
        line.name,
        got=f"no answer from any route ({tried})",
        mend="splice calls explain tells what each attempt said",
    )


def _cancelled(line: Line, call: Call, entity: str | None) -> Record:
    run = _Run(line, call, entity, time.monotonic())
    problem = Problem("cancelled", line.name, "the caller in this process went away")
    return run.record(Status.FAILED, Reason.CANCELLED, None, problem)


def _repeated(record: Record) -> Answered:
    return Answered(msgspec.structs.replace(record, reason=Reason.REPEATED))
