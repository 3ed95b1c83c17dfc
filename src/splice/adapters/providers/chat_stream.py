"""A streamed chat completion."""

from __future__ import annotations

import msgspec

from splice.adapters.providers.answers import HttpStream
from splice.adapters.providers.assemble_chat import ChatAssembly, Chunk
from splice.adapters.providers.event_stream import Asking, EventStream
from splice.adapters.providers.usage import estimated_usage
from splice.core.chat import Dialect, WireReply

_CHUNK = msgspec.json.Decoder(Chunk)


class ChatStream(EventStream):
    """Ends with `[DONE]`, or where every choice has said why it ended."""

    def __init__(self, http: HttpStream, asking: Asking) -> None:
        super().__init__(http, asking)
        self._whole = ChatAssembly()
        self._odd = 0

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        return self._whole.started

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        asking, whole = self._asking, self._whole
        usage = whole.usage
        if usage is None:
            events, characters = whole.written
            usage = estimated_usage(asking.input_tokens, events + self._odd, characters)
        model = asking.refusals.hide(whole.model or asking.model)
        cost = asking.cost(usage, model)
        body = whole.body(asking.model)
        return WireReply(Dialect.CHAT, body, usage, model, cost, complete=self._complete)

    def _take(self, kind: bytes, data: bytes) -> bool:
        if data == b"[DONE]":
            self._end()
            return True
        try:
            chunk = _CHUNK.decode(data)
        except msgspec.ValidationError:
            # JSON, but not as we know it: the caller may understand it, and it was paid for.
            self._odd += 1
            self._whole.started = True
            return True
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._garbled(data)
            return False
        if chunk.error is not msgspec.UNSET and chunk.failed:
            self._failed(chunk.error)
            return False
        self._whole.add(chunk)
        return not (self._asking.hides_usage and not chunk.choices and chunk.counts)

    def _at_end(self) -> bool:
        return self._whole.finished
