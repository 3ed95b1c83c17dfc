"""A chat completion request as a request to Anthropic's Messages API.

What that API cannot do is refused (`n` above 1, `logprobs`, `logit_bias`, audio) where the caller
would miss it in the answer, and left out where it only hints (`seed`, penalties, `prediction`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.adapters.providers.anthropic_schema import closed_schema
from splice.adapters.providers.anthropic_turns import Turn, called_tools, system_and_turns
from splice.core.errors import RequestError

DEFAULT_MAX_TOKENS = 8192
"""Tokens of an answer where the caller does not say: Anthropic demands a number, and its smallest
model that is still served takes as many."""

# Anthropic's own fields, for callers who know them; they go on as they are.
_OWN = (
    "thinking", "top_k", "container", "inference_geo", "speed", "mcp_servers", "cache_control",
    "context_management",
)  # fmt: skip
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576}
_EFFORTS = {"minimal": "low"}
_LEAST_BUDGET = 1024


class _Named(msgspec.Struct):
    name: str = ""


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None
    cache_control: Raw | UnsetType = UNSET


class _AllowedTool(msgspec.Struct):
    function: _Named = msgspec.field(default_factory=_Named)


class _Allowed(msgspec.Struct):
    mode: str = "auto"
    tools: list[_AllowedTool] = []


class _Choice(msgspec.Struct):
    type: str = "function"
    function: _Named | None = None
    allowed_tools: _Allowed | None = None


class _JsonSchema(msgspec.Struct):
    schema: dict[str, Any] | None = None
    name: str = ""


class _Format(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _Thinking(msgspec.Struct):
    type: str = ""


class _Chat(msgspec.Struct):
    """The fields of a chat completion request that mean something here."""

    messages: list[Turn]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    stop_sequences: list[str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    modalities: list[str] | None = None
    functions: Raw | UnsetType = UNSET
    output_config: dict[str, Raw] | None = None
    thinking: _Thinking | None = None


def to_messages(
    fields: Mapping[str, Any], model: str, max_tokens: int = DEFAULT_MAX_TOKENS
) -> dict[str, Any]:
    """The fields of a Messages request, without `model` and `stream`.

    System and developer messages all go to the front. A temperature above 1 is 1; where the model
    takes no sampling parameters they are left out, and `top_p` beside a temperature is too.
    `reasoning_effort` is `output_config.effort` with adaptive thinking from Claude 4.6 on, and a
    thinking budget below.

    Raises:
        RequestError: A field has a wrong type, or asks for what the API cannot do.
    """
    chat = _read(fields, model)
    _refuse_impossible(chat, model)
    system, turns = system_and_turns(chat.messages, model)
    out: dict[str, Any] = {"messages": turns}
    out["max_tokens"] = chat.max_completion_tokens or chat.max_tokens or max_tokens
    out |= {name: fields[name] for name in _OWN if fields.get(name) is not None}
    if chat.output_config is not None:
        out["output_config"] = chat.output_config
    stop = chat.stop_sequences or ([chat.stop] if isinstance(chat.stop, str) else chat.stop)
    if stop:
        out["stop_sequences"] = stop
    if user := chat.user or chat.safety_identifier:
        out["metadata"] = {"user_id": user}
    if chat.service_tier in ("auto", "standard_only"):
        out["service_tier"] = chat.service_tier
    out |= _tools(chat)
    told = _format(chat, out)
    if told:
        system.append({"type": "text", "text": told})
    if chat.reasoning_effort is not None:
        _reason(chat, model, out)
    _sample(chat, model, out)
    if system:
        out["system"] = system
    return out


def _read(fields: Mapping[str, Any], model: str) -> _Chat:
    try:
        return msgspec.json.decode(msgspec.json.encode(fields), type=_Chat)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RequestError(model, got=str(error), promised="a chat completion request") from None


def _refuse_impossible(chat: _Chat, model: str) -> None:
    asked = {
        "n": (chat.n or 1) > 1,
        "logprobs": bool(chat.logprobs or chat.top_logprobs),
        "logit_bias": bool(chat.logit_bias),
        "modalities": bool(chat.modalities) and chat.modalities != ["text"],
        "functions": chat.functions is not UNSET,
    }
    for name, wanted in asked.items():
        if wanted:
            raise RequestError(
                name,
                got=f"a request for {name} to {model}",
                promised="nothing that Anthropic's API cannot do",
                mend="use tools instead" if name == "functions" else f"leave out {name}",
            )


def _tools(chat: _Chat) -> dict[str, Any]:
    """`tools` and `tool_choice`."""
    tools = [_tool(tool) for tool in chat.tools or ()]
    choice = chat.tool_choice
    if isinstance(choice, _Choice) and choice.allowed_tools is not None:
        allowed = {one.function.name for one in choice.allowed_tools.tools}
        tools = [tool for tool in tools if tool["name"] in allowed]
        choice = choice.allowed_tools.mode
    if not tools:
        # A conversation in which tools were called must name them, also when none may be any more.
        names = called_tools(chat.messages)
        empty = {"type": "object"}
        past = [{"name": name, "input_schema": empty} for name in names]
        return {"tools": past, "tool_choice": {"type": "none"}} if past else {}
    wire: dict[str, Any] = {"type": "auto"}
    if isinstance(choice, _Choice):
        wire = {"type": "tool", "name": choice.function.name if choice.function else ""}
    elif choice is not None:
        wire = {"type": {"required": "any"}.get(choice, choice)}
    if chat.parallel_tool_calls is False and wire["type"] != "none":
        wire["disable_parallel_tool_use"] = True
    plain = choice is None and chat.parallel_tool_calls is not False
    return {"tools": tools} if plain else {"tools": tools, "tool_choice": wire}


def _tool(tool: _Tool) -> dict[str, Any]:
    if tool.function is None or tool.type != "function":
        raise RequestError(
            "tools", got=f"a tool of type {tool.type!r}", promised="tools of type 'function'"
        )
    function = tool.function
    wire: dict[str, Any] = {"name": function.name}
    if function.description:
        wire["description"] = function.description
    wire["input_schema"] = _input_schema(function)
    if function.strict:
        closed = closed_schema(msgspec.json.decode(msgspec.json.encode(wire["input_schema"])))
        if closed is not None:
            wire |= {"input_schema": closed, "strict": True}
    if tool.cache_control is not UNSET:
        wire["cache_control"] = tool.cache_control
    return wire


def _input_schema(function: _Function) -> Any:
    """The parameters as they came; Anthropic wants to read in them that they are an object."""
    if function.parameters is UNSET or bytes(function.parameters) == b"null":
        return {"type": "object", "properties": {}}
    try:
        schema = msgspec.json.decode(function.parameters, type=dict[str, Raw])
    except (msgspec.MsgspecError, RecursionError) as error:
        where = f"tools.{function.name}.parameters"
        raise RequestError(where, got=str(error), promised="a JSON Schema") from None
    return function.parameters if "type" in schema else {"type": "object", **schema}


def _format(chat: _Chat, out: dict[str, Any]) -> str:
    """Put `response_format` into the request; what it cannot enforce comes back as words."""
    wanted = chat.response_format
    if wanted is None or wanted.type == "text":
        return ""
    schema = wanted.json_schema.schema if wanted.json_schema else None
    if wanted.type != "json_schema" or schema is None:
        return "Answer with one JSON object and with nothing else."
    closed = closed_schema(schema)
    if closed is None:
        text = msgspec.json.encode(schema).decode()
        return f"Answer with JSON that satisfies this JSON Schema, and with nothing else:\n{text}"
    _configure(out, "format", {"type": "json_schema", "schema": closed})
    return ""


def _reason(chat: _Chat, model: str, out: dict[str, Any]) -> None:
    """Put `reasoning_effort` into the request, unless the caller said `thinking` himself."""
    effort = chat.reasoning_effort or ""
    if "thinking" in out or not effort:
        return
    version = _version(model)
    # The API refuses thinking beside a forced tool.
    forced = out.get("tool_choice", {}).get("type") in ("any", "tool")
    if effort == "none":
        out["thinking"] = {"type": "disabled"}
    elif version >= (4, 6) or version == (0, 0):
        _configure(out, "effort", _EFFORTS.get(effort, effort))
        if not forced:
            out["thinking"] = {"type": "adaptive"}
    else:
        # It also wants the thinking that led to a call of a tool back, which chat cannot carry.
        budget = min(_BUDGETS.get(effort, _LEAST_BUDGET), out["max_tokens"] - 1)
        if budget >= _LEAST_BUDGET and not forced and not called_tools(chat.messages):
            out["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _sample(chat: _Chat, model: str, out: dict[str, Any]) -> None:
    """Put temperature or top_p into the request where the model takes them."""
    thinks = "thinking" in out and (chat.thinking is None or chat.thinking.type != "disabled")
    if _version(model) >= (4, 7) or (thinks and chat.reasoning_effort != "none"):
        out.pop("top_k", None)
        return
    if chat.temperature is not None:
        out["temperature"] = min(max(chat.temperature, 0.0), 1.0)
    elif chat.top_p is not None:
        out["top_p"] = chat.top_p


def _configure(out: dict[str, Any], name: str, value: Any) -> None:
    """Set one field of `output_config`, beside what the caller put there."""
    out["output_config"] = {name: value, **out.get("output_config", {})}


def _version(model: str) -> tuple[int, int]:
    """`(4, 6)` of `claude-opus-4-6-20260101`; zeros where the name tells none."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
