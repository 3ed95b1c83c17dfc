"""The way of one conversation, from top to bottom: admit, reuse, route, record, reply.

The same stations as a typed call passes (`engine.py`). The answer may be a stream (`live.py`), that
is read to its end, or closed, before its call is settled and recorded.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import msgspec

from splice.core.call import Call, Reason, Record, Status, Usage
from splice.core.chat import Asked, Dialect, WireReply, user_of
from splice.core.errors import (
    NotRecorded,
    ProviderRejected,
    RefusedError,
    RequestError,
    RouteError,
    SpliceError,
    Stopped,
)
from splice.core.policy_errors import PolicyRefused, PolicyUnavailable
from splice.engine import guard_chat
from splice.engine.admit import not_kept
from splice.engine.attempts import begun, exhausted, reason_of, to_try, whole, whole_record
from splice.engine.floor import Floor
from splice.engine.line import Line, Step
from splice.engine.live import LiveStream
from splice.engine.names import Names
from splice.engine.reuse import Asker
from splice.engine.routing.relayed import Relayed
from splice.engine.speech import Speech
from splice.engine.spend import NO_RESERVATION
from splice.engine.tokens import input_tokens_of

_SURFACES = {
    ("openai", Dialect.RESPONSES): "openai-responses",
    ("openai", Dialect.EMBEDDINGS): "openai-embeddings",
}


class _Object(msgspec.Struct):
    """What OpenAI's answers call themselves."""

    object: str = ""


_OBJECT = msgspec.json.Decoder(_Object)


class SpokenStream(Protocol):
    """An answer as it comes. Read it to its end, or close it: either way it is recorded."""

    dialect: Dialect

    async def next(self) -> bytes | None:
        """The next whole server-sent events in `dialect`, or None after the regular end.

        Raises:
            SpliceError: The answer broke off; what came before stands, and was charged.
        """
        ...

    async def close(self) -> None:
        """Nobody reads on: the provider is stopped, the call settled and recorded."""
        ...


class Spoken(msgspec.Struct, gc=False):
    """What a surface hands back: `reply`, `stream` or `error`.

    `reply` may be there where a stream was asked for (from a cache, or held back until it was
    recorded): the surface then replays it as one. Its dialect is that of the request, or `chat`.
    """

    call_id: str
    integration: str = ""
    release: int = 0
    route: str = ""
    reason: Reason = Reason.FIRST
    cost_nano: int | None = None
    reply: WireReply | None = None
    stream: SpokenStream | None = None
    error: SpliceError | None = None


