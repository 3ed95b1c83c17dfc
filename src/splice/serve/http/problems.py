"""Errors as RFC 9457 problem details; the one place where an error becomes an HTTP status."""

from __future__ import annotations

import msgspec

from splice.control.erasure import Frozen, NothingToErase
from splice.core import errors
from splice.core.identity_errors import IdentityAway, SignInRefused
from splice.core.policy_errors import PolicyUnavailable
from splice.core.review_errors import UnknownReview

STATUS: dict[type[errors.SpliceError], int] = {
    errors.MalformedBody: 400,
    errors.InputMismatch: 422,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnknownIntegration: 404,
    errors.UnknownCall: 404,
    UnknownReview: 404,
    errors.UnknownRelease: 404,
    errors.UnknownModel: 404,
    errors.UnknownKey: 401,
    errors.KeyReused: 422,
    errors.KeyInFlight: 409,
    errors.RequestError: 400,
    errors.Stopped: 503,
    errors.Draining: 503,
    errors.Overloaded: 503,
    errors.NotRecorded: 503,
    errors.NotAllowed: 403,
    errors.OverBudget: 402,
    errors.RateLimited: 429,
    errors.MeterAway: 503,
    PolicyUnavailable: 503,
    IdentityAway: 503,
    SignInRefused: 403,
    errors.Overtaken: 409,
    Frozen: 409,
    NothingToErase: 409,
    errors.RefusedError: 403,
    errors.ExhaustedError: 503,
    errors.RouteError: 502,
    errors.GatherError: 500,
    errors.DecisionError: 500,
    errors.EventError: 422,
    errors.BusError: 503,
    errors.Unstorable: 422,
    errors.StoreError: 503,
    errors.DeclarationError: 500,
    errors.SettingsError: 500,
    errors.SpliceError: 500,
}

PROBLEM_JSON = b"application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of RFC 9457, with ours: code, where, got, expected, mend, retryable, call_id."""

    type: str
    title: str
    status: int
    detail: str = ""
    code: str = ""
    where: str = ""
    got: str = ""
    expected: str = ""
    mend: str = ""
    retryable: bool = False
    call_id: str | None = None


def status_of(error: errors.SpliceError) -> int:
    """The status of an error: of its class, or of the nearest one that it inherits from."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def title_of(error: errors.SpliceError) -> str:
    """The first line of the class's docstring."""
    return (type(error).__doc__ or "").strip().partition("\n")[0].rstrip(".")


def problem(error: errors.SpliceError, call_id: str | None = None) -> ProblemDetails:
    """The problem details of an error."""
    return ProblemDetails(
        type=f"urn:splice:error:{error.code}",
        title=title_of(error),
        status=status_of(error),
        detail=str(error),
        code=error.code,
        where=error.where,
        got=error.got,
        expected=error.promised,
        mend=error.mend,
        retryable=error.retryable,
        call_id=call_id,
    )
