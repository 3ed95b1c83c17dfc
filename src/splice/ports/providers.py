"""A provider completes a prompt with a language model, here or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from splice.core.call import Trace, Usage
from splice.core.chat import Dialect, WireReply, WireRequest
from splice.core.prices import Price


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
    """What came back: the text, what it used, and what it cost (None where unknown).

    `masked` counts, by rule, the values that the provider saw placeholders of.
    """

    text: str
    model: str
    finish_reason: str
    usage: Usage
    cost_nano: int | None = None
    masked: Mapping[str, int] = {}


class Stream(Protocol):
    """One answer as it comes: server-sent events in the dialect of the request."""

    @property
    def started(self) -> bool:
        """Whether something of the answer itself has come (text, a tool call), not only a head."""
        ...

    async def next(self) -> bytes | None:
        """The next bytes, always whole events; None after the regular end. For one reader.

        Raises:
            ProviderFailed: It broke, or the provider said that it failed.
            RouteTimeout: Nothing came for `between_s`, or `timeout_s` passed.
        """
        ...

    def reply(self) -> WireReply:
        """What has come so far as one answer.

        Where the provider did not count its tokens, they are estimated, and say so.
        """
        ...

    def hang_up(self) -> None:
        """Stop the provider at once; harmless after the end."""
        ...


class Provider(Protocol):
    """One place that runs language models."""

    @property
    def dialects(self) -> frozenset[Dialect]:
        """What `send` and `open` take; `chat` is always among them."""
        ...

    def price(self, model: str) -> Price | None:
        """What a model costs; None where that is unknown."""
        ...

    async def send(self, request: WireRequest) -> WireReply:
        """The answer to a request as a client would send it.

        Raises:
            RequestError: The provider says that the request itself is wrong (400, 413, 422); its
                own words are in `got`. Another route would not help.
            RouteError: As in `complete`.
        """
        ...

    async def open(self, request: WireRequest) -> Stream:
        """The same as a stream; returns once the provider has begun to answer.

        Raises:
            RequestError: As in `send`.
            RouteError: As in `complete`.
        """
        ...

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
