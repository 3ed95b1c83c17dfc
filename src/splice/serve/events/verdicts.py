"""Verdicts: what a failure means for an event. One table, read from top to bottom."""

from __future__ import annotations

from enum import StrEnum

from splice.core.call import Record
from splice.core.errors import (
    AttemptsExhausted,
    Draining,
    EventReused,
    ExhaustedError,
    GatherError,
    MeterAway,
    NotRecorded,
    OverBudget,
    Overloaded,
    SpliceError,
    Stopped,
    StoreError,
    UnknownIntegration,
)
from splice.core.events import Event, Inbox
from splice.core.policy_errors import PolicyUnavailable
from splice.serve.events.lanes import Taken


class Verdict(StrEnum):
    """What becomes of an event whose call failed."""

    LEAVE = "leave"  # this process ends: another takes it up
    HOLD = "hold"  # no event can be answered now: all wait, and none is counted as tried
    RETRY = "retry"  # it may pass: try again, later each time
    DEAD = "dead"  # the same event would fail again


_HELD = (
    Stopped, Overloaded, MeterAway, OverBudget, NotRecorded, PolicyUnavailable, StoreError,
    UnknownIntegration,
)  # fmt: skip
_HOPELESS = frozenset({"model_mismatch", "crashed", "rejected", "provider_rejected"})
"""How attempts end that would end so again: the context does not fit, or the route's code broke."""


def verdict(error: SpliceError, record: Record | None) -> Verdict:
    """What an error means; `record` is of the call that failed with it, if there was one."""
    if isinstance(error, Draining):
        return Verdict.LEAVE
    if isinstance(error, _HELD):
        return Verdict.HOLD
    if isinstance(error, ExhaustedError):
        ended = {one.ended for one in record.attempts} if record is not None else set[str]()
        return Verdict.DEAD if ended and ended <= _HOPELESS else Verdict.RETRY
    if isinstance(error, GatherError) or error.retryable:
        return Verdict.RETRY
    return Verdict.DEAD


def reused(event: Event, answered: Inbox) -> EventReused:
    """The error of an event that has the id of another."""
    return EventReused(
        str(event.origin),
        got=f"the id of an event that call {answered.call_id} answered, with another body",
        promised="one id for one body",
        mend="give the event an id of its own, and publish it again",
    )


def died(one: Taken) -> AttemptsExhausted:
    """The error of an event whose process died with it each time."""
    return AttemptsExhausted(
        str(one.event.origin),
        got=f"{one.tries} attempts that never ended",
        promised="a call that ends",
        mend="the process that ran it died each time: look for it in its log",
    )
