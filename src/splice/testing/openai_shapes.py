"""Answers in OpenAI's shapes, whole and as events, made from a text or from calls of tools."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

# Any: JSON, throughout.
Json = dict[str, Any]

CREATED = 1_760_000_000
DONE = b"data: [DONE]\n\n"
VECTOR_SIZE = 8


def example_of(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """The plainest value that satisfies a JSON Schema of the kind that replies have."""
    root = root if root is not None else schema
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        return example_of(root["$defs"][name], root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:  # null where it may be: another option may lead back here
            options = cast("list[Mapping[str, Any]]", schema[key])
            return example_of(min(options, key=lambda o: o.get("type") != "null"), root)
    told: Any = schema.get("type", "object" if "properties" in schema else "string")
    kind = str(cast("list[Any]", told)[0] if isinstance(told, list) else told)
    if kind == "object":
        named = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
        return {name: example_of(below, root) for name, below in named.items()}
    if kind == "array":
        return [example_of(schema["items"], root)] * int(schema.get("minItems", 0))
    if kind in ("number", "integer"):
        return schema.get("minimum", 0)
    plain: Json = {"boolean": False, "null": None}
    return plain.get(kind, "x" * int(schema.get("minLength", 1)))


def pieces_of(text: str) -> list[str]:
    """A text in pieces, as tokens would come: words with the space before them."""
    return re.findall(r"\s*\S+|\s+", text)


def event(value: object, kind: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {kind}\n" if kind else ""
    return f"{head}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def chat_reply(
    model: str, messages: Sequence[Json], finish_reason: str | None, usage: Json | None
) -> Json:
    """A whole chat completion with a choice for each message."""
    reply: Json = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [
            {"index": at, "message": one, "logprobs": None, "finish_reason": finish_reason}
            for at, one in enumerate(messages)
        ],
    }
    return reply if usage is None else {**reply, "usage": usage}


def chat_events(
    model: str, messages: Sequence[Json], finish_reason: str, usage: Json | None, counted: bool
) -> Iterator[bytes]:
    """The same as a stream without `[DONE]`; `counted` where the caller asked for usage."""

    def chunk(at: int, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": at, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**_chat_head(model, [choice]), **({"usage": None} if counted else {})})

    for at, message in enumerate(messages):
        yield chunk(at, {"role": "assistant", "content": None if _silent(message) else ""})
        for name in ("reasoning_content", "content", "refusal"):
            for piece in pieces_of(message.get(name) or ""):
                yield chunk(at, {name: piece})
        for number, call in enumerate(message.get("tool_calls") or []):
            yield from (chunk(at, {"tool_calls": [part]}) for part in _call_parts(number, call))
        yield chunk(at, {}, finish_reason)
    if counted and usage is not None:
        yield event({**_chat_head(model, []), "usage": usage})


def _silent(message: Json) -> bool:
    return message.get("content") is None


def _chat_head(model: str, choices: list[Json]) -> Json:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": choices,
    }


def _call_parts(number: int, call: Json) -> Iterator[Json]:
    """A call of a tool: its name at first, its arguments in pieces of four characters."""
    function = call["function"]
    yield {**call, "index": number, "function": {"name": function["name"], "arguments": ""}}
    arguments = str(function["arguments"])
    for start in range(0, len(arguments), 4):
        yield {"index": number, "function": {"arguments": arguments[start : start + 4]}}


def response(model: str, text: str, usage: Json | None, status: str = "completed") -> Json:
    """A whole response with one message."""
    counted = None
    if usage is not None:
        counted = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": usage.get("prompt_tokens_details", {"cached_tokens": 0}),
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        }
    done = status == "completed"
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [_message(text, "completed")] if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": counted if done else None,
    }


def _message(text: str | None, status: str) -> Json:
    part: Json = {"type": "output_text", "text": text, "annotations": []}
    content: list[Json] = [] if text is None else [part]
    return {
        "id": "msg_scripted",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def response_events(model: str, text: str, usage: Json | None) -> Iterator[bytes]:
    """The same as a stream, in the order that the API documents."""
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    place: Json = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0}
    begun = response(model, text, usage, "in_progress")
    added = {"output_index": 0, "item": _message(None, "in_progress")}
    deltas = [
        ("response.output_text.delta", {**place, "delta": piece}) for piece in pieces_of(text)
    ]
    steps: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", added),
        ("response.content_part.added", {**place, "part": part}),
        *deltas,
        ("response.output_text.done", {**place, "text": text}),
        ("response.content_part.done", {**place, "part": {**part, "text": text}}),
        ("response.output_item.done", {"output_index": 0, "item": _message(text, "completed")}),
        ("response.completed", {"response": response(model, text, usage)}),
    ]
    for number, (kind, fields) in enumerate(steps):
        yield event({"type": kind, "sequence_number": number, **fields}, kind)


def embeddings(model: str, asked: Mapping[str, Any], usage: Json | None) -> Json:
    """Vectors of the inputs: of no meaning, but the same for the same text."""
    given: object = asked.get("input", "")
    inputs = cast("list[Any]", given) if isinstance(given, list) else [given]
    if inputs and isinstance(inputs[0], int):  # one text in tokens
        inputs = [inputs]
    coded = asked.get("encoding_format") == "base64"
    size = int(asked.get("dimensions") or VECTOR_SIZE)
    vectors = [_vector(json.dumps(one), size) for one in inputs]
    shown = [
        base64.b64encode(struct.pack(f"<{size}f", *one)).decode() if coded else one
        for one in vectors
    ]
    reply: Json = {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(shown)
        ],
    }
    if usage is not None:
        prompt = usage["prompt_tokens"]
        reply["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt}
    return reply


def _vector(text: str, size: int) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()
    return [(digest[at % len(digest)] - 127.5) / 128 for at in range(size)]
