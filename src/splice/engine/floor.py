"""What every way of a call stands on: admission, budgets, reuse, sealing, recording."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from splice.core.access import ANYONE, Budget
from splice.core.call import Call, Outcome, Problem, Reason, Record, Status
from splice.core.errors import (
    MeterAway,
    NotRecorded,
    OverBudget,
    RefusedError,
    SpliceError,
    UnknownIntegration,
)
from splice.core.ids import uuid7
from splice.engine import observe
from splice.engine.admit import Claims, may_enter, not_loaded
from splice.engine.guard_record import without_refused
from splice.engine.keyring import Keyring, may_call
from splice.engine.line import Line, Picked
from splice.engine.live import LiveStream
from splice.engine.record import Recorder, not_recorded
from splice.engine.reuse import Reuse
from splice.engine.shadows import Shadows
from splice.engine.spend import NO_RESERVATION, Purse, Reservation
from splice.ports.features import FeatureStore
from splice.ports.stores import RecordStore
from splice.ports.telemetry import Tracer

_RECORD_SECONDS = 5.0
"""A high-risk call waits at least this long for its commit, even at the end of its deadline: an
answer that is ready is worth the wait, and a hung disk must still give the caller a word."""


_LONG = 16_384
"""Bytes of text that are masked in the event loop: about a millisecond's work."""


