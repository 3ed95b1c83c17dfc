"""Tokens before anybody has counted them: what a request may cost is reserved before it is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from splice.core.chat import Asked
from splice.core.prices import Price

BYTES_A_TOKEN = 3
"""Texts in European languages have four characters to a token and more; three errs on the safe
side. Other scripts take more bytes a character, and about as many bytes a token."""
IMAGE_TOKENS = 1600
"""What vendors count for a large image, whatever the size of its file."""
UNSAID_OUTPUT_TOKENS = 4096
"""Reserved for an answer whose length the caller does not bound."""

_SMALL = 4096
_BASE64 = re.compile(r"[A-Za-z0-9+/=_-]{1024,}")
_IMAGES = frozenset({"image", "image_url", "input_image"})
_FILES = {"document": 16, "file": 16, "input_file": 16, "input_audio": 512}
"""Characters of base64 to a token: of a page of dense text, and of speech, well compressed."""


def input_tokens_of(asked: Asked, body: bytes) -> int:
    """At most how many tokens a request is worth; images count by number, not by size."""
    size, media = len(body), 0
    if size > _SMALL and b"base64" in body:
        for kind, length in _media(body):
            size -= length
            media += IMAGE_TOKENS + (length // _FILES[kind] if kind in _FILES else 0)
    return size // BYTES_A_TOKEN + media + 8


def _media(body: bytes) -> Iterator[tuple[str, int]]:
    """Kind and length of what a request holds in base64, where a provider reads it as a file.

    Anywhere else it is text, whatever it looks like: a caller would only have to write that word
    to have a long text counted as a picture.
    """
    try:
        waiting: list[Any] = [msgspec.json.decode(body)]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += cast("list[Any]", value)
        elif isinstance(value, dict):
            part = cast("Mapping[str, Any]", value)
            kind = part.get("type")
            if isinstance(kind, str) and (kind in _IMAGES or kind in _FILES):
                # Where vendors put it: below the name of its kind, or below one of these.
                for name in {kind, "source", "image_url", "file_data"}:
                    yield from ((kind, one) for one in _in_base64(part.get(name)))
            else:
                waiting += part.values()


def _in_base64(value: Any) -> Iterator[int]:
    """Lengths of base64 in a string that is a data URL, or in a part that says it is base64."""
    if isinstance(value, str):
        if value.startswith("data:") and not value.startswith("data:text"):
            yield from map(len, _BASE64.findall(value))
    elif isinstance(value, dict):
        part = cast("Mapping[str, Any]", value)
        raw = part.get("data")
        if isinstance(raw, str) and (part.get("type") == "base64" or "format" in part):
            yield from map(len, _BASE64.findall(raw))
        for name in ("url", "file_data"):
            yield from _in_base64(part.get(name))


def output_tokens_of(asked: Asked, unsaid: int = UNSAID_OUTPUT_TOKENS) -> int:
    """At most how many tokens the answers may have; `unsaid` where the caller sets no bound.

    Less than one token is no bound: llama.cpp takes -1 for as many as it likes.
    """
    said = asked.output_tokens
    most = unsaid if said is None or said < 1 else said
    return most * max(1, asked.answers)


def estimate_nano(price: Price | None, input_tokens: int, output_tokens: int) -> int | None:
    """What so many tokens cost, rounded up; None where the price is unknown."""
    if price is None:
        return None
    price = price.of(input_tokens)
    total = input_tokens * price.input_nano + output_tokens * price.output_nano
    return -(-total // 1_000_000)
