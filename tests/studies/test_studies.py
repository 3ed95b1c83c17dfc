"""Studies of a ledger: what is due counts, what is random is causal, and bad input is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from studies_house import DAY, GUARDS, HOLDOUT, START, TRUTH, World, manifest, rollout, route, world

from splice.adapters.ledgers.sql import open_ledger
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.release import PinnedGuard
from splice.core.studies import Effect, Study
from splice.monitor import experiments
from splice.monitor.experiments import Studies

LATER = START + 90 * DAY


@pytest.fixture
def equal(tmp_path: Path) -> Iterator[World]:
    """A world in which no variant makes a difference."""
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def better(tmp_path: Path) -> Iterator[World]:
    """A world in which the challenger lets a third of the chargebacks through, held out none."""
    rates = {"challenger": 0.03, "champion": 0.1, "holdout": 0.3}
    with world(tmp_path, lambda variant, kind: rates[variant] * 2 * kind) as made:
        yield made


def effect(study: Study, figure: str) -> Effect:
    return next(one for one in study.effects if one.figure == figure)


def test_a_better_challenger_is_told_to_be_one_and_the_cause(better: World) -> None:
    better.apply(manifest())
    better.lives(2_000, 20)

    study = better.study(LATER)

    primary = study.primary
    assert primary is not None
    assert primary.interval is not None
    assert primary.figure == "outcome:chargeback"
    assert (primary.verdict, primary.lower_is_better) == ("better", True)
    assert primary.interval.low < -0.07 < primary.interval.high < 0
    assert primary.told.startswith("Better: -6.78 pp (-9.1 pp to -4.46 pp)")
    assert study.causal
    assert study.ratio.ok
    assert [one.name for one in study.arms] == ["champion", "challenger"]
    assert [one.runs for one in study.arms] == ["fraud@1", "fraud@2"]
    assert sum(one.mature_units for one in study.arms) == 2_000


def test_of_equal_arms_it_says_how_many_units_more_would_tell(equal: World) -> None:
    equal.apply(manifest())
    equal.lives(600, 20)

    primary = equal.study(LATER).primary

    assert primary is not None
    assert primary.verdict == "open"
    assert primary.size == pytest.approx(0.02)
    assert primary.needed is not None
    assert 1_000 < primary.needed < 10_000
    assert "No difference can be told yet" in primary.told
    assert f"About {primary.needed:,} more units would tell the 2 pp" in primary.told


def test_a_cohort_that_is_not_mature_is_left_out(equal: World) -> None:
    """Of calls of the last 40 days many outcomes are still to come: they look half as bad."""
    now = START + 40 * DAY
    equal.rate = lambda variant, kind: 0.05
    equal.apply(manifest())
    equal.lives(2_000, 39.9, known_us=now)

    young = equal.study(now)
    joined = equal.ledger.outcomes.joined("fraud", "chargeback")
    naive = sum(1 for _ in joined) / equal.ledger.records.count("fraud")
    # The same world goes on, and all that is to come is told.
    equal.lives(2_000, 39.9, name="later", began_us=START + 40 * DAY)
    mature = equal.study(START + 121 * DAY)

    assert 0.015 < naive < 0.033  # 0.024, and the truth is 0.05
    assert [one.mature_calls for one in young.arms] == [0, 0]
    assert young.primary is not None
    assert young.primary.verdict == "too_few"
    assert "0 and 0 units with a known outcome, of 100 that each arm needs" in young.primary.told
    primary = mature.primary
    assert primary is not None
    assert primary.units[0] > 1_900
    late = [one for one in mature.arms if one.mature_calls != one.calls]
    assert late == []


def test_young_calls_of_an_old_study_do_not_pull_its_figure_down(equal: World) -> None:
    now = START + 80 * DAY
    equal.rate = lambda variant, kind: 0.05
    equal.apply(manifest())
    equal.lives(1_000, 30, name="old")
    equal.lives(3_000, 39.5, name="new", began_us=START + 40 * DAY, known_us=now)

    study = equal.study(now)

    primary = study.primary
    assert primary is not None
    means = [primary.control or 0.0, primary.treated or 0.0]
    assert all(0.03 < one < 0.07 for one in means), means
    assert sum(one.calls for one in study.arms) > 7_000
    assert sum(one.mature_calls for one in study.arms) < 2_500


def test_the_past_of_the_units_makes_the_interval_tighter(tmp_path: Path) -> None:
    with world(tmp_path, lambda _, kind: 0.9 if kind > 0.8 else 0.02) as made:
        made.apply(manifest(rollout=None), START - 100 * DAY)
        made.lives(800, 20, calls=6, began_us=START - 65 * DAY)
        made.apply(manifest())
        made.lives(800, 20, calls=2)

        primary = made.study(LATER).primary

    assert primary is not None
    assert primary.reduction > 0.4


def test_units_that_are_lost_on_their_way_are_noticed(better: World) -> None:
    better.apply(manifest())
    # A third of the challenger's callers never come to be recorded.
    some = [better.call(f"e-{n}", START + n) for n in range(2_000)]
    kept = [one for n, one in enumerate(some) if one.variant == "champion" or n % 3]
    better.ledger.records.append(kept)

    study = better.study(LATER)

    assert study.ratio.ok is False
    assert not study.causal
    assert "sample ratio" in study.why
    assert "that is no chance" in study.ratio.told


def test_another_share_is_another_study_and_nobody_crosses(better: World) -> None:
    better.apply(manifest(rollout=rollout(2000)))
    better.lives(600, 10)
    better.apply(manifest(rollout=rollout(5000)), START + 10 * DAY)
    better.lives(600, 10, began_us=START + 10 * DAY)

    now, before = better.studies(LATER)

    assert (now.releases, before.releases) == ((2,), (1,))
    assert (now.running, before.running) == (True, False)
    assert [one.share for one in before.arms] == [8000, 2000]
    assert (now.crossed, before.crossed) == (0, 0)
    assert before.ratio.ok
    assert now.ratio.ok


def test_releases_that_change_neither_variant_go_on_in_the_same_study(better: World) -> None:
    better.apply(manifest())
    better.lives(300, 10)
    better.apply(manifest(purpose="Stop more fraud."), START + 10 * DAY)
    better.lives(300, 10, name="f", began_us=START + 10 * DAY)
    better.apply(manifest(routes=(route(3),)), START + 20 * DAY)

    studies = better.studies(LATER)

    assert sorted(one.releases for one in studies) == [(1, 2), (3,)]
    assert sum(arm.units for arm in studies[1].arms) == 600


def test_where_a_flag_chooses_a_difference_is_no_cause(better: World) -> None:
    better.apply(manifest(rollout=rollout(flag="fraud-model")))
    better.lives(1_000, 10)

    study = better.study(LATER)

    assert not study.causal
    assert "A flag chose" in study.why
    assert study.ratio.ok is None
    assert study.primary is not None
    assert study.primary.verdict == "better"


def test_a_holdout_is_a_study_beside_the_rollout(better: World) -> None:
    better.apply(manifest(holdout=HOLDOUT))
    better.lives(2_500, 20)

    studies = {one.kind: one for one in better.studies(LATER)}

    held, rolled = studies["holdout"], studies["rollout"]
    assert [one.name for one in held.arms] == ["holdout", "rest"]
    assert [one.share for one in held.arms] == [2000, 8000]
    assert [one.runs for one in held.arms] == ["before", "fraud@1"]
    assert held.arms[1].units == sum(one.units for one in rolled.arms)
    assert held.causal
    assert held.ratio.ok
    assert rolled.ratio.ok
    assert held.primary is not None
    assert held.primary.verdict == "better"
    assert held.primary.treated == pytest.approx(0.07, abs=0.02)
    assert held.primary.control == pytest.approx(0.3, abs=0.05)


def test_a_guardrail_holds_breaks_or_stays_open(equal: World) -> None:
    guards = (*GUARDS, PinnedGuard("failures", worse_by=0.05), PinnedGuard("cost", worse_by=1e-9))
    equal.apply(manifest(rollout=rollout(guards=guards)))
    worse = {"status": Status.FAILED, "reason": Reason.EXHAUSTED}
    records: list[Record] = []
    for number in range(1_500):
        one = equal.call(f"e-{number}", START + number, cost_nano=equal.rng.randrange(1_000))
        broken = one.variant == "challenger" and number % 8 == 0
        records.append(msgspec.structs.replace(one, **worse) if broken else one)
    equal.ledger.records.append(records)

    study = equal.study(LATER)

    states = {one.figure: one.guard for one in study.effects}
    assert states == {
        "outcome:chargeback": "", "errors": "broken", "failures": "broken", "cost": "open",
        "latency": "",
    }  # fmt: skip
    assert effect(study, "failures").verdict == "worse"


def test_a_guardrail_without_a_failure_holds(equal: World) -> None:
    equal.apply(manifest())
    equal.lives(1_500, 10)

    errors = effect(equal.study(LATER), "errors")

    assert (errors.guard, errors.margin, errors.control) == ("holds", 0.02, 0.0)


def test_a_study_that_is_over_does_not_change_any_more(better: World) -> None:
    better.apply(manifest())
    better.lives(400, 10)
    better.apply(manifest(rollout=None), START + 11 * DAY)

    ended = better.study(START + 20 * DAY)
    settled = better.study(START + 60 * DAY)
    better.ledger.records.append([better.call("late", START, release=1, variant="champion")])
    again = better.study(START + 61 * DAY)

    assert (ended.running, ended.settled) == (False, False)
    assert settled.settled
    assert ended.until_us is not None
    assert START + 9 * DAY < ended.until_us < START + 10 * DAY
    assert again == settled


def test_counting_that_is_cut_short_at_any_place_comes_to_the_same(
    better: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better.apply(manifest())
    better.lives(500, 10)
    monkeypatch.setattr(experiments, "LIMIT", 50)
    (live,) = better.ledger.releases.live()
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    other = open_ledger(url, tmp_path / "blobs")
    two = [Studies(one, "EUR") for one in (better.ledger, other)]

    steps = 0
    more = [True, True]
    while any(more):
        more = [one.step("fraud", live.number, LATER) for one in two]
        steps += 1
        two[steps % 2] = Studies(better.ledger if steps % 2 else other, "EUR")  # one was killed
    other.close()
    (study,) = better.ledger.studies.studies("fraud")

    assert steps > 3
    assert sum(one.units for one in study.arms) == 500
    assert sum(one.calls for one in study.arms) == better.ledger.records.count("fraud")
    assert [one.mature_calls for one in study.arms] == [one.calls for one in study.arms]


def test_no_calls_one_unit_and_one_arm_are_told_and_raise_nothing(equal: World) -> None:
    equal.apply(manifest())

    none = equal.study(LATER)
    equal.ledger.records.append([equal.call("e-1", START)])
    one = equal.study(LATER)
    lonely = [equal.call(f"x-{n}", LATER, variant="challenger") for n in range(200)]
    equal.ledger.records.append(lonely)
    lop_sided = equal.study(LATER + 1)

    for study in (none, one, lop_sided):
        assert study.primary is not None
        assert study.primary.verdict == "too_few"
        assert study.primary.interval is None
    assert none.ratio.ok
    assert none.notes == ("No outcome chargeback of a mature call is known yet.",)
    assert one.ratio.ok
    assert lop_sided.ratio.ok is False
    assert not lop_sided.causal


def test_outcomes_that_never_came_are_told(equal: World) -> None:
    equal.rate = lambda variant, kind: 0.0
    truth = msgspec.structs.replace(TRUTH, absent=None)
    equal.apply(manifest(truths=(truth,)))
    equal.lives(400, 10)

    study = equal.study(LATER)

    assert study.primary is not None
    assert (study.primary.verdict, study.primary.units) == ("too_few", (0, 0))
    assert "No outcome chargeback of a mature call is known yet." in study.notes


def test_calls_of_nobody_are_no_units_and_are_told(equal: World) -> None:
    equal.apply(manifest())
    equal.ledger.records.append([equal.call(None, START + n) for n in range(30)])
    equal.ledger.records.append([equal.call("e", START)])

    study = equal.study(LATER)

    assert study.without_entity == 30
    assert "30 calls name no entity: they are no units." in study.notes
    assert sum(one.calls for one in study.arms) == 1


def test_without_an_objective_or_a_truth_the_figures_of_the_calls_are_compared(
    equal: World,
) -> None:
    equal.apply(manifest(objective={}, truths=()))
    equal.lives(400, 10)

    study = equal.study(LATER)

    assert study.primary is None
    assert [one.figure for one in study.effects] == ["errors", "failures", "cost", "latency"]
    assert "declare an objective" in study.notes[0]


def test_without_a_maturity_it_says_what_that_means(equal: World) -> None:
    equal.apply(manifest(truths=()))
    equal.lives(400, 10)

    study = equal.study(LATER)

    assert study.matures_us is None
    assert "early ones may differ from late ones" in study.notes[0]


def test_outcomes_that_contradict_each_other_count_by_the_latest(equal: World) -> None:
    equal.rate = lambda variant, kind: 0.0
    equal.apply(manifest())
    records = equal.lives(300, 10, calls=1)
    told = [
        Outcome("fraud", "chargeback", value, one.asked_us + day * DAY, call_id=one.call_id)
        for one in records
        for day, value in ((9, False), (3, True), (3, True))
    ]
    equal.ledger.outcomes.append_outcomes(told, LATER)

    study = equal.study(LATER + DAY)

    assert study.primary is not None
    assert (study.primary.control, study.primary.treated) == (0.0, 0.0)


def test_an_integration_without_experiments_has_no_study(equal: World) -> None:
    equal.apply(manifest(rollout=None))
    equal.lives(50, 1)

    assert equal.studies(LATER) == []


def test_a_rollout_of_everybody_or_of_nobody_compares_nothing(equal: World) -> None:
    equal.apply(manifest(rollout=rollout(10_000)))
    equal.apply(manifest(rollout=rollout(0)))

    assert equal.studies(LATER) == []


def test_a_study_whose_calls_are_moved_to_files_stands_as_it_was(
    better: World, tmp_path: Path
) -> None:
    better.apply(manifest())
    better.lives(400, 10)
    before = better.study(LATER)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(
            "INSERT INTO archives VALUES (1, 'fraud', 1, x'00', x'01', 'removed', 'f', 1, 1, '', "
            f"{START}, {START + DAY}, {LATER})"
        )
    better.ledger.records.append([better.call("new", LATER)])

    moved = better.study(LATER + 1)
    again = better.study(LATER + 2)
    better.apply(manifest(rollout=None), LATER + 3)
    ended = better.study(LATER + 4)

    assert moved.effects == before.effects
    assert "moved out of the ledger" in moved.notes[-1]
    assert again == moved
    assert (ended.running, ended.settled, ended.notes) == (False, True, moved.notes)
