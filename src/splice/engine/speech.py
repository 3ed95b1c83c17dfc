"""A speech: what is known of one conversation's call so far; becomes its record."""

from __future__ import annotations

import time

import msgspec

from splice.core.call import Attempt, Call, Problem, Reason, Record, Status, Usage
from splice.core.chat import Asked, WireReply
from splice.core.errors import RouteError, SpliceError
from splice.engine.guard import Asking
from splice.engine.infer import ANSWERED, total_cost
from splice.engine.line import Line, Picked, Step
from splice.engine.reuse import Question
from splice.engine.spend import UNKNOWN_COST, Reservation
from splice.engine.together import Turn
from splice.engine.tokens import estimate_nano
from splice.ports.providers import Provider


class Tally(msgspec.Struct, frozen=True, gc=False):
    """What a call cost and how many tokens it took, for its budgets; None where unknown."""

    cost_nano: int | None
    tokens: int | None


class Speech:
    """One call of a conversation.

    Args:
        line: The release that answers.
        call: The question as the surface received it.
        asked: Its content.
        input_tokens: At most what the request is worth.
    """

    __slots__ = (
        "asked", "asking", "attempts", "call", "input_tokens", "line", "model", "notes", "question",
        "reservation", "started", "step", "turn", "variant",
    )  # fmt: skip

    def __init__(
        self, line: Line, call: Call, asked: Asked, input_tokens: int, reservation: Reservation
    ) -> None:
        self.line, self.call, self.asked = line, call, asked
        self.input_tokens = input_tokens
        self.reservation = reservation
        self.started = time.monotonic()
        self.attempts: list[Attempt] = []
        self.step: Step | None = None
        self.notes: list[str] = [reservation.note] if reservation.note else []
        self.model = ""  # where the caller named one himself
        self.question: Question | None = None  # as it is looked up in caches; None where in none
        self.asking = None if line.guard is None else Asking(line.guard)
        self.turn: Turn | None = None  # the duty to ask for others who wait for the same
        self.variant = ""

    def pick(self, picked: Picked | None) -> None:
        """The rollout picked a variant for it."""
        if picked is not None:
            self.variant = picked.arm.name
            if picked.note:
                self.notes.append(picked.note)

    def answered(
        self, step: Step, began: float, reply: WireReply, first_token: float | None = None
    ) -> None:
        """A try gave this answer."""
        self.step = step
        first_us = None if first_token is None else int((first_token - began) * 1e6)
        self._add(step, began, ANSWERED, "", reply.usage, reply.cost_nano, first_us)
        self._note_masked(reply)

    def failed(self, step: Step, began: float, error: RouteError, provider: Provider) -> None:
        """A try failed. What it may have cost all the same is estimated where nobody told."""
        usage, cost = None, error.cost_nano
        if cost is None:
            usage, cost = self._guess(step, provider)
        self._add(step, began, error.code, str(error), usage, cost)

    def outrun(self, step: Step, began: float, provider: Provider) -> None:
        """A hedged try was overtaken by the other and stopped."""
        usage, cost = self._guess(step, provider)
        self._add(step, began, "outrun", "another try answered first", usage, cost)

    def stopped(self, step: Step, began: float, provider: Provider) -> None:
        """The caller went away before the try was over."""
        usage, cost = self._guess(step, provider)
        self._add(step, began, "cancelled", "the caller went away", usage, cost)

    def broken(
        self,
        step: Step,
        began: float,
        ended: tuple[str, str],
        reply: WireReply,
        first_token: float | None,
    ) -> None:
        """A stream ended before its time: the code and why, and what had come."""
        self.step = step
        first_us = None if first_token is None else int((first_token - began) * 1e6)
        self._add(step, began, *ended, reply.usage, reply.cost_nano, first_us)
        self._note_masked(reply)

    def unavailable(self, step: Step, code: str, why: str) -> None:
        """A route was not tried."""
        self._add(step, time.monotonic(), code, why, None, 0)

    def _note_masked(self, reply: WireReply) -> None:
        if reply.masked:
            last = self.attempts[-1]
            self.attempts[-1] = msgspec.structs.replace(last, masked=dict(reply.masked))

    def _guess(self, step: Step, provider: Provider) -> tuple[Usage, int | None]:
        usage = Usage(input_tokens=self.input_tokens, output_tokens=0, estimated=True)
        return usage, estimate_nano(provider.price(step.route.model), self.input_tokens, 0)

    def _add(
        self,
        step: Step,
        began: float,
        ended: str,
        why: str,
        usage: Usage | None,
        cost_nano: int | None,
        first_us: int | None = None,
    ) -> None:
        self.attempts.append(
            Attempt(
                step.route.label,
                ended,
                int((began - self.started) * 1e6),
                int((time.monotonic() - began) * 1e6),
                step.route.version,
                why,
                usage,
                cost_nano,
                first_us,
            )
        )

    def tally(self) -> Tally:
        """What it has cost so far."""
        tokens = 0
        for one in self.attempts:
            if one.usage is not None:
                tokens += (one.usage.input_tokens or 0) + (one.usage.output_tokens or 0)
        return Tally(total_cost(self.attempts), tokens)

    def record(
        self, status: Status, reason: Reason, reply: bytes | None, error: SpliceError | None = None
    ) -> Record:
        """The record, as of now."""
        call, step = self.call, self.step
        problem = None if error is None else Problem(error.code, error.where, error.detail)
        cost = total_cost(self.attempts)
        notes = self.notes if cost is None else [one for one in self.notes if one != UNKNOWN_COST]
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
            None,
            call.key if status is Status.ANSWERED else None,
            "" if step is None else step.route.label,
            self.variant,
            version="" if step is None else step.route.version,
            cost_nano=cost,
            input=call.body,
            attempts=tuple(self.attempts),
            reply=reply,
            problem=problem,
            trace=call.trace,
            notes=tuple(notes),
            policies=() if self.asking is None else self.asking.runs,
        )
