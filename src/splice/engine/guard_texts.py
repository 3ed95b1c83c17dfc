"""Texts: what policies look at in requests and answers, whatever dialect they are in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec

from splice.core.chat import Asked
from splice.core.policies import Station
from splice.core.untrusted import Untrusted
from splice.engine.guard_tools import declared_name

_RESULTS = frozenset({"tool", "function"})
_RESULT_PARTS = ("tool_result", "_call_output", "tool_search_result", "_search_result")
_CONTEXT_PARTS = frozenset({"document", "search_result", "file", "input_file"})
_SAID = ("messages", "input", "system", "instructions", "prompt")
_TOOLS = ("tools", "functions", "mcp_servers")

# Names and numbers of the protocol, and what is no text: they are never words of anybody.
_NO_TEXT = frozenset(
    {
        "id", "object", "model", "type", "role", "finish_reason", "stop_reason", "status",
        "created", "system_fingerprint", "service_tier", "item_id", "response_id", "call_id",
        "tool_call_id", "tool_use_id", "previous_response_id", "event_id", "obfuscation",
        "signature", "encrypted_content", "encrypted_index", "media_type", "detail",
        "cache_control", "file_data", "file_id", "input_audio", "usage", "logprobs", "metadata",
    }
)  # fmt: skip
_ECHOED = frozenset({"instructions", "tools", "tool_choice", "text_format"})
"""Of an answer: what it repeats of its request."""

ANSWER_SKIPS = _NO_TEXT | _ECHOED
_FREE = frozenset({"input", "arguments", "parameters", "properties", "input_schema"})
"""Below these names stands what somebody made up, whatever it calls its fields."""

_NAME = re.compile(r"\w{1,40}")
_NONE: frozenset[str] = frozenset()
_FILE = 256  # characters of a `data:` address, from which on it is a file


def strings(value: Any, skipped: frozenset[str] = _NONE) -> Iterator[str]:
    """Every text in a JSON value; names of fields too, where they could hold one."""
    waiting: list[tuple[Any, frozenset[str]]] = [(value, skipped)]
    while waiting:
        one, skips = waiting.pop()
        if isinstance(one, str):
            if one and not (one.startswith("data:") and len(one) > _FILE):
                yield one
        elif isinstance(one, dict):
            for key, inner in reversed(cast("dict[str, Any]", one).items()):
                if key not in skips:
                    waiting.append((inner, _NONE if key in _FREE else skips))
                    if not skips and not _NAME.fullmatch(key):
                        waiting.append((key, skips))
        elif isinstance(one, (list, tuple)):
            waiting += [(inner, skips) for inner in reversed(cast("list[Any]", one))]


def mapped(
    value: Any,
    change: Callable[[str], str],
    skipped: frozenset[str] = _NONE,
    *,
    names: bool = False,
) -> Any:
    """The same JSON value with every text changed; names of fields only where that is asked."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {
            change(key) if names else key: inner
            if key in skipped
            else mapped(inner, change, _NONE if key in _FREE else skipped, names=names)
            for key, inner in cast("dict[str, Any]", value).items()
        }
    if isinstance(value, (list, tuple)):
        return [mapped(one, change, skipped, names=names) for one in cast("list[Any]", value)]
    return value


def untrusted(context: Mapping[str, Any]) -> list[str]:
    """The texts of a context that are marked as coming from outside."""
    found: list[str] = []
    waiting: list[Any] = list(context.values())
    while waiting:
        one = waiting.pop()
        if isinstance(one, Untrusted):
            found.append(str(one))
        elif isinstance(one, dict):
            waiting += cast("dict[str, Any]", one).values()
        elif isinstance(one, (list, tuple)):
            waiting += cast("list[Any]", one)
    return found


class Heard(msgspec.Struct):
    """The texts of a request of a conversation by who they come from, and its tools."""

    texts: dict[Station, list[str]]
    tools: list[str]

    @property
    def untrusted(self) -> bool:
        """Whether something from outside stands in it."""
        return bool(self.texts["results"] or self.texts["context"])


