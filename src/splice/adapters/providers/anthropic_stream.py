"""One answer of Anthropic's API as it comes, in its own events or as chat chunks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UNSET

from splice.adapters.net.connection import HttpFault, HttpStream
from splice.adapters.providers.anthropic_events import Assembly, ChatChunks, read_event
from splice.adapters.providers.anthropic_reply import WireUsage, usage_of
from splice.adapters.providers.refusals import Refusals
from splice.adapters.providers.sse import EventCutter, events_of
from splice.core.chat import Dialect, WireReply
from splice.core.errors import SpliceError


class AnthropicStream:
    """A `Stream` of `splice.ports.providers`.

    Args:
        where: Provider and model, for errors.
        http: The answer below.
        refusals: Names what goes wrong.
        timeout_s: What the whole of it may take.
        chunks: Tells the events as chat chunks; None where they go on as they are.
        cost: What so many tokens of a model cost; None where unknown.
    """

    def __init__(
        self,
        where: str,
        http: HttpStream,
        refusals: Refusals,
        timeout_s: float,
        chunks: ChatChunks | None,
        cost: Callable[[str, WireUsage], int | None],
    ) -> None:
        self._where = where
        self._http = http
        self._refusals = refusals
        self._timeout_s = timeout_s
        self._chunks = chunks
        self._cost = cost
        self._cutter = EventCutter()
        self._assembly = Assembly()
        self._error: SpliceError | None = None

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        return self._assembly.started

    async def next(self) -> bytes | None:
        """See `splice.ports.providers.Stream`."""
        while not self._assembly.complete:
            if self._error is not None:
                raise self._error
            try:
                chunk = await self._http.next()
            except HttpFault as fault:
                raise self._refusals.fault(self._where, fault, self._timeout_s) from None
            block = self._cutter.rest() if chunk is None else self._cutter.feed(chunk)
            told = self._told(self._refusals.scrub(block)) if block else b""
            if self._assembly.complete:
                self._http.finish()
            elif chunk is None and self._error is None:
                ended = "the end of its stream before the end of its message"
                self._error = self._refusals.bad(self._where, ended)
            if told:
                return told
        return None

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        assembly = self._assembly
        wire = assembly.usage
        usage = usage_of(wire, estimated=assembly.estimated)
        if self._chunks is None:
            dialect, body = Dialect.MESSAGES, assembly.body()
        else:
            dialect, body = Dialect.CHAT, assembly.as_chat(self._chunks.created)
        model = assembly.model
        return WireReply(dialect, body, usage, model, self._cost(model, wire), assembly.complete)

    def hang_up(self) -> None:
        """See `splice.ports.providers.Stream`."""
        self._http.hang_up()

    def _told(self, block: bytes) -> bytes:
        """The events that are for the client, once we have read them ourselves.

        What came before an error is told first; the error waits for the next time.
        """
        told: list[bytes] = []
        for whole, kind, content in events_of(block):
            if not content:
                told.append(whole if self._chunks is None else b"")
                continue
            try:
                event = read_event(content)
                if event.type == "error" or kind == b"error":
                    said = msgspec.json.decode(content if event.error is UNSET else event.error)
                    self._error = self._refusals.told(self._where, said)
                else:
                    self._assembly.take(event)
                    told.append(whole if self._chunks is None else self._chunks.of(event))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                unreadable = f"an event that cannot be read: {error}"
                self._error = self._refusals.bad(self._where, unreadable)
            if self._error is not None:
                self._http.hang_up()
                return b"".join(told)
        return block if self._chunks is None else b"".join(told)