class Conversations(Floor):
    """Answers conversations; see `Floor` for the arguments."""

    _names: Names | None = None

    @property
    def names(self) -> Names:
        """Which integration the `model` of a request means."""
        if self._names is None:
            self._names = Names(self.lines, self.broken)
        return self._names

    async def converse(self, call: Call, asked: Asked) -> Spoken:
        """Answers one request of an OpenAI or Anthropic client.

        Raises:
            RequestError: It names no model that there is, or it cannot be; nothing was recorded.
            RefusedError: It may not run now.
        """
        try:
            named = self.names.find(asked.model, call.principal)
        except SpliceError as error:
            self.refused("", error)
            raise
        line = named.line
        call.integration = line.name
        call.surface = _SURFACES.get((call.surface, asked.dialect), call.surface)
        if not line.declaration.options.conversation:
            return await self.converse_typed(line, call, asked)
        try:
            self.admit(line, call)
            first = None if call.key is None else await self.claimed(line, call, call.key)
            if first is not None:
                return _repeated(first, asked)
            # Who names a model himself gets that model.
            split = line.split is not None and not named.model
            picked = await self.picked(line, call, user_of(asked)) if split else None
            steps = named.steps if picked is None else picked.arm.steps
            speech = await self._begin(line, call, asked, steps)
            speech.model = named.model
            speech.pick(picked)
        except SpliceError as error:
            self.refused(line.name, error)
            raise

        self.in_flight += 1
        spoken: Spoken | None = None
        try:
            spoken = await self._let_in(speech)
            spoken = spoken or await self._reused(speech) or await self._spoken(speech, steps)
            if line.shadow is not None and not named.model and spoken.error is None:
                self.shadows.repeat_conversation(speech)
            return spoken
        except asyncio.CancelledError:
            gone = Stopped(line.name, got="the client went away before the answer")
            record = speech.record(Status.FAILED, Reason.CANCELLED, None, gone)
            self.finish_now(line, record)
            self.settle_soon(speech)
            raise
        except BaseException:
            self.settle_soon(speech)
            raise
        finally:
            if speech.turn is not None and (spoken is None or spoken.stream is None):
                speech.turn.leave()
            self.in_flight -= 1
            if call.key is not None and (spoken is None or spoken.stream is None):
                error = None if spoken is None else spoken.error
                unsure = isinstance(error, NotRecorded) and error.unsure
                answered = spoken is not None and error is None
                await self.end_claim(call, answered=answered, unsure=unsure)

    async def converse_typed(self, line: Line, call: Call, asked: Asked) -> Spoken:
        """A typed integration asked as if it were a model; see `engine.py`."""
        raise NotImplementedError

    async def _begin(self, line: Line, call: Call, asked: Asked, steps: tuple[Step, ...]) -> Speech:
        """Room in the budgets for the dearest of the routes."""
        tokens = input_tokens_of(asked, call.body)
        dearest: int | None = 0
        most = tokens
        for step in steps:
            relayed = step.predictor
            if isinstance(relayed, Relayed):
                cost, room = relayed.most(tokens, relayed.most_written(asked))
                dearest = None if cost is None or dearest is None else max(dearest, cost)
                most = max(most, room)
        reservation = await self.reserve(line, call, dearest, most)
        return Speech(line, call, asked, tokens, reservation)

    async def _let_in(self, speech: Speech) -> Spoken | None:
        """The end of a call that a policy does not let in; None where it goes on."""
        if speech.asking is not None:
            try:
                speech.asked = await guard_chat.let_in(speech.asking, speech.asked)
            except RefusedError as error:
                return await self._ended(speech, Status.REFUSED, Reason.POLICY, error)
        return None

    async def _reused(self, speech: Speech) -> Spoken | None:
        """What is kept of the same question, or what a simultaneous one is being answered."""
        line, call = speech.line, speech.call
        options = line.declaration.options
        if options.exact_s is None and options.semantic_s is None and not options.coalesce:
            return None
        if line.veil is not None and await line.veil.holds(call.body):
            # What is somebody's is kept in no cache; who asks the very same now may share it.
            options = msgspec.structs.replace(options, exact_s=None, semantic_s=None)
        asker = Asker(call.principal.tenant, line.name, line.release.number, speech.variant)
        speech.question = question = self.reuse.question(asker, options, speech.asked, speech.model)
        if question is None:
            return None
        found = await self.reuse.find(question)
        if found is not None:
            return await self.said(speech, *found)
        if question.together is None:
            return None
        left = speech.started + line.deadline_s - time.monotonic()
        try:
            joined = await self.reuse.together.join(question.together, left)
        except TimeoutError:
            return await self._ended(speech, Status.FAILED, Reason.EXHAUSTED, exhausted(speech))
        except SpliceError as error:
            return await self._ended(speech, Status.FAILED, Reason.EXHAUSTED, error)
        if isinstance(joined, WireReply):
            return await self.said(speech, joined, Reason.SHARED)
        speech.turn = joined
        return None

    async def kept(self, speech: Speech, reply: WireReply) -> None:
        """An answer that came to its regular end: for those who wait for it, and for later."""
        if speech.turn is not None:
            speech.turn.give(reply)
        question, veil = speech.question, speech.line.veil
        if question is None or (question.exact is None and question.space is None):
            return
        if veil is not None and await veil.holds(reply.body):
            return
        if question.space is None:
            await self.reuse.keep(question, reply)
        else:  # the encoder takes milliseconds, for which nobody should wait
            self.in_background(self.reuse.keep(question, reply))

    async def _spoken(self, speech: Speech, steps: tuple[Step, ...]) -> Spoken:
        """The first route that answers."""
        line = speech.line
        live = speech.asked.stream and not line.durable
        live = live and (line.guard is None or line.guard.streams)
        rejected: RequestError | None = None
        for step, relayed, until in to_try(speech, steps):
            try:
                if not live:
                    reply = await whole(speech, step, relayed, until)
                    if speech.asking is not None:
                        reply = await guard_chat.let_out(speech.asking, reply)
                    return await self.said(speech, reply, reason_of(speech))
                opened, tried = await begun(speech, step, relayed, until)
            except (PolicyRefused, PolicyUnavailable) as error:
                return await self._ended(speech, Status.REFUSED, Reason.POLICY, error)
            except RequestError as error:
                rejected = rejected or error
                if isinstance(error, ProviderRejected) and not error.elsewhere:
                    break
                continue  # it could not be said in this provider's shape
            except RouteError:
                continue  # it is among the attempts
            earlier = {one.route for one in speech.attempts} - {step.route.label}
            reason = Reason.FALLBACK if earlier else Reason.FIRST
            stream = LiveStream(self, speech, step, opened, tried, reason)
            return Spoken(
                speech.call.id, line.name, line.release.number, step.route.label, reason,
                stream=stream,
            )  # fmt: skip
        if rejected is not None:
            return await self._ended(speech, Status.FAILED, Reason.REJECTED, rejected)
        return await self._ended(speech, Status.FAILED, Reason.EXHAUSTED, exhausted(speech))

    async def answer_again(self, line: Line, call: Call, asked: Asked, variant: str = "") -> Record:
        """What a request gives now by a release; nothing is reserved, kept or recorded."""
        speech = Speech(line, call, asked, input_tokens_of(asked, call.body), NO_RESERVATION)
        call.integration = line.name
        steps = line.steps if line.split is None else line.split.named(variant).steps
        if line.direct is not None and asked.model.count("/") and asked.model != line.name:
            steps = (line.direct(asked.model.removeprefix(f"{line.name}/")),)
        if speech.asking is not None:
            try:
                speech.asked = await guard_chat.let_in(speech.asking, speech.asked)
            except RefusedError as error:
                return speech.record(Status.REFUSED, Reason.POLICY, None, error)
        return await whole_record(speech, steps)

    async def said(self, speech: Speech, reply: WireReply, reason: Reason) -> Spoken:
        """A whole answer: settled, recorded, kept."""
        await self.settle(speech)
        record = speech.record(Status.ANSWERED, reason, reply.body)
        error = await self.finish(speech.line, speech.call, record)
        if reason in (Reason.FIRST, Reason.FALLBACK):
            await self.kept(speech, reply)
        return Spoken(
            speech.call.id,
            speech.line.name,
            speech.line.release.number,
            record.route,
            reason,
            record.cost_nano,
            None if error is not None else reply,
            error=error,
        )

    async def _ended(
        self, speech: Speech, status: Status, reason: Reason, error: SpliceError
    ) -> Spoken:
        """No answer: settled and recorded."""
        if speech.turn is not None:
            speech.turn.fail(error)
        await self.settle(speech)
        record = speech.record(status, reason, None, error)
        await self.finish(speech.line, speech.call, record)
        line = speech.line
        return Spoken(
            speech.call.id, line.name, line.release.number, "", reason, record.cost_nano,
            error=error,
        )  # fmt: skip

    async def settle(self, speech: Speech) -> None:
        """Budgets get what the call really cost."""
        if self.purse is not None:
            tally = speech.tally()
            await self.purse.settle(speech.reservation, tally.cost_nano, tally.tokens)

    async def top_up(self, speech: Speech, cost_nano: int) -> None:
        """More room in the budgets for a stream that goes on.

        Raises:
            OverBudget: There is none.
            MeterAway: It cannot be checked, and unchecked calls are refused.
        """
        if self.purse is not None:
            await self.purse.extend(speech.reservation, cost_nano)

    def settle_soon(self, speech: Speech) -> None:
        """The same where nobody can wait for it."""
        if self.purse is not None and speech.reservation:
            self.in_background(self.settle(speech))


def _repeated(record: Record, asked: Asked) -> Spoken:
    """The stored answer of the same idempotency key.

    Raises:
        KeyReused: It was given, but not kept: this integration does not log every reply.
    """
    if record.reply is None:
        raise not_kept(record.integration)
    usage = record.attempts[-1].usage if record.attempts else None
    # A provider of another dialect answered in the common one.
    dialect = asked.dialect
    if dialect is not Dialect.CHAT and _OBJECT.decode(record.reply).object == "chat.completion":
        dialect = Dialect.CHAT
    reply = WireReply(dialect, record.reply, usage or Usage(), record.version)
    return Spoken(
        record.call_id, record.integration, record.release, record.route, Reason.REPEATED,
        record.cost_nano, reply,
    )  # fmt: skip
