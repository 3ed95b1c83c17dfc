"""A provider completes a prompt with a language model, here or elsewhere."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from splice.core.call import Trace, Usage


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class CompletionRequest(msgspec.Struct, frozen=True):
    """What to complete. `schema` is a JSON Schema that the answer must satisfy, if given.

    `timeout_s` is what is left for this attempt; the provider gives up by itself after it.
    """

    model: str
    messages: tuple[Message, ...]
    timeout_s: float
    schema: dict[str, Any] | None = None
    schema_name: str = "reply"
    params: dict[str, Any] = {}  # temperature, max_tokens, seed, … as the provider spells them
    trace: Trace | None = None


class Completion(msgspec.Struct, frozen=True):
    """What came back: the text, what it used, and what it cost (None where unknown)."""

    text: str
    model: str
    finish_reason: str
    usage: Usage
    cost_nano: int | None = None


class Provider(Protocol):
    """One place that runs language models."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """The completion.

        Raises:
            ProviderLimited: Rate limit or overload; may carry how long to wait.
            ProviderFailed: Any other error of the provider or of the way to it. Never holds a key.
            RouteTimeout: `timeout_s` passed.
            BadAnswer: A refusal, or an answer cut off before it satisfied `schema`.
            ModelUnavailable: The model is not here, or it cannot be loaded.
        """
        ...

    async def models(self) -> list[str]:
        """Names of the models it offers; empty where it cannot say."""
        ...

    async def close(self) -> None:
        """Close connections and child processes."""
        ...
