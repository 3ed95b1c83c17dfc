"""Run: what is known of a call while it runs; at its end it becomes the record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from splice.core.call import Attempt, Call, Gathered, Problem, Reason, Record, Status
from splice.core.errors import SpliceError
from splice.engine.guard import Asking
from splice.engine.infer import total_cost
from splice.engine.line import Line, Picked
from splice.engine.routing.prompted import output_plain

encode = msgspec.json.Encoder(enc_hook=str).encode
_PLAIN = (str, int, float, bool)


class Answered(msgspec.Struct, gc=False):
    """What a surface hands back: the record, and the error where there is no reply.

    `context` is there where a shadow wants it, and `kept` (the record as it is to be stored) where
    the surface stores it.
    """

    record: Record
    error: SpliceError | None = None
    context: Mapping[str, Any] | None = None  # of whatever types the routes read
    kept: Record | None = None


class Kept(msgspec.Struct, gc=False):
    """What a cache keeps of an answer."""

    route: str
    version: str
    reply: bytes
    prediction: bytes


class Run:
    """What is known of a call so far; becomes its record."""

    __slots__ = (
        "asking", "attempts", "call", "context", "entity", "gathered", "line", "notes",
        "prediction", "route", "started", "variant", "version",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        call: Call,
        entity: str | None,
        started: float,
        picked: Picked | None = None,
    ) -> None:
        self.line, self.call, self.entity, self.started = line, call, entity, started
        self.variant = "" if picked is None else picked.arm.name
        self.notes: tuple[str, ...] = (picked.note,) if picked is not None and picked.note else ()
        self.asking = None if line.guard is None else Asking(line.guard)
        self.gathered: list[Gathered] = []
        self.attempts: list[Attempt] = []
        self.context: bytes | None = None
        self.prediction: bytes | None = None
        self.route = self.version = ""

    def record(
        self, status: Status, reason: Reason, reply: bytes | None, problem: Problem | None = None
    ) -> Record:
        """The record, as of now."""
        call = self.call
        return Record(
            call.id,
            call.integration,
            self.line.release.number,
            call.asked_us,
            int((time.monotonic() - self.started) * 1e6),
            status,
            reason,
            call.surface,
            call.caller,
            self.entity,
            call.key if status is Status.ANSWERED else None,
            self.route,
            self.variant,
            self.version,
            cost_nano=total_cost(self.attempts),
            input=call.body,
            gathered=tuple(self.gathered),
            context=self.context,
            attempts=tuple(self.attempts),
            prediction=self.prediction,
            reply=reply,
            problem=problem,
            trace=call.trace,
            notes=self.notes,
            policies=() if self.asking is None else self.asking.runs,
        )

    def kept(self, kept: Kept) -> Answered:
        """The call is answered by what was kept of an earlier one."""
        self.route, self.version, self.prediction = kept.route, kept.version, kept.prediction
        self.asking = None  # the policies were asked when it was answered first
        return Answered(self.record(Status.ANSWERED, Reason.CACHED, kept.reply))

    def refused(self, error: SpliceError) -> Answered:
        """A policy ended the call. What a model had said is not kept: it may be what it says."""
        self.prediction = None
        problem = Problem(error.code, error.where, error.detail)
        return Answered(self.record(Status.REFUSED, Reason.POLICY, None, problem), error)

    def failed(self, error: SpliceError, reason: Reason) -> Answered:
        """The call ended without a reply."""
        problem = Problem(error.code, error.where, error.detail)
        return Answered(self.record(Status.FAILED, reason, None, problem), error)


def plain(prediction: Any) -> Any:  # of whatever type a model answers
    """The prediction as JSON can hold it."""
    value = prediction.value
    if value is None or isinstance(value, _PLAIN):
        return prediction
    return msgspec.structs.replace(prediction, value=output_plain(value))
