"""A request to `/v1/messages` as it is documented; every field checked, unknown ones passed on."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw

from splice.serve.anthropic.blocks import Text, blocks_of
from splice.serve.openai.reading import fields_of, missing, typed
from splice.serve.urls import check_url


class Turn(msgspec.Struct):
    """One message; its content is read by `blocks_of`."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Raw]


class Tool(msgspec.Struct):
    """A tool; one of another `type` than `custom` runs at Anthropic."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Raw] | None = None
    strict: bool | None = None
    cache_control: dict[str, Raw] | None = None


class ToolChoice(msgspec.Struct):
    """Which tool must be used."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Thinking(msgspec.Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Format(msgspec.Struct):
    type: str
    schema: dict[str, Raw] | None = None


class _OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: _Format | None = None


class _McpServer(msgspec.Struct):
    type: str = "url"
    url: str | None = None
    name: str | None = None
    authorization_token: str | None = None


Model = Annotated[str, Meta(min_length=1, max_length=512)]
# No model writes more, and what is reserved for so many still fits into 64 bits.
Count = Annotated[int, Meta(ge=0, le=100_000_000)]


class CountRequest(msgspec.Struct):
    """The documented fields of `/v1/messages/count_tokens`, which are among those of a message."""

    model: Model
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[Text] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    cache_control: dict[str, Raw] | None = None
    mcp_servers: list[_McpServer] | None = None


class MessagesRequest(CountRequest, kw_only=True):
    """The documented fields of `/v1/messages`."""

    max_tokens: Count
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: _Metadata | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None
    container: str | dict[str, Raw] | None = None
    context_management: dict[str, Raw] | None = None


_MESSAGES = msgspec.json.Decoder(MessagesRequest)
_COUNT = msgspec.json.Decoder(CountRequest)
_NOT_FORWARDED = ("model", "stream")


Said = TypeVar("Said", bound=CountRequest)


class Parsed(msgspec.Struct, Generic[Said]):
    """A checked body: what it says, and its fields but `model` and `stream` as they came."""

    said: Said
    fields: dict[str, Any]


def read_messages(body: bytes) -> Parsed[MessagesRequest]:
    """A request for a message.

    Raises:
        RequestError: It is malformed, or a field is missing or of a wrong type: `where` names it.
    """
    return _read(body, _MESSAGES)


def read_count(body: bytes) -> Parsed[CountRequest]:
    """A request to count tokens.

    Raises:
        RequestError: As in `read_messages`.
    """
    return _read(body, _COUNT)


def _read(body: bytes, decoder: msgspec.json.Decoder[Said]) -> Parsed[Said]:
    fields = fields_of(body)
    said = typed(decoder, body)
    for number, turn in enumerate(said.messages):
        blocks_of(turn.content, f"messages[{number}].content")
    for number, tool in enumerate(said.tools or ()):
        if tool.type in (None, "custom"):
            for name in ("name", "input_schema"):
                if getattr(tool, name) is None:
                    raise missing(f"tools[{number}].{name}")
    choice = said.tool_choice
    if choice is not None and choice.type == "tool" and choice.name is None:
        raise missing("tool_choice.name", "a string")
    for number, server in enumerate(said.mcp_servers or ()):
        if server.url is not None:
            check_url(server.url, f"mcp_servers[{number}].url")
    for name in _NOT_FORWARDED:
        fields.pop(name, None)
    return Parsed(said, fields)
