"""Tokens as OpenAI-compatible servers count them, and our estimate where they do not."""

from __future__ import annotations

import re

import msgspec

from splice.core.call import Usage

CHARACTERS_A_TOKEN = 4
IMAGE_TOKENS = 1600  # as the engine reckons when it reserves

_BASE64 = re.compile(rb"[A-Za-z0-9+/=_-]{1024,}")
_SMALL = 4096


class _Details(msgspec.Struct, gc=False, omit_defaults=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None  # OpenRouter


class WireUsage(msgspec.Struct, gc=False, omit_defaults=True):
    """`usage` of a chat completion, of embeddings, or of a response."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None


def usage_of(wire: WireUsage | None) -> Usage:
    """What the server counted; all None where it did not.

    Some leave the tokens of thinking out of `completion_tokens` but not out of the total (Gemini,
    xAI), and charge them: the answer is what the total has beyond the prompt.
    """
    if wire is None:
        return Usage()
    read = wire.input_tokens if wire.prompt_tokens is None else wire.prompt_tokens
    written = wire.output_tokens if wire.completion_tokens is None else wire.completion_tokens
    if read is not None and written is not None and wire.total_tokens is not None:
        written = max(written, wire.total_tokens - read)
    details = wire.prompt_tokens_details or wire.input_tokens_details
    if details is None:
        return Usage(read, written, wire.prompt_cache_hit_tokens)
    cached = details.cached_tokens
    if cached is None:
        cached = wire.prompt_cache_hit_tokens
    return Usage(read, written, cached, details.cache_write_tokens)


def request_tokens(body: bytes) -> int:
    """About how many tokens a request is: a quarter of its bytes; images count by number."""
    size, images = len(body), 0
    if size > _SMALL and b"base64" in body:
        runs = _BASE64.findall(body)
        images = len(runs)
        size -= sum(map(len, runs))
    return -(-size // CHARACTERS_A_TOKEN) + images * IMAGE_TOKENS


def estimated_usage(input_tokens: int, events: int, characters: int) -> Usage:
    """Usage that nobody counted.

    The answer has as many tokens as events with text (a server sends one for each token, or for
    several), or one for four characters, whichever is more.
    """
    written = max(events, -(-characters // CHARACTERS_A_TOKEN))
    return Usage(input_tokens, written, estimated=True)