def heard(asked: Asked) -> Heard:
    """What is said in a request, in any dialect."""
    found = Heard({"input": [], "context": [], "results": []}, [])
    for name in _SAID:
        if name in asked.fields:
            _hear(_plain(asked.fields[name]), found.texts)
    for name in _TOOLS:
        if name in asked.fields:
            given: Any = _plain(asked.fields[name])
            listed = cast("list[Any]", given) if isinstance(given, list) else []
            label = "mcp" if name == "mcp_servers" else ""
            for one in listed:
                named = declared_name(one)
                found.tools.append(f"{label}:{named}" if label else named)
            # Whoever describes a tool speaks to the model.
            found.texts["input"] += strings(given)
    if "web_search_options" in asked.fields:
        found.tools.append("web_search")
    return found


def _hear(said: Any, texts: dict[Station, list[str]]) -> None:
    if isinstance(said, str):
        texts["input"].append(said)
        return
    waiting: list[tuple[Any, Station]] = [(said, "input")]
    while waiting:
        one, station = waiting.pop()
        if isinstance(one, str):
            texts[station] += strings(one)
        elif isinstance(one, list):
            for inner in reversed(cast("list[Any]", one)):
                waiting.append((inner, station))
        elif isinstance(one, dict):
            plain = cast("dict[str, Any]", one)
            inside = _station(plain, station)
            for key, inner in reversed(plain.items()):
                if key in _FREE:
                    texts[inside] += strings(inner)
                elif key not in _NO_TEXT:
                    waiting.append((inner, inside))


def _station(part: dict[str, Any], outer: Station) -> Station:
    if outer != "input":
        return outer
    kind, role = part.get("type"), part.get("role")
    if role in _RESULTS:
        return "results"
    if isinstance(kind, str):
        if kind.startswith("mcp_tool_result") or kind.endswith(_RESULT_PARTS):
            return "results" if kind not in _CONTEXT_PARTS else "context"
        if kind in _CONTEXT_PARTS:
            return "context"
    return outer


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def changed(asked: Asked, change: Callable[[str], str]) -> Asked:
    """A request with every text in it changed, in its own dialect and as a chat."""
    as_chat = asked.as_chat
    return msgspec.structs.replace(
        asked,
        fields=_changed_fields(asked.fields, change),
        as_chat=None if as_chat is None else lambda: _changed_fields(as_chat(), change),
    )


def _changed_fields(fields: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    def one(value: Any) -> msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(mapped(_plain(value), change, _NO_TEXT)))

    return {name: one(value) if name in _SAID else value for name, value in fields.items()}


def without_tools(asked: Asked, left: Callable[[str], bool]) -> tuple[Asked, int]:
    """A request without the tools that are not left, and how many those were."""
    gone = 0

    def fields_of(fields: dict[str, Any]) -> dict[str, Any]:
        nonlocal gone
        kept = dict(fields)
        for name in _TOOLS:
            if name not in kept:
                continue
            given: Any = _plain(kept[name])
            if not isinstance(given, list):
                continue
            listed = cast("list[Any]", given)
            label = "mcp:" if name == "mcp_servers" else ""
            some = [one for one in listed if left(label + declared_name(one))]
            gone += len(listed) - len(some)
            if some:
                kept[name] = msgspec.Raw(msgspec.json.encode(some))
            else:
                del kept[name]
                kept.pop("tool_choice", None)
                kept.pop("parallel_tool_calls", None)
        return kept

    as_chat = asked.as_chat
    fields = fields_of(asked.fields)
    count = gone
    if not count:
        return asked, 0
    again = None if as_chat is None else lambda: fields_of(as_chat())
    return msgspec.structs.replace(asked, fields=fields, as_chat=again), count


def answered_texts(value: Any) -> list[str]:
    """The texts of an answer, in any dialect."""
    return list(strings(value, ANSWER_SKIPS))


def changed_answer(body: bytes, change: Callable[[str], str]) -> bytes:
    """An answer with every text in it changed."""
    return msgspec.json.encode(mapped(msgspec.json.decode(body), change, ANSWER_SKIPS))
