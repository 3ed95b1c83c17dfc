"""An answer of an OpenAI-compatible server as it comes: whole events in, the same events out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from splice.adapters.net.answers import HttpFault, HttpStream
from splice.adapters.providers.refusals import Refusals
from splice.adapters.providers.sse import EventCutter, event_of
from splice.core.call import Usage
from splice.core.chat import WireReply
from splice.core.errors import SpliceError


class Asking(msgspec.Struct):
    """What a stream must know of the request that it answers.

    `input_tokens` is our estimate; `hides_usage` says that we asked for a count of tokens which the
    caller did not ask for. `cost` gives the cost of a usage by the name of the model.
    """

    where: str
    model: str
    timeout_s: float
    input_tokens: int
    refusals: Refusals
    cost: Callable[[Usage, str], int | None]
    between_s: float | None = None
    hides_usage: bool = False


class EventStream:
    """See `splice.ports.providers.Stream`; a subclass understands one dialect.

    Events that carry no data (comments that keep a connection open) are not handed on.
    """

    def __init__(self, http: HttpStream, asking: Asking) -> None:
        self._http = http
        self._asking = asking
        self._cutter = EventCutter()
        self._error: SpliceError | None = None
        self._over = False  # nothing more is read
        self._complete = False
        self._watched = asking.between_s is None

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        raise NotImplementedError

    async def next(self) -> bytes | None:
        """See `splice.ports.providers.Stream`."""
        while True:
            if self._over:
                if self._error is not None:
                    raise self._error
                return None
            try:
                block = self._digested(await self._http.next())
            except HttpFault as fault:
                self._fail(self._broken(fault))
                continue
            if block:
                return block

    def _digested(self, chunk: bytes | None) -> bytes:
        """What the caller gets of some bytes of the body; None is its end."""
        if chunk is None:
            block = self._cutter.rest()
            self._over = True
        else:
            block = self._cutter.feed(chunk)
        if block:
            block = self._taken(self._asking.refusals.scrub(block))
        if self._over and self._error is None and not self._complete:
            self._complete = self._at_end()
            if not self._complete:
                self._fail(self._bad("a stream that broke off: it ended before its answer did"))
        if not self._watched and self.started and self._asking.between_s is not None:
            self._watched = True
            self._http.watch(self._asking.between_s)
        return block

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """See `splice.ports.providers.Stream`."""
        self._over = True
        self._http.hang_up()

    # What a dialect is

    def _take(self, kind: bytes, data: bytes) -> bool:
        """Understand one event; whether the caller gets it too. May call `_fail` and `_end`."""
        raise NotImplementedError

    def _at_end(self) -> bool:
        """Whether an answer that just ends here is whole."""
        raise NotImplementedError

    # What a dialect uses

    def _taken(self, block: bytes) -> bytes:
        """Understand whole events; those of them that the caller gets."""
        events = block.split(b"\n\n")
        events.pop()  # behind the last one there is nothing
        plain = block.count(b"\n") == 2 * len(events)  # each is one line
        kept: list[bytes] | None = None  # None while it is all of them
        for at, event in enumerate(events):
            if plain and event.startswith(b"data: "):
                handed_on = self._take(b"", event[6:])
            else:
                kind, data = event_of(event)
                handed_on = bool(data) and self._take(kind, data)
            if not handed_on:
                kept = events[:at] if kept is None else kept
            elif kept is not None:
                kept.append(event)
            if self._error is not None:
                break
        if kept is None:
            return block
        return b"".join([event + b"\n\n" for event in kept])

    def _end(self) -> None:
        """The last event has come: the regular end, whatever the connection does."""
        self._complete = True
        self._over = True
        self._http.finish()

    def _fail(self, error: SpliceError) -> None:
        self._error = error
        self._over = True
        self._http.hang_up()

    def _failed(self, error: object) -> None:
        """The provider says that it failed."""
        self._fail(self._asking.refusals.told(self._asking.where, error))

    def _garbled(self, data: bytes) -> None:
        shown = data[:200].decode("utf-8", "replace")
        self._fail(self._bad(f"an event that is not JSON: {shown}"))

    def _bad(self, got: str) -> SpliceError:
        return self._asking.refusals.bad(self._asking.where, got)

    def _broken(self, fault: HttpFault) -> SpliceError:
        asking = self._asking
        if fault.fault == "broken":
            return self._bad(f"a stream that broke off: {fault.detail}")
        return asking.refusals.fault(asking.where, fault, asking.timeout_s)
