"""The API key of a request, wherever its client puts it."""

from __future__ import annotations

from collections.abc import Mapping

_MOST = 512


def token_of(headers: Mapping[bytes, bytes]) -> str:
    """The key from `Authorization: Bearer`, `x-api-key` or `api-key`; empty where there is none."""
    bearer = headers.get(b"authorization")
    if bearer is not None:
        scheme, _, given = bearer.partition(b" ")
        if scheme.lower() == b"bearer":
            return given.strip()[:_MOST].decode("latin-1")
    given = headers.get(b"x-api-key") or headers.get(b"api-key") or b""
    return given[:_MOST].decode("latin-1")
