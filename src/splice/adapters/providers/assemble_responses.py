"""A streamed response (OpenAI's Responses API), put together as if it had been asked for whole."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.adapters.providers.usage import WireUsage, usage_of
from splice.core.call import Usage


class ResponseEvent(msgspec.Struct):
    """One event, as far as we must understand it."""

    type: str = ""
    response: Raw | UnsetType = UNSET
    item: Raw | UnsetType = UNSET
    delta: Any = None  # a text, but for events that we do not read
    output_index: int = 0
    content_index: int = 0
    code: str | None = None  # of `error`
    message: str | None = None
    param: str | None = None
    error: Raw | UnsetType = UNSET


class _Fault(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class Response(msgspec.Struct):
    """A whole response, as far as we must understand it."""

    model: str | None = None
    status: str | None = None
    usage: WireUsage | None = None
    output: list[Raw] | None = None
    error: _Fault | None = None


ENDS = frozenset({"response.completed", "response.incomplete"})

_TEXT = "response.output_text.delta"
_REFUSAL = "response.refusal.delta"
_ARGUMENTS = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")


class _Item:
    """An item of the output that is not done."""

    __slots__ = ("arguments", "parts", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.parts: dict[int, tuple[str, list[str]]] = {}
        self.arguments: list[str] = []

    def whole(self) -> dict[str, Any]:
        item = msgspec.json.decode(self.raw, type=dict[str, Any])
        if self.parts:
            item["content"] = [
                {"type": kind, "text": "".join(texts), "annotations": []}
                if kind == "output_text"
                else {"type": kind, "refusal": "".join(texts)}
                for _, (kind, texts) in sorted(self.parts.items())
            ]
        if self.arguments:
            name = "input" if item.get("type") == "custom_tool_call" else "arguments"
            item[name] = "".join(self.arguments)
        item["status"] = "incomplete"
        return item


class ResponseAssembly:
    """Takes events as they come; has the whole at any time."""

    __slots__ = ("_characters", "_events", "_final", "_first", "_items", "started")

    def __init__(self) -> None:
        self.started = False
        self._first: bytes | None = None
        self._final: bytes | None = None
        self._items: dict[int, _Item | bytes] = {}
        self._events = 0
        self._characters = 0

    def add(self, event: ResponseEvent) -> None:
        """Take one event."""
        kind = event.type
        if kind.endswith(".delta"):
            self._add_delta(kind, event)
        elif event.response is not UNSET:
            if kind in ENDS or kind == "response.failed":
                self._final = bytes(event.response)
            elif self._first is None:
                self._first = bytes(event.response)
        elif event.item is not UNSET:
            if kind == "response.output_item.added":
                self._items[event.output_index] = _Item(bytes(event.item))
            elif kind == "response.output_item.done":
                self._items[event.output_index] = bytes(event.item)

    def _add_delta(self, kind: str, event: ResponseEvent) -> None:
        text = event.delta if isinstance(event.delta, str) else ""
        if text or event.delta is not None:
            self.started = True
            self._events += 1
            self._characters += len(text)
        item = self._items.get(event.output_index)
        if item is None and kind in (_TEXT, _REFUSAL):
            raw = b'{"type":"message","role":"assistant","content":[]}'
            item = self._items[event.output_index] = _Item(raw)
        if not isinstance(item, _Item):
            return
        if kind in (_TEXT, _REFUSAL):
            part = "output_text" if kind == _TEXT else "refusal"
            item.parts.setdefault(event.content_index, (part, []))[1].append(text)
        elif kind in _ARGUMENTS:
            item.arguments.append(text)

    @property
    def ended(self) -> bool:
        """Whether the whole response has come."""
        return self._final is not None

    def read(self) -> Response:
        """What is known of the response as a whole."""
        try:
            return msgspec.json.decode(self._final or self._first or b"{}", type=Response)
        except msgspec.DecodeError:
            return Response()

    @property
    def usage(self) -> Usage | None:
        """What the server counted; None where it did not (yet)."""
        usage = usage_of(self.read().usage)
        return None if usage.input_tokens is None and usage.output_tokens is None else usage

    @property
    def written(self) -> tuple[int, int]:
        """How many events carried something of the answer, and how many characters that is."""
        return self._events, self._characters

    def body(self, model: str) -> bytes:
        """The response: the server's own at the end of a stream, else what has come of it."""
        if self._final is not None:
            return self._final
        whole: dict[str, Any] = {"id": "", "object": "response", "model": model}
        if self._first is not None:
            whole = msgspec.json.decode(self._first, type=dict[str, Any])
        whole["status"] = "incomplete"
        whole["output"] = [
            item.whole() if isinstance(item, _Item) else Raw(item)
            for _, item in sorted(self._items.items(), key=lambda pair: pair[0])
        ]
        return msgspec.json.encode(whole)
