"""The request and the reply of a conversation where it is called natively, as a typed call."""

from __future__ import annotations

from typing import Any

import msgspec


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chat completion request: the messages, and what OpenAI's API knows beside them.

    `model` and `stream` may come along from a recorded request; they mean nothing here.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    user: str | None = None
    model: str | None = None
    stream: bool | None = None


class ChatReply(msgspec.Struct, frozen=True):
    """A chat completion, as far as callers of the native API read it."""

    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    id: str = ""
    created: int = 0
    object: str = "chat.completion"
