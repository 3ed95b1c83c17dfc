"""A request to `/v1/messages` as a chat completion request, for providers that speak only that.

Left out is what chat has no word for and a provider may refuse unread: `top_k`, `thinking` and
`effort` (set `reasoning_effort` in the route's params), cache marks, earlier thinking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Raw

from splice.core.errors import RequestError
from splice.serve.anthropic.blocks import (
    Block,
    Document,
    Image,
    RedactedThinking,
    SearchResult,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    blocks_of,
)
from splice.serve.anthropic.request import CountRequest, MessagesRequest, Tool, ToolChoice

Part = dict[str, Any]  # one part of a chat message, as the wire has it


def chat_fields(said: MessagesRequest) -> dict[str, Any]:
    """The fields of the same request as a chat completion, without `model` and `stream`.

    Raises:
        RequestError: It uses what chat completions cannot carry (files by id, PDFs by URL, tools
            that run at Anthropic).
    """
    fields: dict[str, Any] = {"messages": _messages(said), "max_tokens": said.max_tokens}
    for name in ("temperature", "top_p"):
        if (value := getattr(said, name)) is not None:
            fields[name] = value
    if said.stop_sequences:
        fields["stop"] = said.stop_sequences
    if said.metadata is not None and said.metadata.user_id:
        fields["user"] = said.metadata.user_id
    if said.tools:
        fields["tools"] = [_tool(tool, index) for index, tool in enumerate(said.tools)]
        fields |= _choice(said.tool_choice)
    if (wanted := _format(said)) is not None:
        fields["response_format"] = wanted
    if said.stream:
        fields["stream_options"] = {"include_usage": True}
    return fields


def _messages(said: CountRequest) -> list[Part]:
    messages: list[Part] = []
    if said.system:
        system = [Text(said.system)] if isinstance(said.system, str) else said.system
        messages.append({"role": "system", "content": "\n\n".join(text.text for text in system)})
    for number, turn in enumerate(said.messages):
        where = f"messages[{number}].content"
        blocks = blocks_of(turn.content, where)
        if turn.role == "assistant":
            messages.append(_assistant(blocks, where))
        elif turn.role == "system":
            messages.append({"role": "system", "content": _plain(blocks, where)})
        else:
            messages += _user(blocks, where)
    return messages


def _assistant(blocks: list[Block], where: str) -> Part:
    texts: list[str] = []
    calls: list[Part] = []
    for index, block in enumerate(blocks):
        if isinstance(block, Text):
            texts.append(block.text)
        elif isinstance(block, ToolUse):
            function = {"name": block.name, "arguments": bytes(block.input).decode()}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif not isinstance(block, (Thinking, RedactedThinking)):
            raise _cannot(block, f"{where}[{index}]")
    message: Part = {"role": "assistant", "content": "".join(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    return message


def _user(blocks: list[Block], where: str) -> list[Part]:
    """The results of tools as messages of their own, and what else the user says after them."""
    results: list[Part] = []
    parts: list[Part] = []
    for index, block in enumerate(blocks):
        at = f"{where}[{index}]"
        if isinstance(block, ToolResult):
            content, shown = _result(block, at)
            results.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": content})
            parts += shown
        else:
            parts += _parts(block, at)
    if parts or not results:
        results.append({"role": "user", "content": _content(parts)})
    return results


def _result(block: ToolResult, where: str) -> tuple[str, list[Part]]:
    """A result as text; a tool message holds no pictures, so they come in the user's own."""
    inner = enumerate(blocks_of(block.content, f"{where}.content"))
    parts = [part for i, one in inner for part in _parts(one, f"{where}.content[{i}]")]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    shown = [part for part in parts if part["type"] != "text"]
    if block.is_error:
        text = f"Error: {text}"
    return text or ("(shown below)" if shown else ""), shown


