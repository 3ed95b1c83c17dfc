"""Responses requests: the types of all documented fields; others pass unread."""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.errors import InputMismatch
from splice.serve.openai.parts import Part, check_parts, check_unknown
from splice.serve.openai.reading import Whole, missing

Object = dict[str, msgspec.Raw]


class Item(msgspec.Struct, gc=False):
    """One item of an input, of whatever kind: which fields it must have, its `type` says.

    `arguments` and `output` are objects in the items of some built-in tools.
    """

    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    id: str | None = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | Object | None = None
    input: str | None = None
    output: str | list[Part] | Object | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None

    @property
    def kind(self) -> str:
        """Its type; a message may leave it out."""
        return self.type or ("message" if self.role is not None else "item_reference")


class Format(msgspec.Struct, gc=False):
    """The shape of the text to answer with."""

    type: str
    name: str | None = None
    schema: Object | None = None
    description: str | None = None
    strict: bool | None = None


class Text(msgspec.Struct, gc=False):
    """How to write."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct, gc=False):
    """How much to think."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class Tool(msgspec.Struct, gc=False):
    """A tool: a function, or one of those that run at OpenAI."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class Choice(msgspec.Struct, gc=False):
    """Which tool to use."""

    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[Object] | None = None
    server_label: str | None = None


class Identified(msgspec.Struct, gc=False):
    """Something that OpenAI keeps."""

    id: str


class StreamOptions(msgspec.Struct, gc=False):
    """How to stream."""

    include_obfuscation: bool | None = None


class Body(msgspec.Struct, gc=False):
    """A responses request."""

    model: str
    access_programs: Object | None = None
    background: bool | None = None
    background_options: Object | None = None
    context_management: list[Object] | None = None
    conversation: str | Identified | None = None
    image: Object | None = None
    include: list[str] | None = None
    input: str | list[Item] | None = None
    instructions: str | None = None
    max_output_tokens: Whole | None = None
    max_tool_calls: Whole | None = None
    metadata: dict[str, str] | None = None
    moderation: Object | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    prompt: Identified | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Object | None = None
    prompt_cache_retention: str | None = None
    reasoning: Reasoning | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    text: Text | None = None
    tool_choice: str | Choice | None = None
    tools: list[Tool] | None = None
    top_logprobs: Whole | None = None
    top_p: float | None = None
    truncation: str | None = None
    user: str | None = None


ROLES = ("user", "assistant", "system", "developer")

_NEEDED = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call": ("call_id", "name", "input"),
    "custom_tool_call_output": ("call_id", "output"),
    "item_reference": ("id",),
    "reasoning": (),
}


def check(request: Body, body: bytes) -> None:
    """Passes a request whose items and parts have what their kinds need.

    Raises:
        RequestError: One lacks something, or has a URL that no provider may be asked to fetch.
    """
    if request.input is None and request.prompt is None:
        raise missing("input", "a string, or an array of items")
    if isinstance(request.input, list):
        for position, item in enumerate(request.input):
            _check_item(item, f"input[{position}]", body)
    for position, tool in enumerate(request.tools or ()):
        place = f"tools[{position}]"
        if tool.type in ("function", "custom") and tool.name is None:
            raise missing(f"{place}.name", f"the name of the {tool.type}")
        if tool.type not in ("function", "custom"):
            check_unknown(body, place)  # the URL of an MCP server, say
    choice = request.tool_choice
    if isinstance(choice, Choice) and choice.type == "function" and choice.name is None:
        raise missing("tool_choice.name", "the function to call")
    form = None if request.text is None else request.text.format
    if form is not None and form.type == "json_schema":
        for name in ("name", "schema"):
            if getattr(form, name) is None:
                raise missing(f"text.format.{name}", "what a json_schema has")


def _check_item(item: Item, place: str, body: bytes) -> None:
    kind = item.kind
    for name in _NEEDED.get(kind, ()):
        if getattr(item, name) is None:
            raise missing(f"{place}.{name}", f"what an item of type {kind} has")
    if kind == "message" and item.role not in ROLES:
        raise InputMismatch(
            f"{place}.role", got=repr(item.role)[:80], promised=f"a value of {', '.join(ROLES)}"
        )
    if kind == "function_call" and not isinstance(item.arguments, str):
        raise InputMismatch(f"{place}.arguments", got="an object", promised="a string of JSON")
    content: Any = item.content
    if content.__class__ is list:
        check_parts(content, f"{place}.content", body)
    output: Any = item.output
    if output.__class__ is list:
        check_parts(output, f"{place}.output", body)
    if kind not in _NEEDED or output.__class__ is dict:
        check_unknown(body, place)
