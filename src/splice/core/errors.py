"""The tree of errors: a stable code, where, what was promised, what came, and the mend.

    SpliceError
    ├── DeclarationError      a declaration is wrong; names file and line
    ├── SettingsError         splice.toml or SPLICE_* is wrong
    ├── RequestError          the caller's mistake
    │   ├── MalformedBody  InputMismatch  BodyTooLarge  UnsupportedMediaType  UnknownKey
    │   └── UnknownIntegration  UnknownCall  UnknownRelease  UnknownModel  KeyReused  KeyInFlight
    │       ProviderRejected
    ├── RefusedError          rightly asked, but not answered
    │   ├── Stopped  Draining  Overloaded  NotRecorded  NotPromoted  Overtaken
    │   └── NotAllowed  OverBudget  RateLimited  MeterAway  (policy_errors.py)
    ├── RouteError            one attempt failed; the next route is tried
    │   └── RouteTimeout  ModelUnavailable  ModelMismatch  BadAnswer  ProviderFailed
    │       ProviderLimited  RouteCrashed  MaskingFailed (masking_errors.py)
    ├── ExhaustedError        every route failed
    ├── GatherError           context() failed
    ├── DecisionError         decide() failed, or broke its declared reply type
    ├── EventError            an event that cannot become a call
    │   └── UnknownSchema  EventReused  AttemptsExhausted
    ├── BusError              a stream could not be read or written; below it Fenced
    └── StoreError            a store could not do what it was asked
        └── Unstorable        it never will: what it was given is to blame

An HTTP status is not here: surfaces map classes to statuses in one place each.
"""

from __future__ import annotations

from typing import ClassVar


class SpliceError(Exception):
    """Root of all errors of Splice.

    Args:
        where: The thing that is wrong, as a path a reader can find: `credit.input.age`.
        got: What came.
        promised: What was expected instead.
        mend: What to do next, one sentence without a full stop.
    """

    code: ClassVar[str] = "splice_error"
    retryable: bool = False

    def __init__(self, where: str, *, got: str = "", promised: str = "", mend: str = "") -> None:
        super().__init__(where, got, promised, mend)
        self.where, self.got, self.promised, self.mend = where, got, promised, mend

    @property
    def detail(self) -> str:
        """One or two sentences for a person, without the place and the code."""
        got = f"got {self.got}" if self.got else ""
        promised = f"expected {self.promised}" if self.promised else ""
        text = ", ".join(filter(None, (got, promised)))
        if self.mend:
            # A command is shown as it is typed.
            is_command = self.mend.startswith("splice ")
            mend = self.mend if is_command else self.mend[0].upper() + self.mend[1:]
            text = f"{text}. {mend}" if text else mend
        return text

    def __str__(self) -> str:
        detail = self.detail
        text = f"{self.where}: {detail}" if detail else self.where
        return f"{text} [{self.code}]"


class DeclarationError(SpliceError):
    """A declaration is wrong. Carries the file and the line of the mistake."""

    code = "declaration_error"

    def __init__(
        self,
        where: str,
        *,
        got: str = "",
        promised: str = "",
        mend: str = "",
        file: str = "",
        line: int = 0,
    ) -> None:
        super().__init__(where, got=got, promised=promised, mend=mend)
        self.file, self.line = file, line

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.file}:{self.line}: {text}" if self.file else text


class SettingsError(SpliceError):
    """A setting of this process is missing, unknown or out of bounds."""

    code = "settings_error"


class RequestError(SpliceError):
    """The caller's mistake; the same request will fail again."""

    code = "bad_request"


class MalformedBody(RequestError):
    """The body is not the format that its content type says."""

    code = "malformed_body"


class InputMismatch(RequestError):
    """The body is well formed but is not of the declared request type."""

    code = "input_mismatch"


class BodyTooLarge(RequestError):
    """The body is larger than this process accepts; it was not read."""

    code = "body_too_large"


class UnsupportedMediaType(RequestError):
    """The content type is not one that this path reads."""

    code = "unsupported_media_type"


class UnknownIntegration(RequestError):
    """No integration of that name has a live release."""

    code = "unknown_integration"


class UnknownCall(RequestError):
    """The ledger holds no call of that id."""

    code = "unknown_call"


class UnknownRelease(RequestError):
    """The integration has no release of that number."""

    code = "unknown_release"


class KeyReused(RequestError):
    """The idempotency key was used before, with another body."""

    code = "idempotency_key_reused"


class KeyInFlight(RequestError):
    """A call with this idempotency key is still running elsewhere."""

    code = "idempotency_key_in_flight"
    retryable = True


class UnknownModel(RequestError):
    """The model named is no alias, no integration, and no model that this key may name."""

    code = "unknown_model"


class UnknownKey(RequestError):
    """No API key, or one that is unknown, expired, revoked, or used from elsewhere."""

    code = "unknown_key"


