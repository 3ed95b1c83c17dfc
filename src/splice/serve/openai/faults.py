"""Errors in OpenAI's shape; the one place where this surface maps an error to a status.

Which statuses OpenAI's own clients try again by themselves: 408, 409, 429 and all from 500. Where
that cannot help (a budget is spent, an integration is switched off), `x-should-retry: false` keeps
them from it.
"""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import msgspec

from splice.core import errors
from splice.core.identity_errors import IdentityAway
from splice.core.policy_errors import PolicyRefused, PolicyUnavailable
from splice.engine.faults import faults
from splice.serve.openai.reading import is_missing
from splice.serve.wire import WireAnswer

Header = tuple[bytes, bytes]
_ENDS = ("/chat/completions", "/responses", "/embeddings", "/models")
_encode = msgspec.json.Encoder().encode
_FIELD = re.compile(r"\w+(\[[\d.]+\]|\.\w+)*")


class _Kind(msgspec.Struct, frozen=True):
    status: int
    type: str
    code: str | None = None  # the code of the error itself where it is None


_INVALID = "invalid_request_error"
_SERVER = "server_error"
_LIMITED = "rate_limit_exceeded"

_KINDS: dict[type[errors.SpliceError], _Kind] = {
    errors.UnknownKey: _Kind(401, "authentication_error", "invalid_api_key"),
    errors.NotAllowed: _Kind(403, "permission_error"),
    errors.UnknownModel: _Kind(404, _INVALID, "model_not_found"),
    errors.UnknownIntegration: _Kind(404, _INVALID, "model_not_found"),
    errors.KeyInFlight: _Kind(409, _INVALID),
    errors.BodyTooLarge: _Kind(413, _INVALID),
    errors.UnsupportedMediaType: _Kind(415, _INVALID),
    errors.KeyReused: _Kind(422, _INVALID),
    errors.RequestError: _Kind(400, _INVALID),
    errors.OverBudget: _Kind(429, "insufficient_quota", "insufficient_quota"),
    errors.RateLimited: _Kind(429, _LIMITED, _LIMITED),
    errors.Stopped: _Kind(503, _SERVER),
    errors.Draining: _Kind(503, _SERVER),
    errors.Overloaded: _Kind(503, _SERVER),
    errors.NotRecorded: _Kind(503, _SERVER),
    errors.MeterAway: _Kind(503, _SERVER),
    PolicyUnavailable: _Kind(503, _SERVER),
    # As of the vendors' own filters: it is this request, and not who asks. Clients take a 403 for a
    # key that is of no use any more.
    PolicyRefused: _Kind(400, _INVALID),
    IdentityAway: _Kind(503, _SERVER),
    errors.RefusedError: _Kind(403, "permission_error"),
    errors.ExhaustedError: _Kind(503, _SERVER),
    errors.RouteTimeout: _Kind(504, _SERVER),
    errors.ProviderLimited: _Kind(429, _LIMITED, _LIMITED),
    errors.RouteError: _Kind(502, _SERVER),
    errors.StoreError: _Kind(503, _SERVER),
    errors.SpliceError: _Kind(500, _SERVER),
}


def kind_of(error: errors.SpliceError) -> _Kind:
    """Status, type and code of an error: of its class, or of the nearest that it inherits from."""
    return next(_KINDS[one] for one in type(error).__mro__ if one in _KINDS)


def shown(error: errors.SpliceError) -> dict[str, Any]:
    """The `error` object that OpenAI's clients read."""
    kind = kind_of(error)
    detail = error.detail
    message = f"{error.where}: {detail}" if detail else error.where
    return {
        "message": message,
        "type": kind.type,
        "param": _param(error),
        "code": kind.code or _code(error),
    }


def refusal(error: errors.SpliceError, headers: list[Header]) -> WireAnswer:
    """A whole answer that says what is wrong; `headers` are put before its own."""
    status = kind_of(error).status
    more = list(headers)
    if wait := _seconds(error, status):
        more.append((b"retry-after", b"%d" % math.ceil(wait)))
        more.append((b"retry-after-ms", b"%d" % math.ceil(wait * 1000)))
    if not error.retryable and (status in (409, 429) or status >= 500):
        more.append((b"x-should-retry", b"false"))
    if isinstance(error, errors.UnknownKey):
        more.append((b"www-authenticate", b"Bearer"))
    return WireAnswer(status, _encode({"error": shown(error)}), headers=more)


def broken_off(error: errors.SpliceError) -> bytes:
    """The event with which a stream of chat completion chunks ends before its time."""
    return b"data: " + _encode({"error": shown(error)}) + b"\n\n"


def unforeseen(what: str) -> errors.SpliceError:
    """The error to show for the exception that is being dealt with, which goes to the log."""
    error = sys.exception()
    if error is not None:
        faults.told(what, error)
    return errors.SpliceError(
        "server", got="an error that nobody foresaw", mend="the log of the server tells which"
    )


def meant_path(path: str) -> str:
    """The path that a slip in `base_url` made of another: `/v1` left out, or written twice."""
    end = path.removeprefix("/v1").removeprefix("/v1")
    slipped = path in (end, f"/v1/v1{end}") and end in _ENDS
    return f"/v1{end}" if slipped else ""


def nowhere(method: str, path: str, allowed: bytes = b"") -> WireAnswer:
    """The answer to a path that is not here, or not with this method."""
    where = f"{method[:16]} {path[:200]}"
    status = 405 if allowed else 404
    message = f"Invalid URL ({where})"
    if allowed:
        message = f"{where}: use {allowed.decode()}"
    elif meant := meant_path(path):
        message += f": did you mean {meant}? base_url ends with /v1, and has it once"
    error = {
        "message": message, "type": _INVALID, "param": None,
        "code": "method_not_allowed" if allowed else "unknown_url",
    }  # fmt: skip
    return WireAnswer(
        status, _encode({"error": error}), headers=[(b"allow", allowed)] if allowed else []
    )


def _seconds(error: errors.SpliceError, status: int) -> float | None:
    wait: float | None = getattr(error, "retry_after", None)
    if wait is not None and math.isfinite(wait):
        return max(wait, 0.001)
    return 1.0 if status == 503 and error.retryable else None


def _param(error: errors.SpliceError) -> str | None:
    if isinstance(error, (errors.UnknownModel, errors.UnknownIntegration)):
        return "model"
    # A provider that refuses a request is named in `where`, and it is no parameter.
    is_ours = isinstance(error, errors.RequestError) and _FIELD.fullmatch(error.where)
    return error.where if is_ours and not isinstance(error, errors.UnknownKey) else None


def _code(error: errors.SpliceError) -> str:
    if isinstance(error, errors.InputMismatch):
        if is_missing(error):
            return "missing_required_parameter"
        out_of_range = "value" in error.promised or error.got.startswith("a value")
        return "invalid_value" if out_of_range else "invalid_type"
    return error.code
