"""Pipelines: runs are asked for, taken up by one process, and gone through step by step.

A run is a row of the ledger, and whoever changes it names the revision that he saw. One lease an
integration lets one process work; it is renewed while a step runs. A process that was killed
leaves a run that is `running` and a lease that nobody renews: the next one goes on after the last
step that is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Literal, Protocol

import msgspec

from splice.control.schedule import due
from splice.core.errors import DeclarationError, Overtaken, RefusedError, SpliceError, StoreError
from splice.core.ids import derived_uuid7
from splice.core.pipeline import OPEN, PipelineRun, RunState, Step, StepRun
from splice.core.schedule import moment_text
from splice.declare.retrain_reading import ReadPipeline
from splice.ports.leases import LeaseStore
from splice.ports.pipelines import PipelineStore

log = logging.getLogger("splice.pipelines")

SCHEDULER = "splice scheduler"
"""Who asks for what a schedule asks for."""
LEASE_US = 60_000_000
BEAT_S = 10.0
MOST_TAKEN = 3
"""A run whose process ended so often in one step is not taken up again: it is what ends it."""


class StepEnd(msgspec.Struct, frozen=True):
    """How a step ended."""

    state: Literal["done", "failed", "refused"]
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    error: str = ""


class Executor(Protocol):
    """Does the work of a step, in a process of its own. Blocks."""

    def execute(
        self, run: PipelineRun, step: Step, left_s: float, memory_mb: int, beat: Callable[[], None]
    ) -> StepEnd:
        """Do it within `left_s`; calls `beat` every now and then, and stops where that raises."""
        ...


class Plan(msgspec.Struct, frozen=True):
    """A pipeline as it stands on the disk, with the SHA-256 of the sources that declare it."""

    pipeline: ReadPipeline
    bundle: str


class Who(msgspec.Struct, frozen=True):
    """The process that works.

    Args:
        holder: Its name, unlike that of any other process, of any machine.
        is_gone: Whether a holder is known to have ended; False where that cannot be told.
    """

    holder: str
    is_gone: Callable[[str], bool]


class Pipelines:
    """Asks for runs, takes them up, and goes through their steps.

    Args:
        store: Where runs are kept.
        leases: Lets one process work on an integration.
        executor: Does the work of a step.
        who: This process.
        clock: Unix time in microseconds.
        new_id: Gives a fresh UUIDv7.
    """

    def __init__(
        self,
        store: PipelineStore,
        leases: LeaseStore,
        executor: Executor,
        who: Who,
        clock: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._leases = leases
        self._executor = executor
        self._who = who
        self._clock = clock
        self._new_id = new_id

    def ask(self, integration: str, *, by: str, why: str, stepwise: bool = False) -> PipelineRun:
        """A run that waits to be taken up; where one waits already, that one."""
        state: RunState = "running" if stepwise else "asked"
        run = PipelineRun(
            self._new_id(), integration, state, self._clock(), by, why, stepwise=stepwise
        )
        return self._store.add_run(run, action="pipeline.ask")

    def ask_if_due(self, plan: Plan) -> PipelineRun | None:
        """The run of a schedule's newest moment, where nobody has taken that yet."""
        schedule, name = plan.pipeline.schedule, plan.pipeline.integration
        if schedule is None:
            return None
        now = self._clock()
        found = due(schedule, self._store.slot(name, schedule.text), now)
        if found.count_from_us is not None:
            if found.clock_was_set:
                log.warning(
                    "%s: the clock was set back: %s counts from now on", name, schedule.text
                )
            self._store.set_slot(name, schedule.text, found.count_from_us)
        if found.slot_us is None:
            return None
        run = PipelineRun(
            derived_uuid7(found.slot_us // 1000, name, schedule.text, str(found.slot_us)),
            name, "asked", now, SCHEDULER, f"{schedule.text}: {moment_text(found.slot_us)}",
            schedule.text, found.slot_us,
        )  # fmt: skip
        return self._store.take_slot(run, action="pipeline.ask")

    def waiting(self, integrations: Collection[str]) -> list[PipelineRun]:
        """What these integrations have to be taken up, oldest first: asked for, or left behind."""
        runs = self._store.runs(states=OPEN, limit=1000)
        return [one for one in reversed(runs) if one.integration in integrations]

    def begin(self, plan: Plan, *, by: str, why: str, resume: bool = False) -> PipelineRun:
        """A run that this process has taken up: a new one, or one that was left behind.

        Runs that were left behind are ended, unless `resume` says to go on with the newest.

        Raises:
            Overtaken: Another process works on the integration.
            DeclarationError: There is none to go on with.
        """
        name = plan.pipeline.integration
        if not self._lease(name):
            raise _busy(name)
        try:
            behind = [one for one in self._store.runs(name, ("running",)) if not one.stepwise]
            for one in behind[1:] if resume else behind:
                self._end(one, "failed", "its process ended, and another run was begun instead")
            if resume and not behind:
                raise DeclarationError(name, got="no run that was left behind")
            run = behind[0] if resume else self.ask(name, by=by, why=why)
            taken = self._taken(run, plan)
        except BaseException:
            self._let_go(name)
            raise
        if taken is None:
            raise _busy(name)
        return taken

    def take(self, run: PipelineRun, plan: Plan) -> PipelineRun | None:
        """Take a run up; None where another process works on the integration, or did it meanwhile.

        One that cannot go on is ended, and given so.
        """
        if not self._lease(run.integration):
            return None
        try:
            return self._taken(run, plan)
        except BaseException:
            self._let_go(run.integration)
            raise

    def _taken(self, run: PipelineRun, plan: Plan) -> PipelineRun | None:
        fresh = self._store.run(run.id)
        if fresh is None or fresh.state not in OPEN:
            self._let_go(run.integration)
            return None
        wrong = self._cannot(fresh, plan)
        if wrong:
            fresh = self._end(fresh, "failed", wrong)
            self._let_go(run.integration)
            return fresh
        taken = msgspec.structs.replace(
            fresh, state="running", holder=self._who.holder, taken=fresh.taken + 1,
            model=plan.pipeline.model, promote=plan.pipeline.promote, bundle=plan.bundle,
        )  # fmt: skip
        action = "pipeline.resume" if fresh.bundle else "pipeline.start"
        if fresh.bundle and fresh.stepwise:  # every step takes it up: that is no news
            action = ""
        return self._store.save_run(taken, action=action, now_us=self._clock())

    def _cannot(self, run: PipelineRun, plan: Plan) -> str:
        if run.bundle and run.bundle != plan.bundle:
            return "its sources were changed since it began, so its steps do not fit together"
        if run.taken >= MOST_TAKEN and not run.stepwise:
            step = run.steps[-1].step if run.steps else "data"
            return f"its process ended {run.taken} times in step {step}"
        if run.stepwise and self._clock() - run.asked_us > plan.pipeline.deadline_s * 1e6:
            return "no step came for so long that its deadline is over"
        return ""

    def _lease(self, integration: str) -> bool:
        name = f"retrain {integration}"
        if self._leases.take_lease(name, self._who.holder, self._clock(), LEASE_US):
            return True
        for one in self._store.runs(integration, ("running",)):
            if one.holder and self._who.is_gone(one.holder):  # no need to wait for its lease to end
                self._leases.give_lease(name, one.holder)
        return self._leases.take_lease(name, self._who.holder, self._clock(), LEASE_US)

    def _let_go(self, integration: str) -> None:
        self._leases.give_lease(f"retrain {integration}", self._who.holder)

    def go(self, run: PipelineRun, plan: Plan, told: Callable[[StepRun], None]) -> PipelineRun:
        """Go through the steps of a run that was taken up; `told` hears of each that ended.

        Raises:
            Overtaken: Another process took it up: this one's lease had run out.
            StoreError: The ledger is away; the run is taken up again when it is back.
        """
        until = time.monotonic() + plan.pipeline.deadline_s
        try:
            left = run.left(plan.pipeline.steps) if run.state == "running" else ()
            for step in left:
                run = self._do(run, plan, step, until - time.monotonic())
                if (ended := run.step(step)) is not None:
                    told(ended)
                if run.state != "running":
                    return run
            return self._end(run, "done", "") if run.state == "running" else run
        except KeyboardInterrupt:
            with suppress(SpliceError):  # what ends this process must end it
                self._end(self._fresh(run), "failed", "stopped by whoever ran it")
            raise
        except SystemExit:  # this process is asked to end: another takes the run up
            with suppress(SpliceError):
                fresh = self._fresh(run)
                left = msgspec.structs.replace(fresh, holder="", taken=fresh.taken - 1)
                self._store.save_run(left)
            raise
        finally:
            self._let_go(run.integration)

    def _fresh(self, run: PipelineRun) -> PipelineRun:
        return self._store.run(run.id) or run

    def step(self, run_id: str, step: Step, plan: Plan) -> PipelineRun:
        """One step of a run whose steps something else calls; a step that is done is left alone.

        Raises:
            DeclarationError: There is no such run, or a step before it is not done.
            Overtaken: Another process works on the integration.
        """
        run = self._store.run(run_id)
        name = plan.pipeline.integration
        if run is None or run.integration != name or not run.stepwise:
            raise DeclarationError(
                f"run {run_id[:80]}", got=f"no run of {name} that goes step by step",
                mend=f"begin one: splice retrain {name} --step data",
            )  # fmt: skip
        left = run.left(plan.pipeline.steps)
        if step not in plan.pipeline.steps or step in left[1:]:
            raise DeclarationError(
                f"run {run.id}", got=f"step {step}",
                promised=f"{left[0] if left else 'none'}, the next of "
                f"{', '.join(plan.pipeline.steps)}",
            )  # fmt: skip
        found = run.step(step)
        if found is not None and found.state == "done":
            return run
        if run.state == "failed":  # it is tried again
            run = self._store.save_run(
                msgspec.structs.replace(run, state="running", error="", ended_us=0)
            )
        taken = self.take(run, plan)
        if taken is None:
            raise _busy(name)
        try:
            if taken.state == "running":
                taken = self._do(taken, plan, step, plan.pipeline.deadline_s)
            if taken.state == "running" and not taken.left(plan.pipeline.steps):
                taken = self._end(taken, "done", "")
            return taken
        finally:
            self._let_go(name)

    def _do(self, run: PipelineRun, plan: Plan, step: Step, left_s: float) -> PipelineRun:
        began = self._clock()
        run = self._store.save_run(run.with_step(StepRun(step, "running", began)))
        beat = self._beat(run.integration)
        end = self._executor.execute(run, step, left_s, plan.pipeline.memory_mb, beat)
        ended = StepRun(step, end.state, began, self._clock(), end.inputs, end.outputs, end.error)
        run = run.with_step(ended)
        if end.state == "done":
            return self._store.save_run(msgspec.structs.replace(run, taken=1))
        return self._end(run, end.state, f"{step}: {end.error}")

    def _beat(self, integration: str) -> Callable[[], None]:
        """Renews the lease, every now and then."""
        due_at = [time.monotonic() + BEAT_S]

        def beat() -> None:
            if time.monotonic() < due_at[0]:
                return
            due_at[0] = time.monotonic() + BEAT_S
            name, holder = f"retrain {integration}", self._who.holder
            try:
                held = self._leases.take_lease(name, holder, self._clock(), LEASE_US)
            except StoreError as error:  # the work goes on; saving it names the revision anyway
                log.warning("%s: its lease is not renewed: %s", integration, error)
                return
            if not held:
                raise Overtaken(integration, got="a lease that another process holds by now")

        return beat

    def _end(
        self, run: PipelineRun, state: Literal["done", "failed", "refused"], error: str
    ) -> PipelineRun:
        now = self._clock()
        steps = tuple(
            msgspec.structs.replace(one, state="failed", ended_us=now, error=error)
            if one.state == "running"
            else one
            for one in run.steps
        )
        ended = msgspec.structs.replace(
            run, state=state, error=error, ended_us=now, holder="", steps=steps
        )
        return self._store.save_run(ended, action=f"pipeline.{state}", now_us=now)

    def look(self, plans: dict[str, Plan], told: Callable[[PipelineRun, StepRun], None]) -> int:
        """Do what is due, asked for or left behind, one after the other; gives how many ran."""
        for plan in plans.values():
            self.ask_if_due(plan)
        ran = 0
        for run in self.waiting(plans):
            plan = plans[run.integration]
            if run.stepwise and not self._cannot(run, plan):
                continue  # whoever calls its steps goes on with it
            taken = self.take(run, plan)
            if taken is None:
                continue
            ran += 1
            if taken.state == "running":
                try:
                    taken = self.go(taken, plan, lambda step, run=taken: told(run, step))
                except RefusedError as error:  # another process was faster
                    log.warning("%s: run %s left: %s", run.integration, run.id, error)
                    continue
            log.log(
                logging.INFO if taken.state == "done" else logging.WARNING,
                "%s: run %s %s%s", taken.integration, taken.id, taken.state,
                f": {taken.error}" if taken.error else "",
            )  # fmt: skip
        return ran


def _busy(name: str) -> Overtaken:
    return Overtaken(
        name, got="another run of it, which is going on", promised="one at a time",
        mend=f"splice retrain list {name}",
    )  # fmt: skip
