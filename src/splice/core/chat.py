"""What applications ask of a language model through the gateway, in the shapes that vendors set.

The common tongue is OpenAI's chat completion, which most clients and providers speak; a request or
an answer in another shape (`Dialect`) is carried untouched to a provider that speaks it too, and is
translated by its surface or by the provider's adapter where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, cast

import msgspec

from splice.core.call import Trace, Usage


class Dialect(StrEnum):
    """The shape of a request and of its answer."""

    __hash__ = str.__hash__

    CHAT = "chat"  # OpenAI /v1/chat/completions
    RESPONSES = "responses"  # OpenAI /v1/responses
    MESSAGES = "messages"  # Anthropic /v1/messages
    EMBEDDINGS = "embeddings"  # OpenAI /v1/embeddings


class Asked(msgspec.Struct, gc=False):
    """One request as a surface received it, its types checked.

    `fields` are the top-level fields of the body but `model` and `stream`; their values are
    `msgspec.Raw`, the caller's own bytes, so that what we do not know passes through unchanged.
    `as_chat` gives the fields of the same request as a chat completion (plain values or Raw); None
    where the dialect is `chat` or `embeddings` already. `size` is the length of the body in bytes.
    `output_tokens` is the most that the caller allows one answer, None where he does not say;
    `answers` how many he wants. `headers` are vendor headers (names in lower case) that a provider
    of the same dialect gets too.
    """

    dialect: Dialect
    model: str
    stream: bool
    fields: dict[str, Any]
    size: int
    as_chat: Callable[[], dict[str, Any]] | None = None
    output_tokens: int | None = None
    answers: int = 1
    headers: dict[str, str] = {}


def user_of(asked: Asked) -> str | None:
    """Whom the caller says that he asks for, as OpenAI and Anthropic let him; None if he does not.

    It is what a rollout keeps a variant by.
    """
    for name in ("safety_identifier", "user"):
        user = _plain(asked.fields.get(name))
        if isinstance(user, str) and user:
            return user[:256]
    metadata = _plain(asked.fields.get("metadata"))
    user = cast("dict[str, Any]", metadata).get("user_id") if isinstance(metadata, dict) else None
    return user[:256] if isinstance(user, str) and user else None


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


class WireRequest(msgspec.Struct, frozen=True):
    """One request to a provider. `fields` as in `Asked`; `model` is the provider's own name.

    `timeout_s` is what is left for this attempt as a whole. Of a stream, `between_s` is the longest
    silence once it has begun.
    """

    dialect: Dialect
    model: str
    fields: dict[str, Any]
    timeout_s: float
    between_s: float | None = None
    headers: dict[str, str] = {}
    trace: Trace | None = None


class WireReply(msgspec.Struct, frozen=True, gc=False):
    """A whole answer: JSON in the dialect of its request, as the provider gave it.

    Of a stream, it is what has come, put together as if it had been asked for whole; then
    `complete` says whether it came to its regular end. `cost_nano` is None where it is unknown.
    `masked` counts, by rule, the values that the provider saw placeholders of.
    """

    dialect: Dialect
    body: bytes
    usage: Usage
    model: str
    cost_nano: int | None = None
    complete: bool = True
    masked: Mapping[str, int] = {}
