"""A chat completion request in the words of pydantic-ai; what it has no word for is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import msgspec
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from splice.core.errors import ProviderRejected

Fields = Mapping[str, Any]  # JSON: plain values, or msgspec.Raw as the caller wrote them

_SAME = (
    "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty",
    "logit_bias", "parallel_tool_calls",
)  # fmt: skip
_READ = frozenset(
    {
        *_SAME, "messages", "tools", "tool_choice", "response_format", "max_tokens",
        "max_completion_tokens", "stop", "reasoning_effort", "service_tier", "stream_options",
    }
)  # fmt: skip
# What a client may say without asking for anything, field by field.
_NOTHING: Mapping[str, Callable[[Any], bool]] = {
    "n": lambda value: value == 1,
    "logprobs": lambda value: value is False,
    "top_logprobs": lambda value: value == 0,
    "store": lambda value: value is False,
    "modalities": lambda value: value == ["text"],
    "metadata": lambda value: value == {},
    "stream": lambda _: True,
}
_EFFORTS = frozenset({"minimal", "low", "medium", "high", "xhigh", "max"})
_TIERS = frozenset({"auto", "default", "flex", "priority"})
_AN_OBJECT = "Answer with one JSON object, and with nothing else."
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class Translated(msgspec.Struct):
    """What pydantic-ai takes. `wants_usage` says that the caller of a stream asked for a count."""

    messages: list[ModelMessage]
    settings: ModelSettings
    parameters: ModelRequestParameters
    wants_usage: bool


class Translator:
    """Translates the requests of one provider.

    Args:
        where: `provider/model`, for the errors.
        native_schemas: Whether the model takes a JSON Schema for its answer; else it is told of it
            in words.
    """

    def __init__(self, where: str, *, native_schemas: bool) -> None:
        self._where = where
        self._native = native_schemas

    def translated(self, fields: Fields) -> Translated:
        """The request.

        Raises:
            ProviderRejected: A field, or what is in it, cannot be carried; `param` names it.
        """
        plain = {name: _plain(value) for name, value in fields.items()}
        given = {name: value for name, value in plain.items() if value is not None}
        for name, value in given.items():
            if name in _READ or (name in _NOTHING and _NOTHING[name](value)):
                continue
            raise self._cannot(name, f"the field {name}")
        options = given.get("stream_options")
        wants_usage = isinstance(options, dict) and bool(
            cast("dict[str, Any]", options).get("include_usage")
        )
        tools = [self._tool(tool, index) for index, tool in enumerate(self._list(given, "tools"))]
        parameters = ModelRequestParameters(function_tools=tools)
        self._schema(given.get("response_format"), parameters)
        return Translated(
            self._messages(self._list(given, "messages")),
            self._settings(given),
            parameters,
            wants_usage,
        )

    def _settings(self, given: dict[str, Any]) -> ModelSettings:
        settings: dict[str, Any] = {name: given[name] for name in _SAME if name in given}
        most = given.get("max_completion_tokens", given.get("max_tokens"))
        if most is not None:
            settings["max_tokens"] = most
        if (stop := given.get("stop")) is not None:
            settings["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        if (tier := given.get("service_tier")) is not None:
            if tier not in _TIERS:
                raise self._cannot("service_tier", f"the service tier {tier!r}")
            settings["service_tier"] = tier
        if (effort := given.get("reasoning_effort")) is not None:
            if effort != "none" and effort not in _EFFORTS:
                raise self._cannot("reasoning_effort", f"the effort {effort!r}")
            settings["thinking"] = False if effort == "none" else effort
        choice = given.get("tool_choice")
        if choice is not None:
            settings["tool_choice"] = self._choice(choice)
        return cast("ModelSettings", settings)

    def _choice(self, choice: Any) -> str | list[str]:
        if choice in ("auto", "none", "required"):
            return choice
        match choice:
            case {"type": "function", "function": {"name": str(name)}}:
                return [name]
            case _:
                raise self._cannot("tool_choice", "that choice of tools")

    def _schema(self, wanted: Any, parameters: ModelRequestParameters) -> None:
        """How the answer is to be written, put into the parameters."""
        mode: Literal["native", "prompted"] = "native" if self._native else "prompted"
        match wanted:
            case None | {"type": "text"}:
                return
            case {"type": "json_object"}:
                parameters.output_mode = "prompted"
                parameters.output_object = OutputObjectDefinition(
                    json_schema={"type": "object"}, strict=False
                )
                parameters.prompted_output_template = _AN_OBJECT
            case {"type": "json_schema", "json_schema": {"schema": dict()} as named}:
                known = cast("dict[str, Any]", named)
                parameters.output_mode = mode
                parameters.output_object = OutputObjectDefinition(
                    json_schema=known["schema"],
                    name=known.get("name"),
                    description=known.get("description"),
                    strict=bool(known.get("strict")),
                )
            case _:
                raise self._cannot("response_format", "that format")

    def _tool(self, tool: Any, index: int) -> ToolDefinition:
        match tool:
            case {"type": "function", "function": {"name": str(name)} as function}:
                known = cast("dict[str, Any]", function)
            case _:
                raise self._cannot(f"tools[{index}]", "a tool that is no function")
        nothing: dict[str, Any] = {"type": "object", "properties": {}}
        return ToolDefinition(
            name=name,
            parameters_json_schema=known.get("parameters") or nothing,
            description=known.get("description"),
            # Left out it would be guessed, and the schema rewritten.
            strict=bool(known.get("strict")),
        )

    def _messages(self, given: list[Any]) -> list[ModelMessage]:
        messages: list[ModelMessage] = []
        called: dict[str, str] = {}  # name of the tool by the id of its call
        for index, one in enumerate(given):
            where = f"messages[{index}]"
            message = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
            for name in ("name", "function_call", "audio"):
                if message.get(name) is not None:
                    raise self._cannot(f"{where}.{name}", f"{name} in a message")
            role, content = message.get("role"), message.get("content")
            if role == "assistant":
                messages.append(ModelResponse(self._said(message, where, called)))
                continue
            part: ModelRequestPart
            if role in ("system", "developer"):
                part = SystemPromptPart(self._text(content, f"{where}.content"))
            elif role == "user":
                part = UserPromptPart(self._content(content, f"{where}.content"))
            elif role == "tool":
                part = self._result(message, where, called)
            else:
                raise self._cannot(f"{where}.role", f"the role {role!r}")
            if messages and isinstance(messages[-1], ModelRequest):
                messages[-1].parts = [*messages[-1].parts, part]
            else:
                messages.append(ModelRequest([part]))
        return messages

    def _said(
        self, message: dict[str, Any], where: str, called: dict[str, str]
    ) -> list[ModelResponsePart]:
        parts: list[ModelResponsePart] = []
        if thoughts := message.get("reasoning_content"):
            parts.append(ThinkingPart(str(thoughts)))
        content = message.get("content")
        if content:
            parts.append(TextPart(self._text(content, f"{where}.content")))
        if refusal := message.get("refusal"):
            parts.append(TextPart(str(refusal)))
        for at, call in enumerate(self._list(message, "tool_calls")):
            match call:
                case {
                    "id": str(identity),
                    "function": {"name": str(name), "arguments": str(arguments)},
                }:
                    called[identity] = name
                    parts.append(ToolCallPart(name, arguments, identity))
                case _:
                    raise self._cannot(f"{where}.tool_calls[{at}]", "that tool call")
        return parts

    def _result(
        self, message: dict[str, Any], where: str, called: dict[str, str]
    ) -> ToolReturnPart:
        identity = message.get("tool_call_id")
        name = called.get(identity) if isinstance(identity, str) else None
        if name is None or not isinstance(identity, str):
            raise self._cannot(
                f"{where}.tool_call_id", "an answer to a tool call that no message before it made"
            )
        text = self._text(message.get("content"), f"{where}.content")
        return ToolReturnPart(name, text, identity)

    def _text(self, content: Any, where: str) -> str:
        """Text, whether it came as one string or in parts."""
        if isinstance(content, str):
            return content
        texts: list[str] = []
        for part in cast("list[Any]", content) if isinstance(content, list) else [content]:
            match part:
                case {"type": "text", "text": str(text)} | {
                    "type": "refusal",
                    "refusal": str(text),
                }:
                    texts.append(text)
                case _:
                    raise self._cannot(where, "anything but text here")
        return "".join(texts)

    def _content(self, content: Any, where: str) -> str | list[UserContent]:
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise self._cannot(where, "anything but text and parts here")
        parts = cast("list[Any]", content)
        return [self._part(part, f"{where}[{index}]") for index, part in enumerate(parts)]

    def _part(self, part: Any, where: str) -> UserContent:
        match part:
            case {"type": "text", "text": str(text)}:
                return text
            case {"type": "image_url", "image_url": {"url": str(url)} as image}:
                detail = cast("dict[str, Any]", image).get("detail")
                more = None if detail is None else {"detail": detail}
                if url.startswith("data:"):
                    binary = self._inline(url, where)
                    binary.vendor_metadata = more
                    return binary
                if url.startswith(("https://", "http://")):
                    return ImageUrl(url, vendor_metadata=more)
            case {"type": "input_audio", "input_audio": {"data": str(sound), "format": str(form)}}:
                if form in _AUDIO:
                    return self._inline(f"data:{_AUDIO[form]};base64,{sound}", where)
            case {"type": "file", "file": {"file_data": str(url)}}:
                if url.startswith("data:"):
                    return self._inline(url, where)
            case _:
                pass
        raise self._cannot(where, "that part of a message")

    def _inline(self, url: str, where: str) -> BinaryContent:
        try:
            return BinaryContent.from_data_uri(url)
        except ValueError:
            raise self._cannot(where, "that data: URL") from None

    def _list(self, given: dict[str, Any], name: str) -> list[Any]:
        value = given.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._cannot(name, f"{name} that are no list")
        return cast("list[Any]", value)

    def _cannot(self, param: str, what: str) -> ProviderRejected:
        error = ProviderRejected(
            self._where,
            got=f"{what} ({param}), which this provider cannot carry",
            mend="leave it out, or take a provider that speaks OpenAI's or Anthropic's own API",
        )
        error.elsewhere = True
        error.param = param
        return error


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
