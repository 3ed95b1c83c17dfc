"""Responses: what a request asks for, and the head of its answer where we put that together."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from splice.core.chat import Asked, Dialect
from splice.serve.openai.as_chat import chat_fields
from splice.serve.openai.chat import most
from splice.serve.openai.items import Body, check
from splice.serve.openai.reading import fields_of, typed

_decoder = msgspec.json.Decoder(Body)

# What OpenAI answers where the caller said nothing.
_HEAD: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_NULL = b"null"


def asked_response(body: bytes, headers: dict[str, str]) -> Asked:
    """What a body asks for.

    Raises:
        RequestError: It is not a responses request; `where` is the path of the field.
    """
    fields = fields_of(body)
    request = typed(_decoder, body)
    check(request, body)
    del fields["model"]
    fields.pop("stream", None)
    return Asked(
        Dialect.RESPONSES,
        request.model,
        request.stream is True,
        fields,
        len(body),
        lambda: chat_fields(request),
        most(request.max_output_tokens),
        1,
        headers,
    )


def head_of(asked: Asked, call_id: str, model: str) -> dict[str, Any]:
    """A response object without its output: what was asked, echoed as OpenAI echoes it.

    `store` is always false: nobody can fetch it from here later.
    """
    head: dict[str, Any] = {
        "id": f"resp_{call_id.replace('-', '')}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        "store": False,
    }
    given = asked.fields
    for name, default in _HEAD.items():
        value = given.get(name)
        head[name] = default if value is None or bytes(value) == _NULL else value
    return head
