"""Anthropic's typed events: of chat chunks as they come, or of a whole message replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import Raw

from splice.core.errors import BadAnswer, MalformedBody, ProviderFailed
from splice.serve.anthropic.from_chat import (
    ChatUsage,
    Delta,
    read_chat,
    stop_of,
    tool_id,
    usage_of,
)

_encode = msgspec.json.encode


def event(kind: str, **fields: Any) -> bytes:
    """One event as it goes over the wire."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


def replayed(message: bytes) -> bytes:
    """A whole message as the events that would have told it."""
    fields = msgspec.json.decode(message, type=dict[str, Raw])
    blocks: list[dict[str, Any]] = msgspec.json.decode(
        fields.get("content", b"[]"), type=list[dict[str, Raw]]
    )
    usage = msgspec.json.decode(fields.get("usage", b"{}"), type=dict[str, Raw])
    stop = {name: fields.get(name) for name in ("stop_reason", "stop_sequence")}
    early = {**usage, "output_tokens": 0}
    opening: dict[str, Any] = {
        **fields,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": early,
    }
    told = [event("message_start", message=opening)]
    for index, block in enumerate(blocks):
        told += _block_events(index, block)
    told.append(event("message_delta", delta=stop, usage=usage or {"output_tokens": 0}))
    told.append(event("message_stop"))
    return b"".join(told)


def _block_events(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    kind = msgspec.json.decode(block.get("type", b'""'))
    start, deltas = dict(block), list[dict[str, Any]]()
    if kind == "text":
        start |= {"text": ""}
        deltas.append({"type": "text_delta", "text": block.get("text", "")})
        if bytes(block.get("citations", b"null")) != b"null":
            cited = msgspec.json.decode(block["citations"], type=list[Raw])
            deltas += [{"type": "citations_delta", "citation": one} for one in cited]
            start["citations"] = []
    elif kind in ("tool_use", "server_tool_use"):
        start |= {"input": {}}
        given = bytes(block.get("input", b"{}")).decode()
        deltas.append({"type": "input_json_delta", "partial_json": given})
    elif kind == "thinking":
        start |= {"thinking": "", "signature": ""}
        deltas.append({"type": "thinking_delta", "thinking": block.get("thinking", "")})
        deltas.append({"type": "signature_delta", "signature": block.get("signature", "")})
    yield event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield event("content_block_delta", index=index, delta=delta)
    yield event("content_block_stop", index=index)


class _Call:
    """A call of a tool, as far as it has come."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = ""
        self.told = 0  # characters of the arguments that the client has


class MessageEvents:
    """Tells chat chunks as events, block after block.

    Anthropic's clients expect one block at a time. Chat chunks may mix them: while the arguments of
    one call come, those of the others wait for the end, and so does text between them.

    Args:
        message_id: The id in Anthropic's form.
        model: The model, where the chunks name none.
        where: Whose answer it is, in errors.
    """

    def __init__(self, message_id: str, model: str, where: str) -> None:
        self._id = message_id
        self._model = model
        self._where = where
        self._begun = False
        self._index = -1
        self._open: str | int | None = None  # "text", or the number of a call
        self._late = ""  # text that came while a call was open
        self._calls: dict[int, _Call] = {}
        self._waiting: list[int] = []
        self._finish: str | None = None
        self._refused = False
        self._usage: ChatUsage | None = None

    def of(self, chunks: bytes) -> bytes:
        """The events that whole server-sent events become; empty where they become none.

        Raises:
            ProviderFailed: One is an error, or no chat chunk.
        """
        told: list[bytes] = []
        for one in chunks.replace(b"\r\n", b"\n").split(b"\n\n"):
            lines = [line[5:].strip() for line in one.split(b"\n") if line.startswith(b"data:")]
            content = b"\n".join(lines)
            if content and content != b"[DONE]":
                told += self._chunk(content)
        return b"".join(told)

    def end(self) -> bytes:
        """The events after the last chunk."""
        told = [] if self._begun else [self._start()]
        told += self._close()
        while self._waiting:
            told += self._open_call(self._waiting[0])
            told += self._close()
        if self._late:
            told += self._text(self._late)
            told += self._close()
        stop = stop_of(self._finish, called=bool(self._calls), refused=self._refused)
        delta = {"stop_reason": stop, "stop_sequence": None}
        told.append(event("message_delta", delta=delta, usage=usage_of(self._usage)))
        told.append(event("message_stop"))
        return b"".join(told)

    def _chunk(self, content: bytes) -> Iterator[bytes]:
        try:
            chat = read_chat(content)
        except (MalformedBody, msgspec.ValidationError) as error:
            raise BadAnswer(self._where, got=str(error), promised="chat chunks") from None
        if chat.error is not None:
            raise ProviderFailed(self._where, got=_words(chat.error))
        if not self._begun:
            self._model = chat.model or self._model
            yield self._start()
        self._usage = chat.usage or self._usage
        for choice in chat.choices:
            if choice.index != 0:
                continue
            if choice.delta is not None:
                yield from self._delta(choice.delta)
            self._finish = choice.finish_reason or self._finish

    def _start(self) -> bytes:
        self._begun = True
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(None),  # nobody has counted yet; the last event says
        }
        return event("message_start", message=message)

    def _delta(self, delta: Delta) -> Iterator[bytes]:
        self._refused = self._refused or bool(delta.refusal)
        if text := delta.text:
            yield from self._text(text)
        for position, part in enumerate(delta.tool_calls or ()):
            number = position if part.index is None else part.index
            if number not in self._calls:
                self._calls[number] = _Call()
                self._waiting.append(number)
            call = self._calls[number]
            call.id = call.id or part.id or ""
            if part.function is not None:
                call.name = call.name or part.function.name or ""
                call.arguments += part.function.arguments or ""
            yield from self._tell(number)

    def _text(self, text: str) -> Iterator[bytes]:
        if isinstance(self._open, int):
            self._late += text
            return
        if self._open is None:
            yield self._opened("text", {"type": "text", "text": ""})
        yield self._grown({"type": "text_delta", "text": text})

    def _tell(self, number: int) -> Iterator[bytes]:
        """What the client may know now of a call that has grown."""
        if self._open in (None, "text") and self._waiting[0] == number and self._calls[number].name:
            yield from self._close()
            yield from self._open_call(number)
        elif self._open == number:
            yield from self._argued(self._calls[number])

    def _open_call(self, number: int) -> Iterator[bytes]:
        self._waiting.remove(number)
        call = self._calls[number]
        identity = call.id or tool_id(self._id, number)
        block: dict[str, Any] = {"type": "tool_use", "id": identity, "name": call.name, "input": {}}
        yield self._opened(number, block)
        yield from self._argued(call)

    def _argued(self, call: _Call) -> Iterator[bytes]:
        if more := call.arguments[call.told :]:
            call.told = len(call.arguments)
            yield self._grown({"type": "input_json_delta", "partial_json": more})

    def _opened(self, what: str | int, block: dict[str, Any]) -> bytes:
        self._open = what
        self._index += 1
        return event("content_block_start", index=self._index, content_block=block)

    def _grown(self, delta: dict[str, Any]) -> bytes:
        return event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield event("content_block_stop", index=self._index)


def _words(error: object) -> str:
    if isinstance(error, dict):
        message = cast("dict[str, object]", error).get("message")
        if isinstance(message, str):
            return message
    return error if isinstance(error, str) else _encode(error).decode()
