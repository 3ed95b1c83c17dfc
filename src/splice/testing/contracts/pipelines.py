"""What every PipelineStore and every PipelineCompiler must hold to.

Inherit a contract. `PipelineStoreContract` wants the fixtures `pipelines` and `audit`, the stores
of one empty ledger; `PipelineCompilerContract` wants `compiler` and `target`, one that it can
compile for.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from splice.core.audit import first_broken
from splice.core.errors import DeclarationError, Overtaken
from splice.core.pipeline import STEPS, PipelineRun, RunState, StepRun
from splice.ports.audit import AuditLog
from splice.ports.pipelines import PipelineCompiler, PipelineShape, PipelineStore, Target

NOW_US = 1_795_000_000_000_000


def run_of(number: int, state: RunState = "asked", integration: str = "credit") -> PipelineRun:
    """A run that was asked for so many microseconds later."""
    return PipelineRun(
        f"run-{integration}-{number:03}", integration, state, NOW_US + number, "ada", "drift ✗"
    )


def slot_run(number: int, slot_us: int) -> PipelineRun:
    """A run for a moment of a schedule."""
    run = run_of(number)
    return msgspec.structs.replace(run, schedule="every 7 d", slot_us=slot_us)


class PipelineStoreContract:
    """Runs come back as they were, one revision after the other. Fixtures: `pipelines`, `audit`."""

    def test_a_run_comes_back_with_its_steps(self, pipelines: PipelineStore) -> None:
        run = pipelines.add_run(run_of(1), action="pipeline.ask")
        step = StepRun("data", "done", 5, 9, {"why": "x"}, {"sha256": "a" * 64, "rows": 3})
        saved = pipelines.save_run(run.with_step(step))

        assert pipelines.run(run.id) == saved
        assert saved.data_sha256 == "a" * 64
        assert (run.revision, saved.revision) == (1, 2)
        assert pipelines.run("run-of-nobody") is None

    def test_who_changes_what_he_has_not_seen_is_overtaken(self, pipelines: PipelineStore) -> None:
        run = pipelines.add_run(run_of(1), action="pipeline.ask")
        mine = msgspec.structs.replace(run, state="running")
        pipelines.save_run(mine)

        with pytest.raises(Overtaken):
            pipelines.save_run(msgspec.structs.replace(run, state="failed"))
        with pytest.raises(Overtaken):
            pipelines.save_run(run_of(2))

        assert [one.state for one in pipelines.runs()] == ["running"]

    def test_a_run_that_waits_is_not_doubled(self, pipelines: PipelineStore) -> None:
        first = pipelines.add_run(run_of(1), action="pipeline.ask")

        again = pipelines.add_run(run_of(2), action="pipeline.ask")
        other = pipelines.add_run(run_of(3, integration="churn"), action="pipeline.ask")
        pipelines.save_run(msgspec.structs.replace(first, state="running"))
        later = pipelines.add_run(run_of(4), action="pipeline.ask")

        assert again.id == first.id
        assert {other.id, later.id, first.id} == {one.id for one in pipelines.runs()}

    def test_runs_come_newest_first_by_integration_and_state(
        self, pipelines: PipelineStore
    ) -> None:
        for number, state in enumerate(("done", "running", "asked", "refused")):
            pipelines.add_run(run_of(number, state), action="x")  # type: ignore[arg-type]
        pipelines.add_run(run_of(9, "done", "churn"), action="x")

        def numbers(found: list[PipelineRun]) -> list[int]:
            return [int(one.id[-3:]) for one in found]

        assert numbers(pipelines.runs()) == [9, 3, 2, 1, 0]
        assert numbers(pipelines.runs("credit", ("asked", "running"))) == [2, 1]
        assert numbers(pipelines.runs(states=("done",), limit=1)) == [9]

    def test_a_moment_of_a_schedule_is_taken_once(self, pipelines: PipelineStore) -> None:
        def take(number: int) -> PipelineRun | None:
            return pipelines.take_slot(slot_run(number, 700), action="pipeline.ask")

        with ThreadPoolExecutor(8) as pool:
            got = [one for one in pool.map(take, range(8)) if one is not None]

        assert len(got) == 1
        assert pipelines.slot("credit", "every 7 d") == 700
        assert pipelines.slot("credit", "every 6 d") is None
        assert [one.id for one in pipelines.runs()] == [got[0].id]

    def test_an_older_moment_is_over_and_a_newer_one_is_not(self, pipelines: PipelineStore) -> None:
        pipelines.set_slot("credit", "every 7 d", 700)

        assert pipelines.take_slot(slot_run(1, 699), action="x") is None
        assert pipelines.take_slot(slot_run(2, 701), action="x") is not None

    def test_a_run_of_the_same_id_is_not_begun_again(self, pipelines: PipelineStore) -> None:
        run = pipelines.take_slot(slot_run(1, 700), action="x")
        assert run is not None
        pipelines.save_run(msgspec.structs.replace(run, state="done"))
        pipelines.set_slot("credit", "every 7 d", 0)  # a clock was set back

        assert pipelines.take_slot(slot_run(1, 700), action="x") is None

    def test_changes_are_told_in_the_audit_log(
        self, pipelines: PipelineStore, audit: AuditLog
    ) -> None:
        run = pipelines.add_run(run_of(1), action="pipeline.ask")
        step = StepRun("train", "failed", 5, 9, error="ValueError: Mrs Miller of Main Street")
        run = pipelines.save_run(run.with_step(step))
        failed = msgspec.structs.replace(run, state="failed", error="train: Mrs Miller")
        pipelines.save_run(failed, action="pipeline.failed", now_us=77)

        events = audit.events(subject="credit")
        assert [(one.action, one.by, one.at_us) for one in events] == [
            ("pipeline.ask", "ada", NOW_US + 1),
            ("pipeline.failed", "ada", 77),
        ]
        assert events[1].details == {"run": run.id, "failed": "train"}
        assert first_broken(audit.events()) is None


class PipelineCompilerContract:
    """A pipeline is described as a whole, and always the same. Fixtures: `compiler`, `target`."""

    shape = PipelineShape("credit-decision", STEPS, 'Trains "credit" anew: {all} of it.')

    def test_it_has_the_steps_of_the_pipeline_and_no_other(
        self, compiler: PipelineCompiler, target: Target
    ) -> None:
        whole = compiler.compile(self.shape, target)
        short = compiler.compile(msgspec.structs.replace(self.shape, steps=STEPS[:3]), target)

        assert [step for step in STEPS if step not in whole] == []
        assert [step for step in STEPS if step not in short] == ["validate", "promote"]
        assert "credit-decision" in short

    def test_the_same_pipeline_is_the_same_text(
        self, compiler: PipelineCompiler, target: Target
    ) -> None:
        assert compiler.compile(self.shape, target) == compiler.compile(self.shape, target)

    def test_what_it_cannot_compile_for_is_refused(
        self, compiler: PipelineCompiler, target: Target
    ) -> None:
        with pytest.raises(DeclarationError):
            compiler.compile(self.shape, msgspec.structs.replace(target, runner="abacus"))