def _parts(block: Block, where: str) -> list[Part]:
    if isinstance(block, Text):
        return [_text(block.text)]
    if isinstance(block, Image):
        source = block.source
        if source.type == "url":
            return [{"type": "image_url", "image_url": {"url": source.url}}]
        if source.type == "base64":
            url = f"data:{source.media_type};base64,{source.data}"
            return [{"type": "image_url", "image_url": {"url": url}}]
    if isinstance(block, Document):
        return _document(block, where)
    if isinstance(block, SearchResult):
        texts = "\n".join(text.text for text in block.content)
        return [_text(f"{block.title}\n{block.source}\n\n{texts}")]
    raise _cannot(block, where)


def _document(block: Document, where: str) -> list[Part]:
    source = block.source
    if source.type == "base64":
        url = f"data:{source.media_type or 'application/pdf'};base64,{source.data}"
        file = {"filename": block.title or "document.pdf", "file_data": url}
        return [{"type": "file", "file": file}]
    head = "\n".join(text for text in (block.title, block.context) if text)
    parts = [_text(head)] if head else []
    if source.type == "text":
        return [*parts, _text(source.data or "")]
    if source.type == "content":
        inner = enumerate(blocks_of(source.content, where))
        return parts + [part for i, one in inner for part in _parts(one, f"{where}[{i}]")]
    raise _cannot(block, where)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _content(parts: list[Part]) -> str | list[Part]:
    if len(parts) == 1 and parts[0]["type"] == "text":
        return cast("str", parts[0]["text"])
    return parts or ""


def _plain(blocks: Iterable[Block], where: str) -> str:
    texts: list[str] = []
    for index, block in enumerate(blocks):
        if not isinstance(block, Text):
            raise _cannot(block, f"{where}[{index}]")
        texts.append(block.text)
    return "\n\n".join(texts)


def _cannot(block: Block, where: str) -> RequestError:
    kind = getattr(block, "type", None) or type(block).__struct_config__.tag
    source = getattr(block, "source", None)
    by = f" by {source.type}" if source is not None and not isinstance(source, str) else ""
    return RequestError(
        where,
        got=f"a block of type {kind!r}{by}",
        promised="what the model's provider can read: text, images, PDFs in base64, tools' results",
    )


def _tool(tool: Tool, index: int) -> Part:
    if tool.type not in (None, "custom"):
        raise RequestError(
            f"tools[{index}].type",
            got=f"{tool.type!r}, which runs at Anthropic",
            promised="tools of the type 'custom' for this model",
        )
    function: Part = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    fields: dict[str, Any] = {
        "tool_choice": {"type": "function", "function": {"name": choice.name or ""}}
        if choice.type == "tool"
        else {"any": "required"}.get(choice.type, choice.type)
    }
    if choice.disable_parallel_tool_use is not None and choice.type != "none":
        fields["parallel_tool_calls"] = not choice.disable_parallel_tool_use
    return fields


def _format(said: CountRequest) -> Part | None:
    wanted = said.output_config.format if said.output_config is not None else None
    wanted = wanted or said.output_format
    if wanted is None or wanted.schema is None:
        return None
    schema: dict[str, Raw] = wanted.schema
    whole = msgspec.json.decode(msgspec.json.encode(schema))
    named = {"name": "reply", "schema": schema, "strict": _is_strict(whole)}
    return {"type": "json_schema", "json_schema": named}


def _is_strict(schema: object) -> bool:
    """Whether every object is closed and needs all its properties, as strict servers demand."""
    if isinstance(schema, list):
        return all(_is_strict(one) for one in cast("list[object]", schema))
    if not isinstance(schema, dict):
        return True
    fields = cast("dict[str, Any]", schema)
    properties = fields.get("properties")
    if fields.get("type") == "object" or isinstance(properties, dict):
        names = set(cast("dict[str, Any]", properties or {}))
        if fields.get("additionalProperties") is not False or names - set(
            cast("list[str]", fields.get("required") or [])
        ):
            return False
    return all(_is_strict(one) for one in fields.values())
