"""A streamed chat completion."""

from __future__ import annotations

import msgspec

from splice.adapters.providers.answers import HttpStream
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
        self._plain: list[bytes] = []  # events that only go on with the text, not yet read

    @property
    def started(self) -> bool:
        """See `splice.ports.providers.Stream`."""
        return self._whole.started

    def reply(self) -> WireReply:
        """See `splice.ports.providers.Stream`."""
        asking, whole = self._asking, self._whole
        self._read_plain()
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

        Once the answer has begun, most blocks only go on with it: they are handed on as they are,
        and read together at the end, at a fifth of the cost.
        """
        if self._whole.started and _is_plain(block):
            self._plain.append(block)
            return block
        self._read_plain()
        return super()._taken(block)

    def _read_plain(self) -> None:
        if not self._plain:
            return
        blocks = b"".join(self._plain)
        self._plain.clear()
        # Each event is `data: {…}` and an empty line: together they are a list but for the commas.
        together = blocks[:-2].removeprefix(b"data: ").replace(b"\n\ndata: ", b",")
        try:
            chunks = _CHUNKS.decode(b"[%b]" % together)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            super()._taken(blocks)  # one by one, for the sake of the others
            return
        for chunk in chunks:
            self._whole.add(chunk)

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
        self._read_plain()
        return self._whole.finished


def _is_plain(block: bytes) -> bool:
    """Whether whole events only go on with an answer: no end, no error, no count of tokens."""
    if not block.startswith(b"data: {") or not block.endswith(b"}\n\n"):
        return False
    if b"[DONE]" in block or b'"error"' in block or b'"finish_reason":"' in block:
        return False
    if block.count(b"\n") != 2 * block.count(b"\n\ndata: {") + 2:
        return False  # a comment, another field, or data of several lines
    counts = block.count(b'"usage"')
    return not counts or counts == block.count(b'"usage":null')
