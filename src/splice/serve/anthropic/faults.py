"""Errors in Anthropic's shape; the one place where this surface maps an error to a status.

Anthropic's own clients try 408, 409, 429 and all from 500 again by themselves, unless
`x-should-retry` says otherwise. A budget that is spent is `billing_error` with 402, which they
never try again: 429 would make every client knock until the period is over.
"""

from __future__ import annotations

import math

import msgspec

from splice.core import errors
from splice.core.identity_errors import IdentityAway
from splice.core.policy_errors import PolicyRefused, PolicyUnavailable
from splice.serve.anthropic.events import event
from splice.serve.wire import WireAnswer

Header = tuple[bytes, bytes]
_encode = msgspec.json.Encoder().encode

_INVALID = "invalid_request_error"
_KINDS: dict[type[errors.SpliceError], tuple[int, str]] = {
    errors.UnknownKey: (401, "authentication_error"),
    errors.OverBudget: (402, "billing_error"),
    errors.NotAllowed: (403, "permission_error"),
    errors.UnknownModel: (404, "not_found_error"),
    errors.UnknownIntegration: (404, "not_found_error"),
    errors.KeyInFlight: (409, "conflict_error"),
    errors.BodyTooLarge: (413, "request_too_large"),
    errors.UnsupportedMediaType: (415, _INVALID),
    errors.KeyReused: (422, _INVALID),
    errors.RequestError: (400, _INVALID),
    errors.RateLimited: (429, "rate_limit_error"),
    errors.Stopped: (503, "api_error"),
    errors.Draining: (529, "overloaded_error"),
    errors.Overloaded: (529, "overloaded_error"),
    errors.NotRecorded: (503, "api_error"),
    errors.MeterAway: (503, "api_error"),
    PolicyUnavailable: (503, "api_error"),
    PolicyRefused: (400, _INVALID),  # as of the vendor's own filter
    IdentityAway: (503, "api_error"),
    errors.RefusedError: (403, "permission_error"),
    errors.ExhaustedError: (503, "api_error"),
    errors.RouteTimeout: (504, "timeout_error"),
    errors.ProviderLimited: (529, "overloaded_error"),
    errors.RouteError: (502, "api_error"),
    errors.StoreError: (503, "api_error"),
    errors.SpliceError: (500, "api_error"),
}


def kind_of(error: errors.SpliceError) -> tuple[int, str]:
    """Status and type of an error: of its class, or of the nearest that it inherits from."""
    return next(_KINDS[one] for one in type(error).__mro__ if one in _KINDS)


def request_id(call_id: str) -> str:
    """A call's id in the form in which Anthropic's clients show it."""
    return f"req_{call_id.replace('-', '')}"


def refusal(error: errors.SpliceError, call_id: str, headers: list[Header]) -> WireAnswer:
    """A whole answer that says what is wrong; `headers` are put before its own."""
    status = kind_of(error)[0]
    more = list(headers)
    wait: float | None = getattr(error, "retry_after", None)
    if wait is not None and math.isfinite(wait):
        more.append((b"retry-after", b"%d" % max(math.ceil(wait), 1)))
        more.append((b"retry-after-ms", b"%d" % max(math.ceil(wait * 1000), 1)))
    if not error.retryable and (status in (408, 409, 429) or status >= 500):
        more.append((b"x-should-retry", b"false"))
    if isinstance(error, errors.Draining):
        more.append((b"connection", b"close"))
    return WireAnswer(status, _encode({"type": "error", **_told(error, call_id)}), headers=more)


def broken_off(error: errors.SpliceError, call_id: str) -> bytes:
    """The event with which a stream ends before its time."""
    return event("error", **_told(error, call_id))


def _told(error: errors.SpliceError, call_id: str) -> dict[str, object]:
    detail = error.detail
    message = f"{error.where}: {detail}" if detail else error.where
    shown = {"type": kind_of(error)[1], "message": message}
    return {"error": shown, "request_id": request_id(call_id)}
