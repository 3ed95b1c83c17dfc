"""Live: an answer of a language model as it comes, with its bill, whichever way it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from splice.core.call import Call, Reason, Record, Status
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.errors import NotRecorded, RouteError, RouteTimeout, SpliceError, Stopped
from splice.core.policy_errors import PolicyRefused, PolicyUnavailable
from splice.engine.guard_stream import Held
from splice.engine.line import Line, Step
from splice.engine.routing.balanced import Deployment
from splice.engine.routing.relayed import Relayed
from splice.engine.routing.tried import Tried
from splice.engine.speech import Speech
from splice.engine.tokens import UNSAID_OUTPUT_TOKENS, estimate_nano
from splice.ports.providers import Provider, Stream

_LOOK_BYTES = 16 * 1024
_LATE_S = 1.0
"""The provider's own deadline comes first: it says what was late."""


class Opened(msgspec.Struct):
    """A stream whose first token has come, with the bytes up to it."""

    dialect: Dialect
    stream: Stream
    head: bytes
    first_token: float | None
    ended: bool = False

    @staticmethod
    async def by(provider: Provider, request: WireRequest, first_s: float) -> Opened:
        """The stream of a provider that has begun to answer in time.

        Raises:
            RequestError: The provider says that the request is wrong.
            RouteError: It did not begin; another try costs the caller nothing but time.
        """
        blocks: list[bytes] = []
        stream: Stream | None = None
        try:
            async with asyncio.timeout(first_s):
                stream = await provider.open(request)
                while not stream.started:
                    block = await stream.next()
                    if block is None:
                        return Opened(request.dialect, stream, b"".join(blocks), None, ended=True)
                    blocks.append(block)
        except TimeoutError:
            if stream is not None:
                stream.hang_up()
            late = RouteTimeout(request.model, got=f"no token within {first_s:.3g} s")
            late.cost_nano = None
            raise late from None
        except BaseException:
            if stream is not None:
                stream.hang_up()
            raise
        return Opened(request.dialect, stream, b"".join(blocks), time.monotonic())

    def drop(self) -> None:
        """It came too late: another try was faster."""
        self.stream.hang_up()


class Ending(Protocol):
    """What the end of a stream needs of the engine."""

    in_flight: int
    streams: set[LiveStream]

    async def kept(self, speech: Speech, reply: WireReply) -> None:
        """Those who wait for the answer get it, and it is kept."""
        ...

    async def settle(self, speech: Speech) -> None:
        """Budgets get what the call really cost."""
        ...

    def settle_soon(self, speech: Speech) -> None:
        """The same where nobody can wait for it."""
        ...

    async def top_up(self, speech: Speech, cost_nano: int) -> None:
        """More room in the budgets for a stream that goes on."""
        ...

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on whatever becomes of its caller."""
        ...

    async def finish(self, line: Line, call: Call, record: Record) -> NotRecorded | None:
        """Record a call."""
        ...

    def finish_now(self, line: Line, record: Record) -> None:
        """Record a call whose caller is gone."""
        ...

    async def end_claim(self, call: Call, *, answered: bool) -> None:
        """The idempotency key's call is over."""
        ...


