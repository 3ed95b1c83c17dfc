"""A prompt as the body of a chat completion, and the text of its answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from splice.adapters.providers.schema import strict_schema
from splice.adapters.providers.usage import WireUsage
from splice.adapters.providers.vendors import with_schema
from splice.core.call import Trace
from splice.ports.providers import CompletionRequest


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class Choice(msgspec.Struct):
    """One answer."""

    message: _Message
    finish_reason: str | None = None


class Answer(msgspec.Struct):
    """A chat completion, as far as a typed integration needs it."""

    choices: list[Choice] = []
    model: str | None = None
    usage: WireUsage | None = None
    error: Any = None  # some servers answer 200 with an error in it


class Problem(NamedTuple):
    """Why an answer cannot be used."""

    got: str
    mend: str = ""


def request_fields(request: CompletionRequest, dialect: str) -> dict[str, Any]:
    """The fields of one request but `model` and `stream`, which its parameters never replace."""
    messages: list[Any] = [{"role": m.role, "content": m.content} for m in request.messages]
    fields: dict[str, Any] = {**request.params}
    fields.pop("model", None)
    fields.pop("stream", None)
    if request.schema is not None and dialect == "json_schema":
        schema, strict = strict_schema(request.schema)
        named = {"name": request.schema_name, "schema": schema, "strict": strict}
        fields["response_format"] = {"type": "json_schema", "json_schema": named}
    elif request.schema is not None:
        messages = with_schema(messages, request.schema)
        fields["response_format"] = {"type": "json_object"}
    fields["messages"] = messages
    return fields


def traceparent(trace: Trace | None) -> str:
    """The W3C header that lets the server continue the caller's trace; empty without one."""
    return f"00-{trace.trace_id}-{trace.span_id}-{trace.flags & 0xFF:02x}" if trace else ""


def problem_of(choice: Choice, *, schema: bool) -> Problem | None:
    """What is wrong with an answer, if anything is."""
    if choice.message.refusal:
        return Problem(f"a refusal: {choice.message.refusal}")
    if choice.finish_reason == "content_filter":
        return Problem("an answer stopped by the provider's content filter")
    if choice.finish_reason == "length" and schema:
        got = "an answer cut off before its end (finish_reason: length)"
        return Problem(got, "raise max_tokens")
    if text_of(choice) is None:
        return Problem(f"no text (finish_reason: {choice.finish_reason})")
    return None


def text_of(choice: Choice) -> str | None:
    """The text of an answer; None where it has none."""
    content = choice.message.content
    if isinstance(content, list):
        return "".join(part.text for part in content)
    return content
