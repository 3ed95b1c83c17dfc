"""An answer of Anthropic's Messages API: what it cost, and the same as a chat completion."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from splice.core.call import Usage
from splice.core.prices import Price, cost_nano

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_HOUR_WRITE = 2  # times the price of input; Anthropic, "Prompt caching", pricing
_MILLION = 1_000_000


class _Creation(msgspec.Struct):
    ephemeral_1h_input_tokens: int | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: int | None = None


class _Details(msgspec.Struct):
    thinking_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """Tokens as Anthropic counts them: `input_tokens` are those outside of any cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Creation | None = None
    output_tokens_details: _Details | None = None
    server_tool_use: _ServerTools | None = None
    speed: str | None = None


class _Stopped(msgspec.Struct):
    explanation: str | None = None


class AnswerBlock(msgspec.Struct):
    """One block of an answer, as far as a chat completion can carry it."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw | UnsetType = UNSET


class Answer(msgspec.Struct):
    """A whole message."""

    content: list[AnswerBlock]
    id: str = ""
    model: str | None = None
    stop_reason: str | None = None
    stop_details: _Stopped | None = None
    usage: WireUsage | None = None


def usage_of(wire: WireUsage | None, *, estimated: bool = False) -> Usage:
    """The same count in our terms, where input is all that was read."""
    if wire is None:
        return Usage()
    read, written = wire.cache_read_input_tokens, wire.cache_creation_input_tokens
    whole = None
    if wire.input_tokens is not None:
        whole = wire.input_tokens + (read or 0) + (written or 0)
    return Usage(whole, wire.output_tokens, read, written, estimated)


def cost_of(price: Price | None, wire: WireUsage | None) -> int | None:
    """What a message cost; None where it is not in the tokens alone (web searches, fast mode).

    A price list has one price for what is written into the cache, that of entries kept for five
    minutes. Entries kept for an hour cost twice the input.
    """
    searched = wire is not None and bool(
        wire.server_tool_use and wire.server_tool_use.web_search_requests
    )
    if price is None or wire is None or searched or wire.speed == "fast":
        return None
    usage = usage_of(wire)
    price = price.of(usage.input_tokens or 0)
    cost = cost_nano(price, usage)
    if cost is None or wire.cache_creation is None:
        return cost
    hour = wire.cache_creation.ephemeral_1h_input_tokens or 0
    hour = min(hour, wire.cache_creation_input_tokens or 0)
    write = price.input_nano if price.cache_write_nano is None else price.cache_write_nano
    dearer = max(_HOUR_WRITE * price.input_nano - write, 0)
    return cost + (hour * dearer + _MILLION // 2) // _MILLION


def chat_usage(wire: WireUsage | None) -> dict[str, Any] | None:
    """The `usage` of a chat completion; None where nothing was counted."""
    usage = usage_of(wire)
    if wire is None or usage.input_tokens is None:
        return None
    output = usage.output_tokens or 0
    counted: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": output,
        "total_tokens": usage.input_tokens + output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
    }
    thought = wire.output_tokens_details and wire.output_tokens_details.thinking_tokens
    if thought is not None:
        counted["completion_tokens_details"] = {"reasoning_tokens": thought}
    return counted


def to_chat(answer: Answer, created: int) -> dict[str, Any]:
    """The message as a chat completion; thinking is its `reasoning_content`.

    Args:
        answer: The message.
        created: Unix time in seconds.
    """
    texts = [block.text for block in answer.content if block.type == "text"]
    thoughts = "".join(block.thinking for block in answer.content if block.type == "thinking")
    calls = [_call(block) for block in answer.content if block.type == "tool_use"]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    message["refusal"] = None
    if answer.stop_reason == "refusal" and answer.stop_details is not None:
        message["refusal"] = answer.stop_details.explanation
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls:
        message["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_of(answer.stop_reason),
    }
    completion: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model or "",
        "choices": [choice],
    }
    if (usage := chat_usage(answer.usage)) is not None:
        completion["usage"] = usage
    return completion


def finish_of(stop_reason: str | None) -> str | None:
    """The `finish_reason` for a `stop_reason`; None while there is none."""
    return None if stop_reason is None else FINISH.get(stop_reason, "stop")


def _call(block: AnswerBlock) -> dict[str, Any]:
    arguments = "{}" if block.input is UNSET else bytes(block.input).decode()
    function = {"name": block.name, "arguments": arguments}
    return {"id": block.id, "type": "function", "function": function}
