"""A responses request said as a chat completion, for providers that know only those.

What such a provider cannot do (tools that run at OpenAI, items that OpenAI keeps) is refused by
name: an answer without it would look right and be wrong.
"""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.errors import RequestError
from splice.serve.openai.items import Body, Choice, Item, Tool
from splice.serve.openai.parts import Link, Part
from splice.serve.openai.reading import as_list

Fields = dict[str, Any]

_SAME = (
    "temperature", "top_p", "parallel_tool_calls", "service_tier", "user", "safety_identifier",
    "prompt_cache_key", "metadata",
)  # fmt: skip
_KEPT_THERE = ("previous_response_id", "conversation", "prompt", "background", "context_management")


def chat_fields(request: Body) -> Fields:
    """The fields of the same request as a chat completion, but for `model` and `stream`.

    Raises:
        RequestError: It asks for what only a provider of responses can do; says what that is.
    """
    for name in _KEPT_THERE:
        if getattr(request, name):
            raise _native_only(name, name)
    fields: Fields = {"messages": _messages(request)}
    if request.max_output_tokens is not None:
        fields["max_completion_tokens"] = request.max_output_tokens
    for name in _SAME:
        value = getattr(request, name)
        if value is not None and value != {}:
            fields[name] = value
    if request.reasoning is not None and request.reasoning.effort is not None:
        fields["reasoning_effort"] = request.reasoning.effort
    if "message.output_text.logprobs" in (request.include or ()) or request.top_logprobs:
        fields["logprobs"] = True
        if request.top_logprobs:
            fields["top_logprobs"] = request.top_logprobs
    if request.stream:
        fields["stream_options"] = {"include_usage": True}
    _say_text(request, fields)
    _say_tools(request, fields)
    return fields


def _native_only(where: str, what: str) -> RequestError:
    return RequestError(
        where,
        got=f"{what}, which this model's provider cannot do",
        promised="what can be said as a chat completion",
        mend="leave it out, or use a model whose provider has the Responses API",
    )


def _messages(request: Body) -> list[Fields]:
    messages: list[Fields] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        messages.append({"role": "user", "content": request.input})
        return messages
    for position, item in enumerate(request.input or ()):
        _add(messages, item, f"input[{position}]")
    return messages


def _add(messages: list[Fields], item: Item, place: str) -> None:
    kind = item.kind
    if kind == "message":
        messages.append(_message(item, place))
    elif kind == "function_call":
        call = {
            "id": item.call_id,
            "type": "function",
            "function": {"name": item.name, "arguments": item.arguments},
        }
        # Calls made at once, and what was said before them, are one turn of the assistant.
        last = messages[-1] if messages else None
        if last is not None and last["role"] == "assistant":
            last.setdefault("tool_calls", []).append(call)
        else:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif kind == "function_call_output":
        content = _text_only(item.output, f"{place}.output")
        messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content})
    elif kind != "reasoning":  # what a model thought is of no use to another one
        raise _native_only(place, f"an item of type {kind}")


def _message(item: Item, place: str) -> Fields:
    role = "system" if item.role == "developer" else item.role
    if isinstance(item.content, str):
        return {"role": role, "content": item.content}
    parts = item.content or []
    if role == "assistant":
        refused = "".join(part.refusal or "" for part in parts)
        said = [part for part in parts if part.type != "refusal"]
        message: Fields = {"role": role, "content": _text_only(said, f"{place}.content")}
        if refused:
            message["refusal"] = refused
        return message
    if len(parts) == 1 and parts[0].text is not None:
        return {"role": role, "content": parts[0].text}
    return {
        "role": role,
        "content": [_part(part, f"{place}.content[{i}]") for i, part in enumerate(parts)],
    }


def _text_only(output: Any, place: str) -> str:
    if isinstance(output, str):
        return output
    parts: list[Part] = as_list(output)
    for position, part in enumerate(parts):
        if part.text is None:
            raise _native_only(f"{place}[{position}]", f"a part of type {part.type} here")
    return "".join(part.text or "" for part in parts)


def _part(part: Part, place: str) -> Fields:
    if part.text is not None:
        return {"type": "text", "text": part.text}
    if part.type == "input_image" and part.image_url is not None:
        url = part.image_url.url if isinstance(part.image_url, Link) else part.image_url
        image = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
        return {"type": "image_url", "image_url": image}
    if part.type == "input_audio" and part.input_audio is not None:
        return {"type": "input_audio", "input_audio": part.input_audio}
    if part.type == "input_file" and part.file_data is not None:
        file = {"file_data": part.file_data}
        if part.filename is not None:
            file["filename"] = part.filename
        return {"type": "file", "file": file}
    raise _native_only(place, f"a part of type {part.type} that OpenAI keeps or fetches")


def _say_text(request: Body, fields: Fields) -> None:
    text = request.text
    if text is None:
        return
    if text.verbosity is not None:
        fields["verbosity"] = text.verbosity
    form = text.format
    if form is None or form.type == "text":
        return
    if form.type == "json_schema":
        schema = {
            "name": form.name, "schema": form.schema, "description": form.description,
            "strict": form.strict,
        }  # fmt: skip
        told = {name: value for name, value in schema.items() if value is not None}
        fields["response_format"] = {"type": "json_schema", "json_schema": told}
    elif form.type == "json_object":
        fields["response_format"] = {"type": "json_object"}
    else:
        raise _native_only("text.format", f"a format of type {form.type}")


def _say_tools(request: Body, fields: Fields) -> None:
    tools, choice = request.tools or [], request.tool_choice
    if isinstance(choice, Choice) and choice.type == "allowed_tools":
        tools, choice = _allowed(tools, choice)
    if tools:
        fields["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    if isinstance(choice, Choice):
        if choice.type != "function":
            raise _native_only("tool_choice", f"a choice of type {choice.type}")
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None and tools:
        fields["tool_choice"] = choice


def _tool(tool: Tool, place: str) -> Fields:
    if tool.type != "function":
        raise _native_only(place, f"a tool of type {tool.type}")
    function: Fields = {"name": tool.name}
    for name in ("description", "parameters", "strict"):
        value = getattr(tool, name)
        if value is not None:
            function[name] = value
    return {"type": "function", "function": function}


def _allowed(tools: list[Tool], choice: Choice) -> tuple[list[Tool], str]:
    """Few providers know a list of allowed tools: they get no others, which is the same."""
    names: set[Any] = set()
    for position, one in enumerate(choice.tools or ()):
        place = f"tool_choice.tools[{position}]"
        kind, name = (_plain(one.get(field)) for field in ("type", "name"))
        if kind != "function":
            raise _native_only(place, "a tool that is no function")
        names.add(name)
    return [tool for tool in tools if tool.name in names], choice.mode or "auto"


def _plain(raw: msgspec.Raw | None) -> Any:
    """A value that was not read yet; None where it is not there, or is no text."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
