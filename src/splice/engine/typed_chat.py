"""A typed integration asked as if it were a model: the last message is its request.

The message is the JSON of the request, or, where the request type has one required text field, that
text. The answer is the reply as JSON in a chat completion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from splice.core.call import Record, Usage
from splice.core.chat import Dialect, WireReply
from splice.core.errors import InputMismatch
from splice.engine.line import Line


def request_of(line: Line, fields: Mapping[str, Any]) -> bytes:
    """The JSON of the typed request that a chat completion request carries.

    Raises:
        InputMismatch: There is no text in its last user message.
    """
    text = _last_text(line, fields).strip()
    if text.startswith("{"):
        return text.encode()
    schema = line.release.manifest.request_schema
    schema = schema.get("$defs", {}).get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    properties: Mapping[str, Any] = schema.get("properties", {})
    required: list[str] = list(schema.get("required", ()))
    texts = [name for name in required if properties.get(name, {}).get("type") == "string"]
    if len(required) == len(texts) == 1:
        return msgspec.json.encode({texts[0]: text})
    return text.encode()  # the codec says what it should have been


def completion_of(record: Record) -> WireReply:
    """The reply of a typed call as a chat completion."""
    usages = [one.usage for one in record.attempts if one.usage is not None]
    usage = usages[-1] if usages else Usage(input_tokens=0, output_tokens=0)
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    message = {"role": "assistant", "content": (record.reply or b"null").decode()}
    body = msgspec.json.encode(
        {
            "id": f"chatcmpl-{record.call_id}",
            "object": "chat.completion",
            "created": record.asked_us // 1_000_000,
            "model": record.integration,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
        }
    )
    return WireReply(Dialect.CHAT, body, usage, record.integration, record.cost_nano)


def _last_text(line: Line, fields: Mapping[str, Any]) -> str:
    raw: Any = fields.get("messages")
    messages: Any = msgspec.json.decode(raw) if isinstance(raw, msgspec.Raw) else raw
    for message in reversed(cast("list[Any]", messages or [])):
        if not isinstance(message, dict):
            continue
        turn = cast("dict[str, Any]", message)
        if turn.get("role") != "user":
            continue
        content: Any = turn.get("content")
        if isinstance(content, str):
            return content
        parts = cast("list[dict[str, Any]]", content or [])
        return "".join(str(part.get("text", "")) for part in parts)
    raise InputMismatch(
        f"{line.name}.messages",
        got="no message of the user",
        promised="a last message with the request as JSON",
    )