def _random_id() -> str:
    return uuid7(time.time_ns() // 1_000_000, secrets.randbits(74))


class Floor:
    """The stations that typed calls and conversations share.

    Args:
        records: The ledger, for idempotency keys.
        recorder: Takes finished calls to the ledger.
        features: What `context()` can look up; None where nothing is configured.
        tracer: Is told of finished calls; None where no endpoint is set.
        max_in_flight: Calls at once; beyond it new ones are refused.
        keyring: Who may ask; nobody is asked for a key where it is left out.
        purse: Budgets and rate limits; none where it is left out.
        reuse: Caches; none where it is left out.
        new_id: Makes call ids, for shadows.
    """

    def __init__(
        self,
        records: RecordStore,
        recorder: Recorder,
        *,
        features: FeatureStore | None = None,
        tracer: Tracer | None = None,
        max_in_flight: int = 1000,
        keyring: Keyring | None = None,
        purse: Purse | None = None,
        reuse: Reuse | None = None,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        self._claims = Claims(records)
        self._features = features
        self._tracer = tracer
        self._max_in_flight = max_in_flight
        self.recorder = recorder
        self.keyring = keyring or Keyring(mode="open")
        self.purse = purse
        self.reuse = reuse or Reuse()
        self.metrics = observe.Metrics()
        self.lines: dict[str, Line] = {}
        self.broken: dict[str, str] = {}  # integration to why its live release cannot be loaded
        self.in_flight: int = 0
        self.streams: set[LiveStream] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.shadows = Shadows(self, new_id)

    def line(self, integration: str) -> Line:
        """The live line of an integration.

        Raises:
            NotLoaded: Its live release could not be loaded, and nothing was before.
            UnknownIntegration: It has no live release here.
        """
        line = self.lines.get(integration)
        if line is None:
            if integration in self.broken:
                raise not_loaded(integration)
            known = ", ".join(sorted(self.lines))
            raise UnknownIntegration(
                integration[:80],
                got=f"no live release {'of that name' if known else 'of any name'}",
                promised=f"one of {known}" if known else "",
                mend=f"splice release {'list shows what is live' if known else 'apply makes one'}",
            )
        return line

    def recorded(self, outcome: Outcome) -> Outcome:
        """An outcome as it joins the records of its integration, whose entities may be masked."""
        line = self.lines.get(outcome.integration)
        if line is None or line.seal is None or outcome.entity is None:
            return outcome
        return msgspec.structs.replace(outcome, entity=line.seal.entity(outcome.entity))

    def admit(self, line: Line, call: Call) -> None:
        """Passes a call that may run now.

        Raises:
            NotAllowed: The key does not reach this integration.
            Stopped: An operator switched the integration off.
            Overloaded: Too many calls are in flight, or too many wait to be recorded.
        """
        if call.principal is not ANYONE:
            may_call(call.principal, line.name)
        may_enter(line, self.recorder, self.in_flight, self._max_in_flight)

    async def picked(self, line: Line, call: Call, who: str | None) -> Picked | None:
        """The variant of a call about somebody; None where its release has only its own routes."""
        split = line.split
        if split is None:
            return None
        held = None if who is None else split.held(who)
        if held is not None:  # whatever a share or a flag says
            return Picked(held)
        who = who or call.id
        if not split.waits:
            return Picked(split.arm(who))
        facts = {"integration": line.name, "caller": call.caller, "surface": call.surface}
        return await split.flagged(who, facts)

    def counts(self, line: Line, call: Call) -> bool:
        """Whether this call falls under any budget or limit."""
        if self.purse is None:
            return False
        return self.purse.counts(call.principal, line.name, line.declaration.options.budgets)

    async def reserve(
        self, line: Line, call: Call, estimate_nano: int | None, tokens: int
    ) -> Reservation:
        """Room in every budget and limit that this call falls under.

        Raises:
            OverBudget: A budget has no room; that is recorded.
            RateLimited: The key asked too much for a minute.
            MeterAway: Budgets cannot be checked, and unchecked calls are refused; recorded.
        """
        purse = self.purse
        budgets: tuple[Budget, ...] = line.declaration.options.budgets
        if purse is None:
            return NO_RESERVATION
        try:
            return await purse.reserve(call.principal, line.name, budgets, estimate_nano, tokens)
        except BaseException as error:
            if isinstance(error, (OverBudget, MeterAway)):
                reason = Reason.OVER_BUDGET if isinstance(error, OverBudget) else Reason.METER_AWAY
                self._refused(line, call, error, reason)
            # It holds its idempotency key already: whoever comes next with it need not wait.
            await self.end_claim(call, answered=False)
            raise

    def refused(self, integration: str, error: SpliceError) -> None:
        """Count a request that never became a call."""
        self.metrics.add(observe.REFUSED, (integration, error.code))

    def _refused(self, line: Line, call: Call, error: RefusedError, reason: Reason) -> None:
        record = Record(
            call.id,
            line.name,
            line.release.number,
            call.asked_us,
            0,
            Status.REFUSED,
            reason,
            call.surface,
            call.caller,
            cost_nano=0,
            problem=Problem(error.code, error.where, error.detail),
            trace=call.trace,
        )
        self.metrics.called(record)
        self.recorder.put(record)

    async def finish(self, line: Line, call: Call, record: Record) -> NotRecorded | None:
        """Seal, record, count and trace a call that ended.

        Returns the error that the caller gets in place of his answer where it had to be recorded
        first (high risk, or an idempotency key) and could not be; else None.
        """
        kept = await self.sealed(line, record) if _changes(line, record) else record
        error: NotRecorded | None = None
        if line.durable or call.key is not None:
            left = line.deadline_s - record.duration_us / 1e6
            try:
                await self.recorder.commit(kept, max(left, _RECORD_SECONDS))
            except NotRecorded as failure:
                kept, error = not_recorded(kept, failure), failure
        else:
            self.recorder.put(kept)
        self.told(kept)
        return error

    def told(self, *records: Record) -> None:
        """Count and trace calls that ended; several, if they did in the same way and time."""
        self.metrics.called(records[0], len(records))
        for run in records[0].policies:
            self.metrics.add(observe.POLICIES, (records[0].integration, run.policy, run.did))
        if self._tracer is not None:
            for record in records:
                self._tracer.finished(record)

    async def sealed(self, line: Line, record: Record) -> Record:
        """The record as it is kept."""
        if record.reason is Reason.POLICY and line.guard is not None:
            record = await _in_place(record, partial(without_refused, guard=line.guard))
        return record if line.seal is None else await _in_place(record, line.seal.sealed)

    def finish_now(self, line: Line, record: Record) -> None:
        """The same for a call whose caller is gone: nobody waits for a commit."""
        if _changes(line, record):
            self.in_background(self._finish_sealed(line, record))
            return
        self._written(record)

    async def _finish_sealed(self, line: Line, record: Record) -> None:
        self._written(await self.sealed(line, record))

    def _written(self, record: Record) -> None:
        self.recorder.put(record)
        self.told(record)

    async def claimed(self, line: Line, call: Call, key: str) -> Record | None:
        """The record of the call that had this idempotency key first; None where this one runs."""
        self.in_flight += 1  # it waits for another call, and takes as much room as one that runs
        try:
            return await self._claims.take(line, call, key)
        finally:
            self.in_flight -= 1

    async def end_claim(self, call: Call, *, answered: bool, unsure: bool = False) -> None:
        """The call of an idempotency key is over.

        Whether a late commit still stores an answer nobody can tell (`unsure`): then the lease ends
        the claim, for a second execution would be worse than a wait.
        """
        key = call.key
        if key is None:
            return
        if answered or unsure:
            self._claims.ended(call, key)
            return
        try:
            await self._claims.give_back(call, key)
        except SpliceError:  # the lease will end it
            self._claims.ended(call, key)

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on whatever becomes of its caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def cut_off(self, error: SpliceError) -> None:
        """End every stream that still runs; whoever reads one gets the error."""
        for one in list(self.streams):
            one.cut_off(error, Reason.BROKEN)

    async def rest(self) -> None:
        """Return once nothing goes on in the background."""
        while self._background:
            await asyncio.wait(list(self._background))


def _changes(line: Line, record: Record) -> bool:
    """Whether the record that is kept is another."""
    return line.seal is not None or record.reason is Reason.POLICY


async def _in_place(record: Record, mask: Callable[[Record], Record]) -> Record:
    """A record masked. Long texts are masked in a thread: nobody else waits for them."""
    if len(record.input) + len(record.reply or b"") < _LONG:
        return mask(record)
    return await asyncio.to_thread(mask, record)