class ProviderRejected(RequestError):
    """The provider says that the request itself is wrong; `got` holds its own words.

    `param` is the field that it names, `vendor_code` its own code for the mistake; None where it
    gives none. `elsewhere` where it is not wrong in itself, but cannot be said to this provider:
    another route may answer it.
    """

    code = "provider_rejected"
    elsewhere: bool = False
    param: str | None = None
    vendor_code: str | None = None


class RefusedError(SpliceError):
    """Rightly asked, but not answered: by policy, by switch, or to keep a promise."""

    code = "refused"


class Stopped(RefusedError):
    """The integration is switched off by an operator."""

    code = "stopped"


class Draining(RefusedError):
    """This process is shutting down and takes no new calls."""

    code = "draining"
    retryable = True


class Overloaded(RefusedError):
    """More calls are in flight, or wait to be recorded, than this process takes on."""

    code = "overloaded"
    retryable = True


class NotRecorded(RefusedError):
    """The answer could not be recorded, and the risk declared does not allow an unrecorded one.

    `unsure` where it may still be: nobody waited for the end of a commit that hangs.
    """

    code = "not_recorded"
    retryable = True
    unsure: bool = False


class NotAllowed(RefusedError):
    """The API key does not reach this integration, model or page."""

    code = "not_allowed"


class OverBudget(RefusedError):
    """A budget has no room for what this call may cost."""

    code = "over_budget"


class RateLimited(RefusedError):
    """The key asked more, or for more tokens, than its limit allows in a minute."""

    code = "rate_limited"
    retryable = True

    def __init__(
        self, where: str, *, retry_after: float, got: str = "", promised: str = ""
    ) -> None:
        mend = "try again when the minute is over"
        super().__init__(where, got=got, promised=promised, mend=mend)
        self.retry_after = retry_after


class MeterAway(RefusedError):
    """Budgets cannot be checked now, and this process answers nothing unchecked."""

    code = "meter_away"
    retryable = True


class NotPromoted(RefusedError):
    """A version did not pass a gate, or a second person has not consented; nothing was changed."""

    code = "not_promoted"


class Overtaken(RefusedError):
    """Somebody else changed the champion or the live release meanwhile; nothing was changed."""

    code = "overtaken"
    retryable = True


class RouteError(SpliceError):
    """One attempt failed; the next route is tried.

    `cost_nano` is what the failed attempt cost all the same; None where that is unknown.
    """

    code = "route_error"
    retryable = True
    cost_nano: int | None = 0


class RouteTimeout(RouteError):
    """The route did not answer within its timeout, or the deadline of the call came first."""

    code = "timeout"


class ModelUnavailable(RouteError):
    """The model cannot be run: missing, withdrawn, or it could not be loaded."""

    code = "model_unavailable"
    retryable = False


class ModelMismatch(RouteError):
    """The context does not fit the signature of the model."""

    code = "model_mismatch"
    retryable = False


class BadAnswer(RouteError):
    """The model answered something that is not of the promised type, or not a number."""

    code = "bad_answer"


class ProviderFailed(RouteError):
    """The provider of a model answered with an error, or could not be reached."""

    code = "provider_failed"


class ProviderLimited(RouteError):
    """The provider refused for the moment: rate limit or overload."""

    code = "provider_limited"

    def __init__(self, where: str, *, retry_after: float | None = None, got: str = "") -> None:
        super().__init__(where, got=got)
        self.retry_after = retry_after


class RouteCrashed(RouteError):
    """The route raised something that is not an error of ours."""

    code = "crashed"
    retryable = False


class ExhaustedError(SpliceError):
    """Every route failed; the attempts are in the record of the call."""

    code = "exhausted"
    retryable = True


class GatherError(SpliceError):
    """`context()` raised, or did not finish before the deadline."""

    code = "context_failed"
    late: bool = False  # the deadline came first


class DecisionError(SpliceError):
    """`decide()` raised, or what it returned is not of the declared reply type."""

    code = "decision_failed"


class StoreError(SpliceError):
    """A store could not do what it was asked: unreachable, full, locked, or broken."""

    code = "store_error"
    retryable = True


class Unstorable(StoreError):
    """A value that this store can never hold; it is refused by itself, and so would be again."""

    code = "unstorable"
    retryable = False


class EventError(SpliceError):
    """An event that cannot become a call; the same bytes will fail again."""

    code = "bad_event"


class UnknownSchema(EventError):
    """The schema id that a message names is not in the schema registry."""

    code = "unknown_schema"


class EventReused(EventError):
    """The id of an event was used before, with another body."""

    code = "event_id_reused"


class AttemptsExhausted(EventError):
    """An event was tried as often as it may be, or its process died with it each time."""

    code = "attempts_exhausted"


class BusError(SpliceError):
    """A stream could not be read or written: unreachable, refused, or broken."""

    code = "bus_error"
    retryable = True
    retry_after: float = 0.0  # seconds, where it said so


class Fenced(BusError):
    """Another process has taken over what this one held; nothing of it counts any more."""

    code = "fenced"
    retryable = False
