"""Errors as gRPC tells them: the one place where an error becomes a status code."""

from __future__ import annotations

import grpc

from splice.core import errors
from splice.core.identity_errors import IdentityAway
from splice.core.policy_errors import PolicyUnavailable
from splice.serve.oip.calls import Failure

_Code = grpc.StatusCode

STATUS: dict[type[errors.SpliceError], grpc.StatusCode] = {
    errors.BodyTooLarge: _Code.RESOURCE_EXHAUSTED,
    errors.UnknownIntegration: _Code.NOT_FOUND,
    errors.UnknownRelease: _Code.NOT_FOUND,
    errors.UnknownKey: _Code.UNAUTHENTICATED,
    errors.KeyInFlight: _Code.ABORTED,
    errors.RequestError: _Code.INVALID_ARGUMENT,
    errors.NotAllowed: _Code.PERMISSION_DENIED,
    errors.OverBudget: _Code.RESOURCE_EXHAUSTED,
    errors.RateLimited: _Code.RESOURCE_EXHAUSTED,
    errors.Stopped: _Code.UNAVAILABLE,
    errors.Draining: _Code.UNAVAILABLE,
    errors.Overloaded: _Code.UNAVAILABLE,
    errors.NotRecorded: _Code.UNAVAILABLE,
    errors.MeterAway: _Code.UNAVAILABLE,
    PolicyUnavailable: _Code.UNAVAILABLE,
    IdentityAway: _Code.UNAVAILABLE,
    errors.RefusedError: _Code.PERMISSION_DENIED,
    errors.ExhaustedError: _Code.UNAVAILABLE,
    errors.RouteError: _Code.UNAVAILABLE,
    errors.Unstorable: _Code.INVALID_ARGUMENT,
    errors.StoreError: _Code.UNAVAILABLE,
    errors.SpliceError: _Code.INTERNAL,
}

_MOST = 2000  # characters: clients take 8 KB of trailers
_UNSAFE = str.maketrans({chr(code): " " for code in (*range(32), 127)})


def status_of(failure: Failure) -> grpc.StatusCode:
    """The status of a failure: of its error's class, or of the nearest that it inherits from."""
    if failure.late:
        return _Code.DEADLINE_EXCEEDED
    return next(STATUS[kind] for kind in type(failure.error).__mro__ if kind in STATUS)


def told_of(failure: Failure) -> str:
    """The error in one line, which fits into a trailer."""
    return failure.text[:_MOST].translate(_UNSAFE)


def trailers_of(failure: Failure) -> tuple[tuple[str, str], ...]:
    """What a program wants to know of it: the code, the id of its call, how long to wait."""
    trailers = [("splice-code", failure.error.code)]
    if failure.call_id:
        trailers.append(("splice-call-id", failure.call_id))
    wait: float | None = getattr(failure.error, "retry_after", None)
    if wait is not None:
        trailers.append(("retry-after", f"{max(wait, 0.001):.3f}"))
    return tuple(trailers)
