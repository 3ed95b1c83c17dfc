"""Filled stream: values come back into an answer while it comes, however it is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import msgspec

from splice.core.chat import Dialect, WireReply
from splice.engine.routing.filling import Filler
from splice.ports.providers import Stream

_MAYBE = re.compile(rb'\[(?:[a-z0-9_-]*"|[a-z][a-z0-9_-]*-[0-9])')
"""A placeholder, or the beginning of one at the end of a string; most events hold neither."""

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_BLOCKS = {"text": False, "thinking": False, "partial_json": True}

_Channel: TypeAlias = "tuple[Any, ...]"
"""One of the texts that come at once: of which answer, which tool call, which part."""

_Fields: TypeAlias = "dict[str, Any]"

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class _Piece(msgspec.Struct):
    """The next piece of a text in an event: `holder[name]`; `escaped` where the text is JSON."""

    channel: _Channel
    holder: _Fields
    name: str
    escaped: bool = False

    @property
    def text(self) -> str:
        """As it stands there now."""
        return self.holder[self.name]


class FilledStream:
    """A stream with the values of its call.

    A piece that ends in what may be the beginning of a placeholder is given without that, which
    comes with the next piece: only there does anybody wait.

    Args:
        stream: The provider's.
        filler: Knows the values.
        dialect: Of the events.
    """

    def __init__(self, stream: Stream, filler: Filler, dialect: Dialect) -> None:
        self._stream = stream
        self._filler = filler
        self._read = {Dialect.CHAT: _chat, Dialect.MESSAGES: _messages}.get(dialect, _responses)
        self._held: dict[_Channel, tuple[str, bytes]] = {}  # the text, and the event to give it in
        self._careful = filler.escapes  # a text must be known as JSON from its first character on
        self._json: dict[_Channel, bool] = {}

    @property
    def started(self) -> bool:
        """Whether something of the answer itself has come."""
        return self._stream.started

    async def next(self) -> bytes | None:
        """The next events; None after the regular end.

        Raises:
            RouteError: As the provider's stream.
        """
        block = await self._stream.next()
        if block is not None:
            return self._filled(block) if self._filler.values else block
        rest = b"".join(event for _, event in self._held.values())
        self._held.clear()
        return rest or None

    def reply(self) -> WireReply:
        """What has come so far, with values."""
        return self._filler.reply(self._stream.reply())

    def hang_up(self) -> None:
        """Stop the provider at once."""
        self._stream.hang_up()

    def _filled(self, block: bytes) -> bytes:
        if not (self._held or self._careful) and _MAYBE.search(block) is None:
            return block
        return b"\n\n".join([self._event(event) for event in block.split(b"\n\n")])

    def _event(self, event: bytes) -> bytes:
        named, data, said = event.rpartition(b"data:")
        if not data:
            return event
        try:
            fields = _decode(said)
        except msgspec.DecodeError:
            return event  # [DONE], or nothing that anybody could read
        if not isinstance(fields, dict):
            return event
        pieces, ended = self._read(cast("_Fields", fields))
        if not pieces and ended is None:
            return self._filler.document(event)
        holds: list[tuple[_Piece, str]] = []
        changed = False
        for piece in pieces:
            changed = self._fill(piece, ended, holds) or changed
        for piece, tail in holds:
            last = _again(cast("_Fields", fields), pieces, piece, tail)
            self._held[piece.channel] = (tail, named + b"data: " + last + b"\n\n")
        whole = named + b"data: " + _encode(fields) if changed else self._filler.document(event)
        return self._before(ended) + whole

    def _fill(self, piece: _Piece, ended: _Channel | None, holds: list[tuple[_Piece, str]]) -> bool:
        """Whether the event is another one with this piece filled."""
        channel, came = piece.channel, piece.text
        text = self._held.pop(channel, ("", b""))[0] + came
        if self._careful and channel not in self._json and text.strip():
            self._json[channel] = text.lstrip()[0] == "{"
        end = len(text) if _is_in(channel, ended) else self._filler.begun(text)
        if end < len(text):
            holds.append((piece, text[end:]))
        escaped = piece.escaped or self._json.get(channel, False)
        filled = self._filler.text(text[:end], escaped=escaped)
        piece.holder[piece.name] = filled
        return filled != came

    def _before(self, ended: _Channel | None) -> bytes:
        """What was held back of texts that end here: no more of them comes."""
        over = [one for one in self._held if _is_in(one, ended)]
        return b"".join([self._held.pop(one)[1] for one in over])


def _is_in(channel: _Channel, ended: _Channel | None) -> bool:
    return ended is not None and channel[: len(ended)] == ended


def _again(fields: _Fields, pieces: list[_Piece], piece: _Piece, tail: str) -> bytes:
    """An event as this one, in which only what was held back stands."""
    texts = [one.text for one in pieces]
    for one in pieces:
        one.holder[one.name] = tail if one is piece else ""
    event = _encode({name: value for name, value in fields.items() if name != "usage"})
    for one, text in zip(pieces, texts, strict=True):
        one.holder[one.name] = text
    return event


def _items(value: Any) -> Iterator[_Fields]:
    for one in cast("list[Any]", value) if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield cast("_Fields", one)


def _piece(channel: _Channel, holder: Any, name: str, *, escaped: bool = False) -> Iterator[_Piece]:
    if isinstance(holder, dict):
        fields = cast("_Fields", holder)
        if isinstance(fields.get(name), str):
            yield _Piece(channel, fields, name, escaped)


def _chat(event: _Fields) -> tuple[list[_Piece], _Channel | None]:
    pieces: list[_Piece] = []
    ended: _Channel | None = None
    for choice in _items(event.get("choices")):
        index, delta = choice.get("index", 0), choice.get("delta")
        if choice.get("finish_reason") is not None:
            ended = (index,)
        if not isinstance(delta, dict):
            continue
        fields = cast("_Fields", delta)
        for name in _TEXTS:
            pieces += _piece((index, name), fields, name)
        pieces += _piece((index, "call"), fields.get("function_call"), "arguments", escaped=True)
        for call in _items(fields.get("tool_calls")):
            channel = (index, "tool", call.get("index", 0))
            pieces += _piece(channel, call.get("function"), "arguments", escaped=True)
            pieces += _piece((*channel, "custom"), call.get("custom"), "input")
    return pieces, ended


def _messages(event: _Fields) -> tuple[list[_Piece], _Channel | None]:
    index = event.get("index", 0)
    if event.get("type") == "content_block_stop":
        return [], (index,)
    if event.get("type") != "content_block_delta":
        return [], None
    pieces: list[_Piece] = []
    for name, escaped in _BLOCKS.items():
        pieces += _piece((index, name), event.get("delta"), name, escaped=escaped)
    return pieces, None


def _responses(event: _Fields) -> tuple[list[_Piece], _Channel | None]:
    kind = str(event.get("type", ""))
    name, _, last = kind.rpartition(".")
    part = event.get("content_index", event.get("summary_index", 0))
    channel = (name, event.get("output_index", 0), part)
    if last == "delta":
        return list(_piece(channel, event, "delta", escaped="arguments" in name)), None
    return [], channel if last == "done" else None
