"""Anthropic's stream of events: put together to the message it makes, or told as chat chunks."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.adapters.providers.anthropic_reply import (
    Answer,
    AnswerBlock,
    WireUsage,
    chat_usage,
    finish_of,
    to_chat,
)

_encode = msgspec.json.encode
_BYTES_A_TOKEN = 4  # of a text cut short; English has a little more, so this errs on the dear side


class _Delta(msgspec.Struct, omit_defaults=True):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: Raw | UnsetType = UNSET
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Raw | UnsetType = UNSET
    container: Raw | UnsetType = UNSET


class Event(msgspec.Struct):
    """One event, of whichever type; what we do not know is passed over."""

    type: str
    index: int = 0
    message: dict[str, Raw] | None = None
    content_block: dict[str, Raw] | None = None
    delta: _Delta | None = None
    usage: dict[str, Raw] | None = None
    error: Raw | UnsetType = UNSET


class _Head(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: WireUsage | None = None


read_event = msgspec.json.Decoder(Event).decode


class _Block:
    """One block of the answer, as far as it has come."""

    def __init__(self, start: dict[str, Raw]) -> None:
        self.start = start
        self.kind = _text(start.get("type"))
        self.parts: list[str] = []
        self.json: list[str] = []
        self.signature = ""
        self.citations: list[Raw] = []

    def take(self, delta: _Delta) -> None:
        """Add what came."""
        if delta.type == "text_delta":
            self.parts.append(delta.text)
        elif delta.type == "input_json_delta":
            self.json.append(delta.partial_json)
        elif delta.type == "thinking_delta":
            self.parts.append(delta.thinking)
        elif delta.type == "signature_delta":
            self.signature = delta.signature
        elif delta.type == "citations_delta" and delta.citation is not UNSET:
            self.citations.append(delta.citation)

    @property
    def size(self) -> int:
        """Bytes of text in it."""
        return sum(len(part.encode()) for part in (*self.parts, *self.json))

    def whole(self) -> dict[str, Any]:
        """The block as it stands in a message."""
        block: dict[str, Any] = dict(self.start)
        name = "thinking" if self.kind == "thinking" else "text"
        if self.parts:
            block[name] = _text(self.start.get(name)) + "".join(self.parts)
        if given := "".join(self.json):
            block["input"] = _object(given)
        if self.signature:
            block["signature"] = self.signature
        if self.citations:
            block["citations"] = self.citations
        return block


class Assembly:
    """A message, put together from its events."""

    def __init__(self) -> None:
        self._head: dict[str, Raw] = {}
        self._blocks: dict[int, _Block] = {}
        self._stop: dict[str, Any] = {}
        self._usage: dict[str, Raw] = {}
        self._counted = False
        self.started = False
        self.complete = False

    def take(self, event: Event) -> None:
        """Add one event.

        Raises:
            msgspec.MsgspecError: It is not what its type says; nothing of it was added.
        """
        if event.type == "content_block_delta":
            block = self._blocks.get(event.index)
            if block is not None and event.delta is not None:
                self.started = True
                block.take(event.delta)
        elif event.type == "content_block_start" and event.content_block is not None:
            msgspec.json.decode(_encode(event.content_block), type=AnswerBlock)
            block = _Block(event.content_block)
            self._blocks[event.index] = block
            self.started = self.started or block.kind != "text"
        elif event.type == "message_start" and event.message is not None:
            msgspec.json.decode(_encode(event.message), type=_Head)
            self._head = event.message
            self._usage = msgspec.json.decode(
                event.message.get("usage", b"{}"), type=dict[str, Raw]
            )
        elif event.type == "message_delta":
            msgspec.json.decode(_encode(event.usage or {}), type=WireUsage)
            self._counted = self._counted or bool(event.usage and "output_tokens" in event.usage)
            self._usage |= event.usage or {}
            if event.delta is not None:
                self._stop = msgspec.json.decode(_encode(event.delta), type=dict[str, Raw])
        elif event.type == "message_stop":
            self.started = self.complete = True

    @property
    def estimated(self) -> bool:
        """Whether the provider did not get to counting the output."""
        return not self._counted

    @property
    def usage(self) -> WireUsage:
        """What was counted, or else estimated from the texts that came."""
        wire = msgspec.json.decode(_encode(self._usage), type=WireUsage)
        if self.estimated:
            size = sum(block.size for block in self._blocks.values())
            wire.output_tokens = max(wire.output_tokens or 0, -(-size // _BYTES_A_TOKEN))
        return wire

    @property
    def model(self) -> str:
        """The model that the provider names; empty before it has."""
        return _text(self._head.get("model"))

    def body(self) -> bytes:
        """The message as JSON."""
        content = [self._blocks[index].whole() for index in sorted(self._blocks)]
        usage = {**self._usage, "output_tokens": self.usage.output_tokens}
        stop = {"stop_reason": None, "stop_sequence": None, **self._stop}
        plain = {"type": "message", "role": "assistant", "id": "", "model": ""}
        return _encode({**plain, **self._head, "content": content, **stop, "usage": usage})

    def as_chat(self, created: int) -> bytes:
        """The same as a chat completion."""
        answer = msgspec.json.decode(self.body(), type=Answer)
        return _encode(to_chat(answer, created))


class ChatChunks:
    """Tells a stream of events as chunks of a chat completion.

    Args:
        created: Unix time in seconds.
        include_usage: Whether the caller asked for a last chunk with the usage.
    """

    def __init__(self, created: int, *, include_usage: bool) -> None:
        self.created = created
        self._include_usage = include_usage
        self._head = b""
        self._calls: dict[int, int] = {}
        self._silent: set[int] = set()  # calls whose arguments have not come
        self._usage: dict[str, Raw] = {}
        self._open(b'"chatcmpl"', b'""')

    def of(self, event: Event) -> bytes:
        """The chunks that an event becomes; empty where it becomes none."""
        if event.type == "content_block_delta" and event.delta is not None:
            return self._grown(event.index, event.delta)
        if event.type == "content_block_start" and event.content_block is not None:
            return self._begun(event.index, event.content_block)
        if event.type == "content_block_stop" and event.index in self._silent:
            self._silent.discard(event.index)
            return self._argued(event.index, "{}")
        if event.type == "message_start" and event.message is not None:
            self._open(event.message.get("id", b'""'), event.message.get("model", b'""'))
            self._count(event.message.get("usage"))
            return self._chunk({"role": "assistant", "content": ""})
        if event.type == "message_delta":
            self._usage |= event.usage or {}
            finish = finish_of(event.delta.stop_reason) if event.delta else None
            return self._chunk({}, finish) if finish else b""
        if event.type == "message_stop":
            return self._end()
        return b""

    def _open(self, identity: bytes | Raw, model: bytes | Raw) -> None:
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            bytes(identity),
            self.created,
            bytes(model),
        )

    def _count(self, usage: Raw | None) -> None:
        if usage is not None:
            self._usage |= msgspec.json.decode(usage, type=dict[str, Raw])

    def _begun(self, index: int, start: dict[str, Raw]) -> bytes:
        kind = _text(start.get("type"))
        if kind == "text" and (text := _text(start.get("text"))):
            return self._chunk({"content": text})
        if kind != "tool_use":
            return b""
        self._calls[index] = number = len(self._calls)
        given = bytes(start.get("input", b"{}")).strip()
        if given in (b"{}", b"null"):
            given = b""
            self._silent.add(index)
        function = {"name": _text(start.get("name")), "arguments": given.decode()}
        call = {"index": number, "id": _text(start.get("id")), "type": "function"}
        return self._chunk({"tool_calls": [{**call, "function": function}]})

    def _grown(self, index: int, delta: _Delta) -> bytes:
        if delta.type == "text_delta":
            return self._chunk({"content": delta.text})
        if delta.type == "thinking_delta":
            return self._chunk({"reasoning_content": delta.thinking})
        if delta.type == "input_json_delta" and delta.partial_json:
            self._silent.discard(index)
            return self._argued(index, delta.partial_json)
        return b""

    def _argued(self, index: int, arguments: str) -> bytes:
        number = self._calls.get(index)
        if number is None:  # of a tool that runs at the provider: none of the caller's business
            return b""
        return self._chunk(
            {"tool_calls": [{"index": number, "function": {"arguments": arguments}}]}
        )

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return b'%b"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n' % (
            self._head,
            _encode(delta),
            _encode(finish),
        )

    def _end(self) -> bytes:
        usage = b""
        if self._include_usage:
            wire = msgspec.json.decode(_encode(self._usage), type=WireUsage)
            usage = b'%b"choices":[],"usage":%b}\n\n' % (self._head, _encode(chat_usage(wire)))
        return usage + b"data: [DONE]\n\n"


def _text(raw: Raw | None) -> str:
    """A string field of what came; empty where it is none."""
    if raw is None:
        return ""
    value = msgspec.json.decode(raw)
    return value if isinstance(value, str) else ""


def _object(text: str) -> Any:
    """The arguments of a call; as the text that came where the stream ended within them."""
    try:
        msgspec.json.decode(text, type=dict[str, Raw])
    except msgspec.MsgspecError:
        return {"partial_json": text}
    return Raw(text.encode())
