"""What flows: call, context, attempt, prediction, decision, record, outcome.

None of these holds a way back to itself, so the collector need not walk them (`gc=False`): a call
makes a dozen, and walking them cost a twentieth of its time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from splice.core.access import ANYONE, Principal
from splice.core.policies import PolicyRun


class Status(StrEnum):
    """How a call ended."""

    # Enum's own hash is a Python function, and these are parts of keys on the path of every call.
    __hash__ = str.__hash__

    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why the caller got the answer that he got (bounded: it is a metric label)."""

    __hash__ = str.__hash__  # as above

    FIRST = "first"  # the first route answered
    FALLBACK = "fallback"  # an earlier route failed
    REPEATED = "repeated"  # the stored answer of the same idempotency key
    EXHAUSTED = "exhausted"  # no route answered
    REJECTED = "rejected"  # the provider says that the request itself is wrong
    CONTEXT_FAILED = "context_failed"
    DECISION_FAILED = "decision_failed"
    CACHED = "cached"  # the same was asked before, and its answer is still kept
    SIMILAR = "similar"  # nearly the same was asked before (semantic cache)
    SHARED = "shared"  # the same was being asked, and this call waited for its answer
    BROKEN = "broken"  # a stream that ended before its time
    DISCONNECTED = "disconnected"  # the client went away in the middle of a stream
    OVER_BUDGET = "over_budget"  # refused: a budget has no room
    METER_AWAY = "meter_away"  # refused: budgets cannot be checked
    POLICY = "policy"  # refused: a policy said no, or could not be asked
    NOT_RECORDED = "not_recorded"
    CANCELLED = "cancelled"  # the caller in this process went away


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens that a language model read and wrote, as its provider counted them.

    `input_tokens` are all that it read: also those from the provider's cache (`cached_tokens`) and
    those written into it (`cache_write_tokens`). `estimated` where the provider did not say, as of
    a stream that was cut short, and we counted by the length of the texts.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    estimated: bool = False


class Prediction(msgspec.Struct, omit_defaults=True, gc=False):
    """What a model said.

    `value` is the answer itself: a label, a number, or the decoded output of a language model.
    `score` is the probability of the second class (of two) or of `value` (of more), the number
    itself where a model gives one number, and None where a route gives no probability. `scores` has
    one probability a class. `cost_nano` is what it cost; None where unknown. `masked` counts, by
    rule, the values that it saw placeholders of; None where it saw all as it is.
    """

    value: Any = None  # the answer is of whatever type the model gives
    score: float | None = None
    scores: dict[str, float] | None = None
    usage: Usage | None = None
    cost_nano: int | None = None
    masked: dict[str, int] | None = None


class Gathered(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One look-up that `context()` made: what it asked, what it got, from where and how old."""

    view: str
    entity: str
    values: dict[str, Any]  # features are JSON values of the store's own types
    source: str
    age_s: float | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One try of one route inside a call.

    `route` is the route's label, `version` what exactly was run (model version and hash, or model
    and prompt version). `ended` is `answered` or the code of a `RouteError`. Times are in
    microseconds, `started_us` from the start of the call; `first_token_us` is when, in the attempt,
    the first token of a stream came. `cost_nano` is None where unknown. `masked` counts, by rule,
    the values that the route saw placeholders of; None where it saw none.
    """

    route: str
    ended: str
    started_us: int
    latency_us: int
    version: str = ""
    why: str = ""
    usage: Usage | None = None
    cost_nano: int | None = None
    first_token_us: int | None = None
    masked: dict[str, int] | None = None


class Trace(msgspec.Struct, frozen=True, gc=False):
    """The caller's place in a W3C trace: ids in lower-case hexadecimal."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    flags: int = 1


class Call(msgspec.Struct, gc=False):
    """One question put to an integration, as the surface received it."""

    id: str
    integration: str
    body: bytes  # JSON of the request, as it came
    asked_us: int  # Unix time in microseconds
    surface: str = "python"
    caller: str = ""
    key: str | None = None  # idempotency key
    trace: Trace | None = None
    principal: Principal = ANYONE


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An error as it is recorded: the code, where, and one sentence."""

    code: str
    where: str
    detail: str = ""


class Record(msgspec.Struct, omit_defaults=True, gc=False):
    """What was asked, gathered, tried, answered, and why; immutable once stored.

    `input`, `context` and `reply` are JSON. `context` is None where it is the input itself.
    """

    call_id: str
    integration: str
    release: int
    asked_us: int
    duration_us: int
    status: Status
    reason: Reason
    surface: str
    caller: str = ""
    entity: str | None = None
    key: str | None = None
    route: str = ""
    variant: str = ""
    version: str = ""
    cost_nano: int | None = None
    input: bytes = b""
    gathered: tuple[Gathered, ...] = ()
    context: bytes | None = None
    attempts: tuple[Attempt, ...] = ()
    prediction: bytes | None = None
    reply: bytes | None = None
    problem: Problem | None = None
    trace: Trace | None = None
    notes: tuple[str, ...] = ()  # what a reader must know: a budget that could not be checked, …
    shadow_of: str | None = (
        None  # the call that this one repeats in a shadow; nobody got its answer
    )
    policies: tuple[PolicyRun, ...] = ()  # those that were asked, in their order
    # The person whom it is about, where that is not the entity: in memory only, never written.
    subject: str = ""
    locked: bytes = b""  # texts of the call, enciphered: then they are nowhere else in it
    # What proves the payload (core/leaves.py): 16 random bytes hashed along with it, or, once texts
    # or entity were dropped, the 32 bytes of the hash. Read only where calls are proved or moved.
    seal: bytes = b""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The truth that arrives later, joined to a record by call id or by entity key.

    `name` says which outcome it is (`defaulted`, `chargeback`); `value` is the truth itself.
    `at_us` is when it happened, in Unix microseconds.
    """

    integration: str
    name: str
    value: bool | float | str
    at_us: int
    call_id: str | None = None
    entity: str | None = None
    source: str = ""
