"""What pydantic-ai answers, as a chat completion and as its chunks."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from pydantic_ai.messages import (
    BaseToolCallPart,
    FinishReason,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.usage import RequestUsage

from splice.core.call import Usage

_FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_call": "tool_calls",
    "error": "stop",
}

Chunk = dict[str, Any]  # JSON of a chat completion chunk


class Uncarried(Exception):
    """The answer holds what a chat completion has no place for, such as an image."""


def usage_of(counted: RequestUsage) -> Usage:
    """What the provider counted; all None where it did not. `input_tokens` are all, as ours."""
    if counted.unmeasured_requests or not (counted.input_tokens or counted.output_tokens):
        return Usage()
    return Usage(
        counted.input_tokens,
        counted.output_tokens,
        counted.cache_read_tokens or None,
        counted.cache_write_tokens or None,
    )


def wire_usage(usage: Usage, counted: RequestUsage) -> dict[str, Any] | None:
    """`usage` as OpenAI writes it; None where nobody counted."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    wire: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens or usage.cache_write_tokens:
        wire["prompt_tokens_details"] = {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        }
    if thought := counted.details.get("reasoning_tokens"):
        wire["completion_tokens_details"] = {"reasoning_tokens": thought}
    return wire


def completion_of(response: ModelResponse, model: str, usage: Usage) -> dict[str, Any]:
    """The chat completion.

    Raises:
        Uncarried: It holds more than text, thoughts and calls of functions.
    """
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in response.parts:
        if isinstance(part, TextPart):
            texts.append(part.content)
        elif isinstance(part, ThinkingPart):
            thoughts.append(part.content)
        elif isinstance(part, ToolCallPart):
            function = {"name": part.tool_name, "arguments": part.args_as_json_str()}
            calls.append({"id": part.tool_call_id, "type": "function", "function": function})
        else:
            raise Uncarried(part.part_kind)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if calls and not texts else "".join(texts),
        "refusal": None,
    }
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    whole: dict[str, Any] = {
        "id": response.provider_response_id or _new_id(),
        "object": "chat.completion",
        "created": int(response.timestamp.timestamp()),
        "model": response.model_name or model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish_of(response.finish_reason, called=bool(calls)),
            }
        ],
    }
    if (counted := wire_usage(usage, response.usage)) is not None:
        whole["usage"] = counted
    return whole


def finish_of(reason: FinishReason | None, *, called: bool) -> str:
    """Why it ended, in OpenAI's words."""
    if reason is None:
        return "tool_calls" if called else "stop"
    # Some vendors say that they stopped where they called a tool; OpenAI clients look at this.
    return "tool_calls" if called and reason == "stop" else _FINISH[reason]


class Chunks:
    """Turns the events of one stream into chunks.

    Args:
        model: Its name, until the provider says another.
        created: Unix time in seconds.
    """

    def __init__(self, model: str, created: int) -> None:
        self._head: Chunk = {
            "id": _new_id(),
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._first = True
        self._calls: dict[int, int] = {}  # by the index of the part, the index of the call
        self._whole: set[int] = set()  # parts whose arguments come as objects, and so at their end

    def name(self, identity: str | None, model: str | None) -> None:
        """What the provider calls this answer and its model, as far as it has said.

        The first chunk settles it: a client takes the chunks of one id for one answer.
        """
        if self._first:
            self._head["id"] = identity or self._head["id"]
            self._head["model"] = model or self._head["model"]

    def of(self, event: ModelResponseStreamEvent) -> Chunk | None:
        """The chunk of an event; None where it has none.

        Raises:
            Uncarried: It begins a part that a chat completion has no place for.
        """
        if isinstance(event, PartStartEvent):
            return self._started(event)
        if isinstance(event, PartDeltaEvent):
            return self._changed(event)
        if isinstance(event, PartEndEvent) and event.index in self._whole:
            part = event.part
            if isinstance(part, BaseToolCallPart):
                return self._arguments(event.index, part.args_as_json_str())
        return None

    def end(self, reason: FinishReason | None) -> Chunk:
        """The chunk that says why it ended."""
        finish = finish_of(reason, called=bool(self._calls))
        return {**self._head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}

    def counted(self, usage: dict[str, Any]) -> Chunk:
        """The chunk with the count of tokens."""
        return {**self._head, "choices": [], "usage": usage}

    def _started(self, event: PartStartEvent) -> Chunk | None:
        part = event.part
        if isinstance(part, TextPart):
            return self._delta({"content": part.content}) if part.content else None
        if isinstance(part, ThinkingPart):
            return self._delta({"reasoning_content": part.content}) if part.content else None
        if not isinstance(part, ToolCallPart):
            raise Uncarried(part.part_kind)
        at = self._calls.setdefault(event.index, len(self._calls))
        arguments = part.args if isinstance(part.args, str) else ""
        if isinstance(part.args, dict):
            self._whole.add(event.index)
        call = {
            "index": at,
            "id": part.tool_call_id,
            "type": "function",
            "function": {"name": part.tool_name, "arguments": arguments},
        }
        return self._delta({"tool_calls": [call]})

    def _changed(self, event: PartDeltaEvent) -> Chunk | None:
        delta = event.delta
        if isinstance(delta, TextPartDelta):
            return self._delta({"content": delta.content_delta}) if delta.content_delta else None
        if isinstance(delta, ThinkingPartDelta):
            thought = delta.content_delta
            return self._delta({"reasoning_content": thought}) if thought else None
        if isinstance(delta, ToolCallPartDelta):
            if isinstance(delta.args_delta, str):
                return self._arguments(event.index, delta.args_delta)
            if delta.args_delta is not None:
                self._whole.add(event.index)
            return None
        raise Uncarried(delta.part_delta_kind)

    def _arguments(self, index: int, text: str) -> Chunk | None:
        at = self._calls.get(index)
        if at is None or not text:
            return None
        return self._delta({"tool_calls": [{"index": at, "function": {"arguments": text}}]})

    def _delta(self, delta: dict[str, Any]) -> Chunk:
        if self._first:
            self._first = False
            delta = {"role": "assistant", **delta}
        return {**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _new_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


def event_of(chunk: Chunk) -> bytes:
    """A chunk as a server-sent event."""
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""
