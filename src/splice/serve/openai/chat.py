"""Chat completions: the types of all documented fields, and what the gateway must know of them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from splice.core.chat import Asked, Dialect
from splice.core.errors import InputMismatch
from splice.serve.openai.parts import Part, check_parts
from splice.serve.openai.reading import Whole, fields_of, missing, typed

Content = str | list[Part]
Object = dict[str, msgspec.Raw]
Answers = Annotated[int, Meta(ge=1, le=128)]


class _Function(msgspec.Struct, gc=False):
    name: str
    arguments: str


class _CustomInput(msgspec.Struct, gc=False):
    name: str
    input: str


class _ToolCall(msgspec.Struct, gc=False):
    id: str
    type: str = "function"
    function: _Function | None = None
    custom: _CustomInput | None = None


class _Id(msgspec.Struct, gc=False):
    id: str


class _Turn(msgspec.Struct, tag_field="role", gc=False):
    """One message: what it has depends on its role."""


class _System(_Turn, tag="system", gc=False):
    content: Content
    name: str | None = None


class _Developer(_Turn, tag="developer", gc=False):
    content: Content
    name: str | None = None


class _User(_Turn, tag="user", gc=False):
    content: Content
    name: str | None = None


class _Tool(_Turn, tag="tool", gc=False):
    content: Content
    tool_call_id: str


class _Answered(_Turn, tag="function", gc=False):
    """What a function gave, in the old form."""

    content: Content | None
    name: str


class _Assistant(_Turn, tag="assistant", gc=False):
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    audio: _Id | None = None


class _Declared(msgspec.Struct, gc=False):
    name: str
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class _CustomTool(msgspec.Struct, gc=False):
    name: str
    description: str | None = None
    format: Object | None = None


class _Tooling(msgspec.Struct, gc=False):
    type: str
    function: _Declared | None = None
    custom: _CustomTool | None = None


class _Named(msgspec.Struct, gc=False):
    name: str


class _Allowed(msgspec.Struct, gc=False):
    mode: str
    tools: list[Object]


class _Choice(msgspec.Struct, gc=False):
    type: str
    function: _Named | None = None
    custom: _Named | None = None
    allowed_tools: _Allowed | None = None


class _Schema(msgspec.Struct, gc=False):
    name: str
    schema: Object | None = None
    description: str | None = None
    strict: bool | None = None


class _Format(msgspec.Struct, gc=False):
    type: str
    json_schema: _Schema | None = None


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Predicted(msgspec.Struct, gc=False):
    type: str
    content: Content


class _Voice(msgspec.Struct, gc=False):
    format: str
    voice: str | _Id


class ChatBody(msgspec.Struct, gc=False):
    """The documented fields of a chat completion request; others pass unread."""

    model: str
    messages: Annotated[
        list[_System | _Developer | _User | _Assistant | _Tool | _Answered], Meta(min_length=1)
    ]
    audio: _Voice | None = None
    frequency_penalty: float | None = None
    function_call: str | _Named | None = None
    functions: list[_Declared] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Whole | None = None
    max_tokens: Whole | None = None
    metadata: dict[str, str] | None = None
    modalities: list[str] | None = None
    moderation: Object | None = None
    n: Answers | None = None
    parallel_tool_calls: bool | None = None
    prediction: _Predicted | None = None
    presence_penalty: float | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: _Format | None = None
    safety_identifier: str | None = None
    seed: Whole | None = None
    service_tier: str | None = None
    stop: str | list[str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = None
    tool_choice: str | _Choice | None = None
    tools: list[_Tooling] | None = None
    top_logprobs: Whole | None = None
    top_p: float | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: Object | None = None


_ROLE = re.compile(r"messages\[[\d.]+\]\.role")
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MOST_TOKENS = 1 << 31
"""What is asked beyond it is not counted: meters count in 64 bits, and tokens have a price."""

_decoder = msgspec.json.Decoder(ChatBody)


class AskedChat(msgspec.Struct, gc=False):
    """A chat completion that was asked for; `with_usage` of a stream that shall end with usage."""

    asked: Asked
    with_usage: bool


def asked_chat(body: bytes, headers: dict[str, str]) -> AskedChat:
    """What a body asks for.

    Raises:
        RequestError: It is not a chat completion request; `where` is the path of the field.
    """
    fields = fields_of(body)
    try:
        request = typed(_decoder, body)
    except InputMismatch as wrong:
        if _ROLE.fullmatch(wrong.where) and wrong.promised == "one of the documented values":
            wrong.promised += f": {', '.join(_ROLES)}"
        raise
    _check(request, body)
    del fields["model"]
    fields.pop("stream", None)
    options = request.stream_options
    asked = Asked(
        Dialect.CHAT,
        request.model,
        request.stream is True,
        fields,
        len(body),
        None,
        most(request.max_completion_tokens or request.max_tokens),
        request.n or 1,
        headers,
    )
    return AskedChat(asked, options is not None and options.include_usage is True)


def most(tokens: int | None) -> int | None:
    """A bound on the tokens of an answer; some providers take -1 for none."""
    return min(tokens, _MOST_TOKENS) if tokens is not None and tokens > 0 else None


def _check(request: ChatBody, body: bytes) -> None:
    """What the types alone do not say."""
    for position, message in enumerate(request.messages):
        content: Any = message.content
        if content.__class__ is list:
            check_parts(content, f"messages[{position}].content", body)
        if isinstance(message, _Assistant) and message.tool_calls:
            _check_calls(message.tool_calls, f"messages[{position}].tool_calls")
    for position, tool in enumerate(request.tools or ()):
        if tool.type == "function" and tool.function is None:
            raise missing(f"tools[{position}].function", "what a tool of type function is")
    choice = request.tool_choice
    if isinstance(choice, _Choice) and choice.type == "function" and choice.function is None:
        raise missing("tool_choice.function", "the function to call")
    form = request.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        raise missing("response_format.json_schema", "the schema")
    predicted = request.prediction
    if predicted is not None and isinstance(predicted.content, list):
        check_parts(predicted.content, "prediction.content", body)


def _check_calls(calls: list[_ToolCall], where: str) -> None:
    for position, call in enumerate(calls):
        if call.type == "function" and call.function is None:
            raise missing(f"{where}[{position}].function", "the function that was called")
