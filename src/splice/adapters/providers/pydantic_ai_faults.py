"""What pydantic-ai raises, in our errors."""

from __future__ import annotations

import msgspec
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelTimeoutError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)

from splice.adapters.providers.pydantic_ai_reply import Uncarried
from splice.adapters.providers.refusals import Refusals, Said, said_of
from splice.core.errors import (
    BadAnswer,
    ModelUnavailable,
    ProviderFailed,
    ProviderLimited,
    ProviderRejected,
    RouteError,
    RouteTimeout,
    SpliceError,
)

_LIMITED = frozenset({429, 503, 529})
_REJECTED = frozenset({400, 413, 422})
_AGAIN = frozenset({408, 409, 425})
_UNSENT = frozenset({"pool", "connect"})  # phases in which the provider knows of nothing yet

KNOWN = (
    ModelAPIError,
    UnexpectedModelBehavior,
    UserError,
    NotImplementedError,
    Uncarried,
    ImportError,
)
"""What `fault_of` knows; anything else is a mistake of the adapter or of the library."""


def fault_of(error: BaseException, where: str, refusals: Refusals) -> SpliceError:
    """Our error for one of `KNOWN`, without secrets; what it cost is None where that is unknown."""
    got = refusals.clean(str(error))
    if isinstance(error, (ModelTimeoutError, ModelRequestTimeout)):
        return _unpriced(RouteTimeout(where, got=got))
    if isinstance(error, ModelAPIError):
        return _answered(error, where, refusals)
    if isinstance(error, ContentFilterError):
        return _unpriced(BadAnswer(where, got=got))
    if isinstance(error, (UserError, NotImplementedError)):
        # Its own check of a request before it is sent: this model has no tools, no images, …
        return ProviderRejected(where, got=got or "something that this model cannot do")
    if isinstance(error, ImportError):
        return ModelUnavailable(where, got=got, mend="install what it names")
    if isinstance(error, Uncarried):
        got = f"a part of the kind {error}, which a chat completion has no place for"
    return _unpriced(ProviderFailed(where, got=got))


def _answered(error: ModelAPIError, where: str, refusals: Refusals) -> SpliceError:
    """The provider answered with an error, or the way to it failed."""
    status = error.status_code if isinstance(error, ModelHTTPError) else None
    said = _said(error)
    got = refusals.clean(said.message if status is None else f"status {status}: {said.message}")
    slow = isinstance(error, (ModelRateLimitError, ModelUnavailableError))
    if slow or status in _LIMITED:
        return ProviderLimited(where, retry_after=error.retry_after, got=got)
    quota = isinstance(error, ModelQuotaExceededError)
    if status in _REJECTED and not quota:
        rejected = ProviderRejected(where, got=got)
        rejected.param = said.param
        rejected.vendor_code = error.provider_error_code or said.code
        return rejected
    failed = ProviderFailed(where, got=got)
    if status in (401, 403):
        failed.mend = "check the key of this vendor in the environment, and what it may use"
    elif status == 404:
        failed.mend = "check the name of the model"
    refused = status is not None and status < 500 and status not in _AGAIN
    if quota or refused or isinstance(error, ModelRequestRejectedError):
        failed.retryable = False
    unsent = isinstance(error, ModelConnectionError) and error.phase in _UNSENT
    if error.in_stream or (status is None and not unsent):
        failed.cost_nano = None
    return failed


def _said(error: ModelAPIError) -> Said:
    """The provider's own words, where the library kept them."""
    if error.body is None:
        return Said(str(error))
    try:
        return said_of(msgspec.json.encode(error.body, enc_hook=str))
    except (TypeError, UnicodeEncodeError):
        return Said(str(error))


def _unpriced(error: RouteError) -> RouteError:
    error.cost_nano = None
    return error
