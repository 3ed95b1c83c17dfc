"""The way of one call, from top to bottom: admit, reuse, gather, infer, decide, record, reply."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import msgspec

from splice.core.call import Attempt, Call, Problem, Reason, Record, Status
from splice.core.chat import Asked
from splice.core.errors import (
    DecisionError,
    ExhaustedError,
    GatherError,
    NotRecorded,
    RefusedError,
    SpliceError,
)
from splice.declare.chats import ChatRequest
from splice.engine import guard_typed
from splice.engine.admit import entity_of, not_kept
from splice.engine.converse import Conversations, Spoken
from splice.engine.decide import decide
from splice.engine.gather import Look, gather, recorded
from splice.engine.infer import infer
from splice.engine.line import Line, Picked, Step
from splice.engine.record import not_recorded
from splice.engine.reuse import Asker
from splice.engine.routing.prompted import Prompted
from splice.engine.routing.relayed import Relayed
from splice.engine.run import Answered, Kept, Run, encode, plain
from splice.engine.spend import NO_RESERVATION, Reservation
from splice.engine.tokens import BYTES_A_TOKEN
from splice.engine.typed_chat import completion_of, request_of
from splice.ports.predictor import Question

_KEPT = msgspec.json.Decoder(Kept)


class Engine(Conversations):
    """Answers calls by the lines that are live; see `Floor` for the arguments."""

    async def answer(
        self, call: Call, line: Line | None = None, *, recorded: bool = True
    ) -> Answered:
        """Answers one call by the release that is live as it comes in, or by the line given.

        Not `recorded`: the surface stores what it gets as `kept`, in a transaction of its own.

        Raises:
            RequestError: It is not a call of that integration; nothing was recorded.
            RefusedError: It may not run now.
        """
        line = line or self.line(call.integration)
        try:
            self.admit(line, call)
            request = line.request.decode(call.body, line.where)
            entity = entity_of(line, request)
            first = None if call.key is None else await self.claimed(line, call, call.key)
            if first is not None:
                return _repeated(first)
            picked = None if line.split is None else await self.picked(line, call, entity)
            reserved = NO_RESERVATION
            if self.counts(line, call):
                steps = line.steps if picked is None else picked.arm.steps
                reserved = await self.reserve(line, call, *_estimate(steps, call, request))
        except SpliceError as error:
            self.refused(line.name, error)
            raise

        self.in_flight += 1
        answered: Answered | None = None
        try:
            answered = await self._typed_reused(line, call, request, entity, picked)
            if self.purse is not None and reserved:
                await self.purse.settle(reserved, answered.record.cost_nano, _tokens(answered))
            answered = await self._kept(line, call, answered, recorded=recorded)
            if answered.context is not None and answered.error is None:
                self.shadows.repeat(line, call, entity, request, answered.context)
            return answered
        except BaseException as error:
            if answered is None:
                if reserved:
                    self.in_background(self._give_back(reserved))
                if isinstance(error, asyncio.CancelledError):
                    self.finish_now(line, _cancelled(line, call, entity, picked))
            raise
        finally:
            self.in_flight -= 1
            if call.key is not None:
                error = None if answered is None else answered.error
                unsure = isinstance(error, NotRecorded) and error.unsure
                await self.end_claim(
                    call, answered=answered is not None and error is None, unsure=unsure
                )

    async def _kept(
        self, line: Line, call: Call, answered: Answered, *, recorded: bool
    ) -> Answered:
        if not recorded:
            answered.kept = await self.sealed(line, answered.record)
            self.told(answered.kept)
            return answered
        error = await self.finish(line, call, answered.record)
        return answered if error is None else Answered(not_recorded(answered.record, error), error)

    async def _give_back(self, reserved: Reservation) -> None:
        """A call that ended without a bill: what it may have cost stays counted, as unknown."""
        if self.purse is not None:
            await self.purse.settle(reserved, None, None)

    async def converse_typed(self, line: Line, call: Call, asked: Asked) -> Spoken:
        """A typed integration asked as if it were a model."""
        fields = asked.fields if asked.as_chat is None else asked.as_chat()
        typed = msgspec.structs.replace(call, body=request_of(line, fields))
        answered = await self.answer(typed, line)
        record, error = answered.record, answered.error
        reply = None if error is not None else completion_of(record)
        return Spoken(
            call.id, line.name, record.release, record.route, record.reason, record.cost_nano,
            reply, error=error,
        )  # fmt: skip

    async def _typed_reused(
        self, line: Line, call: Call, request: Any, entity: str | None, picked: Picked | None
    ) -> Answered:
        """What was answered to the very same question a while ago, or a new answer."""
        options = line.declaration.options
        look = Look(call.asked_us, self._features)
        veil = line.veil
        if options.exact_s is None or (veil is not None and await veil.holds(call.body)):
            return await self.run(line, call, request, look, entity, picked)
        variant = "" if picked is None else picked.arm.name
        asker = Asker(call.principal.tenant, line.name, line.release.number, variant)
        key = self.reuse.typed_key(asker, options, call.body)
        kept = None if key is None else await self.reuse.find_bytes(key)
        if kept is not None:
            # What cannot be read was kept by another version, or by another hand: no answer.
            with contextlib.suppress(msgspec.DecodeError):
                run = Run(line, call, entity, time.monotonic(), picked)
                return run.kept(_KEPT.decode(kept))
        answered = await self.run(line, call, request, look, entity, picked)
        record = answered.record
        if key is not None and answered.error is None and record.reply is not None:
            told = record.prediction or b""
            if veil is None or not (await veil.holds(record.reply) or await veil.holds(told)):
                value = encode(Kept(record.route, record.version, record.reply, told))
                await self.reuse.keep_bytes(key, value, options.exact_s)
        return answered

    async def run(
        self,
        line: Line,
        call: Call,
        request: Any,
        look: Look,
        entity: str | None,
        picked: Picked | None = None,
    ) -> Answered:
        """Gather, infer, decide: the part of a call that a replay repeats. Records nothing."""
        started = time.monotonic()
        run = Run(line, call, entity, started, picked)
        if line.context is None:
            context = line.request.fields(request)
        else:
            run.gathered = look.gathered
            look.untrusted = line.guard is not None and bool(line.guard.at("context"))
            try:
                context = await gather(line, line.context, request, look)
                run.context = recorded(line, context)
            except GatherError as error:
                return run.failed(error, Reason.CONTEXT_FAILED)
        try:
            if run.asking is not None:
                context = await guard_typed.let_in(run, run.asking, context)
        except RefusedError as error:
            return run.refused(error)

        question = Question(call.id, context, started + line.deadline_s, call.trace)
        steps = line.steps if picked is None else picked.arm.steps
        inferred = await infer(line, question, started, steps)
        run.attempts = inferred.attempts
        prediction, step = inferred.prediction, inferred.step
        if prediction is None or step is None:
            return run.failed(_exhausted(line, inferred.attempts), Reason.EXHAUSTED)
        run.prediction = encode(plain(prediction))
        run.route, run.version = step.route.label, step.route.version

        try:
            if run.asking is None:
                reply = decide(line, request, prediction, context)
            else:
                seen = await guard_typed.let_through(run, run.asking, prediction)
                reply = decide(line, request, prediction, context)
                reply = await guard_typed.let_out(run, run.asking, reply, seen)
        except RefusedError as error:
            return run.refused(error)
        except DecisionError as error:
            return run.failed(error, Reason.DECISION_FAILED)
        reason = Reason.FIRST if step is steps[0] else Reason.FALLBACK
        shadowed = None if line.shadow is None else context
        return Answered(run.record(Status.ANSWERED, reason, reply), context=shadowed)


def _exhausted(line: Line, attempts: list[Attempt]) -> ExhaustedError:
    tried = "; ".join(f"{one.route} {one.ended}" for one in attempts)
    return ExhaustedError(
        line.name,
        got=f"no answer from any route ({tried})",
        mend="splice calls explain tells what each attempt said",
    )


def _cancelled(line: Line, call: Call, entity: str | None, picked: Picked | None) -> Record:
    run = Run(line, call, entity, time.monotonic(), picked)
    problem = Problem("cancelled", line.name, "the caller in this process went away")
    return run.record(Status.FAILED, Reason.CANCELLED, None, problem)


def _estimate(steps: tuple[Step, ...], call: Call, request: Any) -> tuple[int | None, int]:
    """What a call may cost at most, and its tokens, before it runs."""
    read = len(call.body) // BYTES_A_TOKEN
    dearest: int | None = 0
    most = 0
    for step in steps:
        if isinstance(step.predictor, (Prompted, Relayed)):
            if isinstance(step.predictor, Relayed) and isinstance(request, ChatRequest):
                said = request.max_completion_tokens
                written = request.max_tokens if said is None else said
                cost, tokens = step.predictor.most(read, written)
            else:
                cost, tokens = step.predictor.most(read)
            dearest = None if cost is None or dearest is None else max(dearest, cost)
            most = max(most, tokens)
    return dearest, most


def _tokens(answered: Answered) -> int:
    usages = [one.usage for one in answered.record.attempts if one.usage is not None]
    return sum((one.input_tokens or 0) + (one.output_tokens or 0) for one in usages)


def _repeated(record: Record) -> Answered:
    if record.reply is None:
        raise not_kept(record.integration)
    return Answered(msgspec.structs.replace(record, reason=Reason.REPEATED))
