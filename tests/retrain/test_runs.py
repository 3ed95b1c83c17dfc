"""Runs: taken up by one process, gone through in order, and never left hanging."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import msgspec
import pytest
from retrain_house import DAY_US, SUNDAY_US, Clock, Killed, Scripted, Worker, busy, plan

from splice.adapters.ledgers.sql import Ledger
from splice.control import pipelines
from splice.control.pipelines import LEASE_US, MOST_TAKEN, SCHEDULER, StepEnd
from splice.core.errors import DeclarationError, Overtaken, StoreError
from splice.core.pipeline import STEPS, PipelineRun

NAME = "credit-decision"


def dies() -> StepEnd:
    raise Killed


def killed_at(step: str, ledger: Ledger, clock: Clock) -> Worker:
    """A worker that was killed in that step: its lease stays."""
    worker = Worker(ledger, clock, "killed", script=Scripted(**{step: dies}))
    taken = worker.runs.begin(plan(), by="ada", why="")
    kept = worker.runs._let_go  # pyright: ignore[reportPrivateUsage] - the dead give nothing back
    worker.runs._let_go = lambda _: None  # type: ignore[method-assign]
    with pytest.raises(Killed):
        worker.runs.go(taken, plan(), lambda _: None)
    worker.runs._let_go = kept  # type: ignore[method-assign]
    return worker


def only(ledger: Ledger) -> PipelineRun:
    (found,) = ledger.pipelines.runs()
    return found


def actions(ledger: Ledger) -> list[str]:
    return [one.action for one in ledger.audit.events(subject=NAME)]


def test_a_run_does_its_steps_in_order_and_names_what_came_out(ledger: Ledger) -> None:
    worker = Worker(ledger, Clock(), script=Scripted())

    run = worker.whole(plan(), "drift")

    assert worker.script.done == list(STEPS)
    assert (run.state, run.version, run.tracked, run.bundle) == (
        "done",
        "credit@2",
        "files:1",
        "b1",
    )
    assert run.data_sha256 == "d" * 64
    assert only(ledger) == run
    assert actions(ledger) == ["pipeline.ask", "pipeline.start", "pipeline.done"]


def test_a_pipeline_that_never_promotes_ends_when_it_has_registered(ledger: Ledger) -> None:
    worker = Worker(ledger, Clock(), script=Scripted())

    run = worker.whole(plan(promote="never"))

    assert worker.script.done == ["data", "train", "register"]
    assert run.state == "done"


def test_a_refused_step_ends_the_run_and_says_what_refused_it(ledger: Ledger) -> None:
    refused = StepEnd("refused", error="credit@2: got AtLeast auc: 0.7")
    worker = Worker(ledger, Clock(), script=Scripted(validate=refused))

    run = worker.whole(plan())

    assert worker.script.done == ["data", "train", "register", "validate"]
    assert (run.state, run.version) == ("refused", "credit@2")
    assert run.error == "validate: credit@2: got AtLeast auc: 0.7"
    assert actions(ledger)[-1] == "pipeline.refused"


def test_while_one_runs_nobody_else_does(ledger: Ledger) -> None:
    clock = Clock()
    other = Worker(ledger, clock, "other", script=Scripted())
    seen: list[bool] = []

    def look() -> StepEnd:
        seen.append(busy(lambda: other.whole(plan())))
        seen.append(other.look(plan()) == 0)
        return StepEnd("done")

    worker = Worker(ledger, clock, script=Scripted(data=look))
    assert worker.whole(plan()).state == "done"

    assert seen == [True, True]
    assert other.script.done == []


@pytest.mark.parametrize("step", STEPS)
def test_a_run_killed_in_a_step_goes_on_after_the_last_that_is_done(
    ledger: Ledger, step: str
) -> None:
    clock = Clock()
    killed_at(step, ledger, clock)
    next_one = Worker(ledger, clock, "next", script=Scripted())

    assert next_one.look(plan()) == 0, "the lease of the killed one holds still"
    clock.at_us += LEASE_US + 1
    assert next_one.look(plan()) == 1

    assert next_one.script.done == list(STEPS[STEPS.index(step) :])  # type: ignore[arg-type]
    assert only(ledger).state == "done"
    assert "pipeline.resume" in actions(ledger)


def test_one_known_to_be_gone_is_not_waited_for(ledger: Ledger) -> None:
    clock = Clock()
    killed_at("train", ledger, clock)
    next_one = Worker(ledger, clock, "next", script=Scripted())
    next_one.gone = {"killed"}

    assert next_one.look(plan()) == 1

    assert next_one.script.done == ["train", "register", "validate", "promote"]


def test_a_run_that_ends_every_process_is_given_up(ledger: Ledger) -> None:
    clock = Clock()
    for attempt in range(MOST_TAKEN):
        worker = Worker(ledger, clock, f"w{attempt}", script=Scripted(train=dies))
        if attempt == 0:
            worker.runs.ask(NAME, by="ada", why="")
        with pytest.raises(Killed):
            worker.look(plan())
        clock.at_us += LEASE_US + 1
    last = Worker(ledger, clock, "last", script=Scripted())

    assert last.look(plan()) == 1

    run = only(ledger)
    assert run.state == "failed"
    assert "ended 3 times in step train" in run.error
    assert run.step("train").state == "failed"  # type: ignore[union-attr]
    assert last.script.done == []


def test_one_that_slept_through_its_lease_records_nothing(ledger: Ledger) -> None:
    clock = Clock()
    other = Worker(ledger, clock, "other", script=Scripted())

    def sleep() -> StepEnd:
        clock.at_us += LEASE_US + 1
        assert other.look(plan()) == 1
        return StepEnd("done", outputs={"version": "credit@666"})

    slow = Worker(ledger, clock, "slow", script=Scripted(register=sleep))
    with pytest.raises(Overtaken):
        slow.whole(plan())

    assert (only(ledger).state, only(ledger).version) == ("done", "credit@2")
    assert slow.script.done == ["data", "train", "register"]


class Leases:
    """A LeaseStore whose ledger goes away after it was asked once."""

    def __init__(self, ledger: Ledger) -> None:
        self._leases = ledger.leases
        self.asked = 0

    def take_lease(self, *given: Any) -> bool:
        self.asked += 1
        if self.asked > 1:
            raise StoreError("ledger", got="nobody there")
        return self._leases.take_lease(*given)

    def give_lease(self, *given: Any) -> None:
        self._leases.give_lease(*given)


def test_a_lease_that_cannot_be_renewed_stops_no_training(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "BEAT_S", 0.0)
    worker = Worker(ledger, Clock(), script=Scripted())
    leases = Leases(ledger)
    worker.runs._leases = leases  # pyright: ignore[reportPrivateUsage]

    assert worker.whole(plan()).state == "done"
    assert leases.asked > len(STEPS)


def test_who_sees_that_another_has_his_lease_stops_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "BEAT_S", 0.0)
    clock = Clock()

    def steal() -> StepEnd:
        clock.at_us += LEASE_US + 1
        assert ledger.leases.take_lease(f"retrain {NAME}", "thief", clock.at_us, LEASE_US)
        return StepEnd("done", outputs={"sha256": "f" * 64, "name": "x"})

    worker = Worker(ledger, clock, script=Scripted(data=steal))
    with pytest.raises(Overtaken):
        worker.whole(plan())

    assert worker.script.done == ["data", "train"]
    assert only(ledger).step("train").state == "running"  # type: ignore[union-attr]


def test_sources_that_changed_meanwhile_end_a_run_that_was_left(ledger: Ledger) -> None:
    clock = Clock()
    killed_at("train", ledger, clock)
    next_one = Worker(ledger, clock, "next", script=Scripted())
    next_one.gone = {"killed"}

    next_one.look(plan(bundle="b2"))

    assert only(ledger).state == "failed"
    assert "its sources were changed" in only(ledger).error
    assert next_one.script.done == []


def test_stopped_by_a_person_it_failed_and_asked_to_end_it_is_left_for_another(
    ledger: Ledger,
) -> None:
    def stopped() -> StepEnd:
        raise KeyboardInterrupt

    def ending() -> StepEnd:
        raise SystemExit(0)

    clock = Clock()
    with pytest.raises(KeyboardInterrupt):
        Worker(ledger, clock, script=Scripted(train=stopped)).whole(plan())
    assert (only(ledger).state, only(ledger).steps[-1].state) == ("failed", "failed")

    clock.at_us += 1
    with pytest.raises(SystemExit):
        Worker(ledger, clock, "b", script=Scripted(train=ending)).whole(plan())
    for _ in range(5):  # more often than a run may end its process
        with pytest.raises(SystemExit):
            Worker(ledger, clock, "c", script=Scripted(train=ending)).look(plan())
    assert Worker(ledger, clock, "d", script=Scripted()).look(plan()) == 1

    assert [one.state for one in ledger.pipelines.runs()] == ["done", "failed"]


def test_a_new_run_ends_one_that_was_left_behind_unless_it_is_to_go_on(ledger: Ledger) -> None:
    clock = Clock()
    killed_at("register", ledger, clock)
    clock.at_us += LEASE_US + 1
    worker = Worker(ledger, clock, script=Scripted())

    resumed = worker.runs.begin(plan(), by="bob", why="", resume=True)
    worker.runs.go(resumed, plan(), lambda _: None)
    assert worker.script.done == ["register", "validate", "promote"]
    with pytest.raises(DeclarationError):
        worker.runs.begin(plan(), by="bob", why="", resume=True)

    killed_at("register", ledger, clock)
    clock.at_us += LEASE_US + 1
    assert worker.whole(plan()).state == "done"
    assert sorted(one.state for one in ledger.pipelines.runs()) == ["done", "done", "failed"]


def test_what_is_asked_for_twice_runs_once(ledger: Ledger) -> None:
    worker = Worker(ledger, Clock(), script=Scripted())

    first = worker.runs.ask(NAME, by="monitor", why="drift of amount")
    second = worker.runs.ask(NAME, by="monitor", why="drift of age")

    assert first.id == second.id
    assert worker.look(plan()) == 1
    assert worker.look(plan()) == 0


def test_a_schedule_runs_once_a_moment_with_two_watchers_and_restarts(ledger: Ledger) -> None:
    clock = Clock(SUNDAY_US - DAY_US)
    weekly = plan(schedule="Sun 03:00")
    ran: list[int] = []

    for day in range(30):
        clock.at_us = SUNDAY_US - DAY_US + day * DAY_US
        for name in ("a", "b"):  # each is a process that has just been started
            ran += [day] * Worker(ledger, clock, name, script=Scripted()).look(weekly)

    assert ran == [1, 8, 15, 22, 29]
    newest = ledger.pipelines.runs()[0]
    assert (newest.by, newest.schedule) == (SCHEDULER, "Sun 03:00")
    assert newest.why == "Sun 03:00: 2026-12-27 03:00 UTC"


def test_of_two_watchers_at_once_one_runs_what_is_asked_for(ledger: Ledger) -> None:
    clock = Clock()
    start = Barrier(4)
    workers = [Worker(ledger, clock, f"w{i}", script=Scripted()) for i in range(4)]
    weekly = plan(schedule="every 7 d")
    workers[0].look(weekly)
    clock.at_us += 7 * DAY_US

    def look(worker: Worker) -> int:
        start.wait()
        return worker.look(weekly)

    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(look, workers))

    assert sum(ran) == 1
    assert [step for worker in workers for step in worker.script.done] == list(STEPS)


def test_missed_moments_are_made_up_for_once(ledger: Ledger) -> None:
    clock = Clock()
    weekly = plan(schedule="Sun 03:00")
    worker = Worker(ledger, clock, script=Scripted())
    assert worker.look(weekly) == 0, "a schedule counts from when it is first seen"

    clock.at_us += 25 * DAY_US
    assert [worker.look(weekly) for _ in range(3)] == [1, 0, 0]

    assert only(ledger).slot_us == SUNDAY_US + 21 * DAY_US


def test_a_clock_set_back_repeats_nothing(ledger: Ledger) -> None:
    clock = Clock()
    weekly = plan(schedule="Sun 03:00")
    worker = Worker(ledger, clock, script=Scripted())
    worker.look(weekly)
    for days in (7, 14):
        clock.at_us = SUNDAY_US + days * DAY_US
        assert worker.look(weekly) == 1

    for days in (13, 9, 5, 7, 12, 14, 20):
        clock.at_us = SUNDAY_US + days * DAY_US
        assert worker.look(weekly) == 0
    clock.at_us = SUNDAY_US + 21 * DAY_US

    assert worker.look(weekly) == 1


def test_another_projects_runs_are_left_alone(ledger: Ledger) -> None:
    worker = Worker(ledger, Clock(), script=Scripted())
    worker.runs.ask("somebody-elses", by="ada", why="")

    assert worker.look(plan()) == 0
    assert only(ledger).state == "asked"


class TestStepByStep:
    """Runs whose steps another system calls."""

    def test_steps_are_done_in_their_order_and_each_once(self, ledger: Ledger) -> None:
        worker = Worker(ledger, Clock(), script=Scripted())
        run = worker.runs.ask(NAME, by="kfp", why="", stepwise=True)

        with pytest.raises(DeclarationError, match="step train"):
            worker.runs.step(run.id, "train", plan())
        for step in STEPS:
            worker.runs.step(run.id, step, plan())
            run = worker.runs.step(run.id, step, plan())  # a retry of what is done

        assert worker.script.done == list(STEPS)
        assert run.state == "done"
        assert actions(ledger) == ["pipeline.ask", "pipeline.start", "pipeline.done"]

    def test_a_step_that_failed_may_be_tried_again(self, ledger: Ledger) -> None:
        worker = Worker(ledger, Clock(), script=Scripted(data=StepEnd("failed", error="away")))
        run = worker.runs.ask(NAME, by="kfp", why="", stepwise=True)
        assert worker.runs.step(run.id, "data", plan()).state == "failed"

        worker.script.ends.clear()

        assert worker.runs.step(run.id, "data", plan()).state == "running"

    def test_a_watcher_leaves_it_alone_until_its_deadline_is_over(self, ledger: Ledger) -> None:
        clock = Clock()
        worker = Worker(ledger, clock, script=Scripted())
        run = worker.runs.ask(NAME, by="kfp", why="", stepwise=True)
        worker.runs.step(run.id, "data", plan())

        assert worker.look(plan()) == 0
        clock.at_us += 3601 * 1_000_000
        worker.look(plan())

        assert only(ledger).state == "failed"
        assert "no step came" in only(ledger).error
        assert worker.script.done == ["data"]

    def test_a_run_of_another_kind_or_integration_is_no_run_of_it(self, ledger: Ledger) -> None:
        worker = Worker(ledger, Clock(), script=Scripted())
        whole = worker.runs.ask(NAME, by="ada", why="")
        other = worker.runs.ask("churn", by="ada", why="", stepwise=True)

        for run_id in (whole.id, other.id, "nonsense"):
            with pytest.raises(DeclarationError):
                worker.runs.step(run_id, "data", plan())


def test_a_run_survives_its_way_through_the_store(ledger: Ledger) -> None:
    run = Worker(ledger, Clock(), script=Scripted()).whole(plan())

    assert msgspec.json.decode(msgspec.json.encode(run), type=PipelineRun) == run