class LiveStream:
    """One answer as it comes; `SpokenStream` of `converse.py`."""

    def __init__(
        self,
        engine: Ending,
        speech: Speech,
        step: Step,
        opened: Opened,
        tried: Tried[Opened],
        reason: Reason = Reason.FIRST,
    ) -> None:
        self._engine = engine
        self._speech = speech
        self._step = step
        self._opened = opened
        self._stream = opened.stream
        self._head: bytes | None = opened.head or None
        self._began = tried.began
        self._deployment: Deployment | None = tried.deployment
        self._over = self._drained = False
        self._written = self._bytes = 0
        self._look_at = _LOOK_BYTES
        self._room = self._tokens_reserved() if speech.reservation else None
        self._reason = reason
        self.dialect: Dialect = opened.dialect
        engine.in_flight += 1
        engine.streams.add(self)
        if self._deployment is not None:
            self._deployment.in_flight += 1
        self._late: SpliceError | None = None
        self._held = None if speech.asking is None else Held(speech.asking)
        left = speech.started + speech.line.deadline_s - time.monotonic()
        self._watch = asyncio.get_running_loop().call_later(max(0, left) + _LATE_S, self._give_up)

    def _give_up(self) -> None:
        """A client that takes nothing, and stays: the call is not to wait for it for ever."""
        got = "a client that did not take its answer before the deadline had passed"
        self.cut_off(Stopped(self._speech.line.name, got=got), Reason.DISCONNECTED)

    def cut_off(self, error: SpliceError, reason: Reason) -> None:
        """End it now: whoever reads it gets the error, the call is settled and recorded."""
        if not self._over and self._late is None:
            self._late = error
            self._engine.in_background(self._abandon(error, reason))

    def _tokens_reserved(self) -> int:
        relayed = self._step.predictor
        return relayed.most_written(self._speech.asked) if isinstance(relayed, Relayed) else 0

    async def next(self) -> bytes | None:
        """The next events, or None after the regular end, when the call is settled and recorded.

        Raises:
            SpliceError: It broke off, or its budget is spent; what came before stands.
        """
        if self._head is not None and self._held is None:
            head, self._head = self._head, None
            return head
        if self._over:
            if self._late is not None:
                raise self._late
            return None
        try:
            block = await self._taken()
            if self._late is not None:
                raise self._late
            if block is not None:
                if self._room is not None:
                    await self._metered(block)
                return block
        except RouteError as error:
            if self._late is not None:
                raise self._late from None
            if self._deployment is not None:
                self._deployment.failed(error)
            await self._conclude(self._broke_off(error, Reason.BROKEN))
            raise
        except SpliceError as error:
            if error is self._late:
                raise
            self._stream.hang_up()
            policy = isinstance(error, (PolicyRefused, PolicyUnavailable))
            reason = Reason.POLICY if policy else Reason.OVER_BUDGET
            await self._conclude(self._broke_off(error, reason))
            raise
        await self._conclude(self._ended())
        return None

    async def _taken(self) -> bytes | None:
        """The next events that may go out; None after the end.

        Raises:
            SpliceError: It broke off, or a policy does not let it go on.
        """
        held = self._held
        if held is None:
            return None if self._opened.ended else await self._stream.next()
        held.check()
        while not self._drained:
            block, self._head = self._head, None
            if block is None and not self._opened.ended:
                block = await self._stream.next()
            self._drained = block is None
            free = held.rest() if block is None else held.feed(block)
            if free:
                return free
        return None

    async def _conclude(self, ending: Coroutine[Any, Any, None]) -> None:
        """A reader who is cancelled while the end is recorded does not stop the recording."""
        self._leave()
        await asyncio.shield(self._engine.in_background(ending))

    async def _metered(self, block: bytes) -> None:
        """A stream that is longer than what was reserved for it asks for more room as it goes."""
        if self._room is not None and self._is_more_than(self._room, block):
            self._room += UNSAID_OUTPUT_TOKENS
            relayed = self._step.predictor
            if isinstance(relayed, Relayed):
                price = relayed.balanced.provider.price(self._step.route.model)
                more = estimate_nano(price, 0, UNSAID_OUTPUT_TOKENS)
                if more:
                    await self._engine.top_up(self._speech, more)

    def _is_more_than(self, room: int, block: bytes) -> bool:
        """Whether more tokens have come than there was room for.

        An event is a token, near enough, and cheap to count. Where that says that there is no room
        left, and once in a while for those who send a whole paragraph in one event, what really
        came is looked at.
        """
        self._written += block.count(b"\n\n")
        self._bytes += len(block)
        if self._written > room or self._bytes >= self._look_at:
            self._look_at = self._bytes + max(_LOOK_BYTES, self._bytes // 8)
            told = self._stream.reply().usage.output_tokens
            self._written = self._written if told is None else told
        return self._written > room

    async def _ended(self) -> None:
        """The regular end."""
        speech, engine = self._speech, self._engine
        reply = self._reply()
        first = self._opened.first_token
        speech.answered(self._step, self._began, reply, first)
        relayed = self._step.predictor
        if isinstance(relayed, Relayed) and first is not None:
            relayed.took(first - self._began)
        await engine.settle(speech)
        record = speech.record(Status.ANSWERED, self._reason, reply.body)
        error = await engine.finish(speech.line, speech.call, record)
        await engine.kept(speech, reply)
        await engine.end_claim(speech.call, answered=error is None)
        if error is not None:
            raise error

    async def _broke_off(self, error: SpliceError, reason: Reason) -> None:
        speech, engine = self._speech, self._engine
        reply = self._reply()
        ended = (error.code, str(error))
        speech.broken(self._step, self._began, ended, reply, self._opened.first_token)
        await engine.settle(speech)
        status, said = Status.FAILED, reply.body
        if reason is Reason.POLICY:  # what a policy ended may be what must not be kept
            status, said = Status.REFUSED, None
        record = speech.record(status, reason, said, error)
        await engine.finish(speech.line, speech.call, record)
        if speech.turn is not None:
            speech.turn.fail(error)
        await engine.end_claim(speech.call, answered=False)

    async def close(self) -> None:
        """Nobody reads on: the provider is stopped, what came is settled and recorded."""
        got = "the client went away in the middle of the stream"
        gone = Stopped(self._speech.line.name, got=got)
        await self._abandon(gone, Reason.DISCONNECTED)

    async def _abandon(self, error: SpliceError, reason: Reason) -> None:
        if self._over:
            return
        self._leave()
        self._stream.hang_up()
        speech, engine = self._speech, self._engine
        reply = self._reply()
        code = "disconnected" if reason is Reason.DISCONNECTED else error.code
        ended = (code, error.got)
        speech.broken(self._step, self._began, ended, reply, self._opened.first_token)
        engine.finish_now(speech.line, speech.record(Status.FAILED, reason, reply.body, error))
        if speech.turn is not None:
            speech.turn.leave()
        engine.settle_soon(speech)
        await engine.end_claim(speech.call, answered=False)

    def _reply(self) -> WireReply:
        relayed, reply = self._step.predictor, self._stream.reply()
        if isinstance(relayed, Relayed):
            return relayed.priced(reply, time.monotonic() - self._began)
        return reply

    def _leave(self) -> None:
        self._over = True
        self._watch.cancel()
        self._engine.streams.discard(self)
        self._engine.in_flight -= 1
        if self._deployment is not None:
            self._deployment.in_flight -= 1
