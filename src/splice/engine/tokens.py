"""Tokens before anybody has counted them: what a request may cost is reserved before it is sent."""

from __future__ import annotations

import re

from splice.core.chat import Asked
from splice.core.prices import Price

BYTES_A_TOKEN = 3
"""Texts in European languages have four characters to a token and more; three errs on the safe
side. Other scripts take more bytes a character, and about as many bytes a token."""
IMAGE_TOKENS = 1600
"""What vendors count for a large image, whatever the size of its file."""
UNSAID_OUTPUT_TOKENS = 4096
"""Reserved for an answer whose length the caller does not bound."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/=_-]{1024,}")


def input_tokens_of(asked: Asked, body: bytes) -> int:
    """At most how many tokens a request is worth; images count by number, not by size."""
    size, images = len(body), 0
    if size > 4096 and b"base64" in body:
        runs = _BASE64.findall(body)
        images = len(runs)
        size -= sum(map(len, runs))
    return size // BYTES_A_TOKEN + images * IMAGE_TOKENS + 8


def output_tokens_of(asked: Asked) -> int:
    """At most how many tokens the answers may have, as far as the caller says."""
    most = UNSAID_OUTPUT_TOKENS if asked.output_tokens is None else asked.output_tokens
    return max(0, most) * max(1, asked.answers)


def estimate_nano(price: Price | None, input_tokens: int, output_tokens: int) -> int | None:
    """What so many tokens cost, rounded up; None where the price is unknown."""
    if price is None:
        return None
    total = input_tokens * price.input_nano + output_tokens * price.output_nano
    return -(-total // 1_000_000)
