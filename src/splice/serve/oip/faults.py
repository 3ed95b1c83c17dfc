"""Errors as the Open Inference Protocol tells them: `{"error": text}` and a status."""

from __future__ import annotations

import math

import msgspec

from splice.core import errors
from splice.serve.http.problems import status_of
from splice.serve.oip.calls import Failure
from splice.serve.wire import WireAnswer

_encode = msgspec.json.Encoder().encode


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an error: the protocol's `error`, and what ours say beside it."""

    error: str
    code: str = ""
    retryable: bool = False
    call_id: str = ""
    row: int | None = None


def refusal(failure: Failure) -> WireAnswer:
    """The answer to a request that failed. What is wrong with a request itself is always 400."""
    error = failure.error
    status = status_of(error)
    if status == 422:
        status = 400
    told = Told(failure.text, error.code, error.retryable, failure.call_id, failure.row)
    return WireAnswer(status, _encode(told), headers=headers_of(error, status))


def headers_of(error: errors.SpliceError, status: int) -> list[tuple[bytes, bytes]]:
    """What a client does next: how long it waits, what kind of key it shows."""
    headers: list[tuple[bytes, bytes]] = []
    wait: float | None = getattr(error, "retry_after", None)
    if wait is not None and math.isfinite(wait):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
    elif status == 503:
        headers.append((b"retry-after", b"1"))
    if isinstance(error, errors.UnknownKey):
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def nowhere(method: str, path: str, allowed: str = "") -> WireAnswer:
    """The answer to a path that is not here, or not with this method."""
    if allowed:
        told = Told(f"{method[:16]} {path[:200]}: use {allowed}", "method_not_allowed")
        return WireAnswer(405, _encode(told), headers=[(b"allow", allowed.encode())])
    return WireAnswer(404, _encode(Told(f"{method[:16]} {path[:200]}: no such path", "no_path")))
