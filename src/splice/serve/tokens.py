"""The API key or signed token of a request, wherever its client puts it."""

from __future__ import annotations

from collections.abc import Mapping

_MOST = 16 * 1024  # signed tokens are longer than keys


def token_of(headers: Mapping[bytes, bytes]) -> str:
    """The key from `Authorization: Bearer`, `x-api-key` or `api-key`; empty where there is none."""
    bearer = headers.get(b"authorization")
    if bearer is not None:
        scheme, _, given = bearer.partition(b" ")
        if scheme.lower() == b"bearer":
            return given.strip()[:_MOST].decode("latin-1")
    given = headers.get(b"x-api-key") or headers.get(b"api-key") or b""
    return given[:_MOST].decode("latin-1")
