"""A streamed chat completion."""

from __future__ import annotations

import msgspec

from splice.adapters.net.answers import HttpStream
from splice.adapters.providers.assemble_chat import ChatAssembly, Chunk
from splice.adapters.providers.event_stream import Asking, EventStream
from splice.adapters.providers.usage import estimated_usage
from splice.core.chat import Dialect, WireReply

_CHUNK = msgspec.json.Decoder(Chunk)
_CHUNKS = msgspec.json.Decoder(list[Chunk])


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

    def _taken(self, block: bytes) -> bytes:
        """Understand whole events; those of them that the caller gets.

        Most blocks only go on with the answer. They are read in one go, and handed on as they are:
        a microsecond an event, where one by one takes more than two.
        """
        if block.endswith(b"[DONE]\n\n") and (cut := _before_the_end(block)):
            before = self._taken(block[:cut])
            return before if self._error is not None else before + super()._taken(block[cut:])
        chunks = _plain_chunks(block)
        if chunks is None:
            return super()._taken(block)
        for chunk in chunks:
            self._whole.add(chunk)
        return block

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
        if chunk.error is not None:
            self._failed(chunk.error)
            return False
        self._whole.add(chunk, data)
        # The event that counts is for us alone, unless the caller asked for it too.
        return chunk.usage is None or bool(chunk.choices) or not self._asking.hides_usage

    def _at_end(self) -> bool:
        return self._whole.finished


def _before_the_end(block: bytes) -> int:
    """Where the last three events begin: why it ended, the count of tokens, `[DONE]`."""
    cut = len(block) - 2
    for _ in range(3):
        cut = block.rfind(b"\n\n", 0, cut)
        if cut < 0:
            return 0
    return cut + 2


def _plain_chunks(block: bytes) -> list[Chunk] | None:
    """The chunks of events that only go on with an answer; None where there is more to them."""
    lines = block.count(b"\n")
    try:
        if lines == 2 and block.startswith(b"data: {"):
            chunks = [_CHUNK.decode(block[6:])]
        elif (
            block.startswith(b"data: {")
            and block.endswith(b"}\n\n")
            and lines == 2 * block.count(b"\n\ndata: {") + 2
        ):
            # Each is `data: {…}` and an empty line: together they are a list but for the commas.
            chunks = _CHUNKS.decode(b"[%b]" % block[6:].replace(b"\n\ndata: {", b",{"))
        else:
            return None  # a comment, another field, or data of several lines
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    for chunk in chunks:
        if chunk.usage is not None or chunk.error is not None:
            return None
    return chunks
