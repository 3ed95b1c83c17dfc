"""What monitors measure is what the recorded calls say; what cannot be measured says why."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec
import pytest
from monitor_house import MIN_US, House, manifest, monitor

from splice.app.rolling import roller_of
from splice.core.alerts import Measured
from splice.core.call import Attempt, Outcome, Problem, Reason, Record, Status
from splice.core.monitors import PinnedMonitor
from splice.core.profiles import Profile
from splice.core.truths import PinnedTruth, Task
from splice.core.units import NANO
from splice.monitor.figures import CannotTell, Sources, measure
from splice.monitor.labelling import Labeller
from splice.testing.contracts.records import call_id

NOW_US = 1_795_000_020_000_000 // 60_000_000 * 60_000_000


class Desk:
    """A ledger in which calls are recorded and rolled up, and monitors measured."""

    def __init__(self, house: House) -> None:
        self.house, self.ledger = house, house.ledger
        self.rng = random.Random(7)
        self.training: Mapping[str, Profile] | None = None
        house.apply()

    def record(self, count: int, *, minutes_ago: float = 1.0, **changes: object) -> list[str]:
        """So many calls at a time, rolled up; their ids."""
        at_us = NOW_US - round(minutes_ago * MIN_US)
        plain = Record(
            "", "credit", 1, at_us, 10_000, Status.ANSWERED, Reason.FIRST, "http",
            route="model:credit", version="credit@1", cost_nano=NANO // 1000,
            attempts=(Attempt("model:credit", "answered", 0, 9000, "credit@1"),),
        )  # fmt: skip
        records = [
            msgspec.structs.replace(plain, call_id=call_id(self.rng, at_us // 1000), **changes)
            for _ in range(count)
        ]
        self.ledger.records.append(records)
        roller = roller_of(self.ledger)
        while roller.step(NOW_US):
            pass
        return [one.call_id for one in records]

    def fail(self, count: int, **changes: object) -> list[str]:
        problem = Problem("exhausted", "credit", "no route answered")
        return self.record(
            count, status=Status.FAILED, reason=Reason.EXHAUSTED, route="", problem=problem,
            **changes,
        )  # fmt: skip

    def measured(self, asked: PinnedMonitor, release: int = 1) -> Measured:
        ledger = self.ledger
        sources = Sources(
            ledger, ledger.rollups, ledger.records, ledger.labels, ledger.releases, "EUR",
            lambda _: self.training,
        )  # fmt: skip
        found = ledger.releases.release("credit", release)
        assert found is not None
        return measure(sources, asked, found, NOW_US)


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


def of(kind: str, figure: str, **changes: object) -> PinnedMonitor:
    return monitor(f"{kind} {figure}", kind=kind, figure=figure, least=1, **changes)


def test_the_share_of_errors_has_an_interval_reasons_and_calls(desk: Desk) -> None:
    desk.record(90)
    failed = desk.fail(10)

    found = desk.measured(of("share", "errors"))

    assert found.value == pytest.approx(0.1)
    assert found.count == 100
    assert found.low == pytest.approx(0.0552, abs=1e-3)
    assert found.beyond
    assert [(one.name, one.count) for one in found.parts] == [("exhausted", 10)]
    assert len(found.calls) == 5
    assert set(found.calls) <= set(failed)


def test_a_share_that_may_be_chance_is_not_surely_beyond(desk: Desk) -> None:
    desk.record(97)
    desk.fail(3)

    sure = desk.measured(of("share", "errors", above=0.02))
    unsure = desk.measured(of("share", "errors", above=0.02, sure=False))

    assert (sure.value, sure.beyond, sure.calls) == (0.03, False, ())
    assert unsure.beyond


def test_refused_calls_are_no_errors(desk: Desk) -> None:
    desk.record(50)
    desk.record(50, status=Status.REFUSED, reason=Reason.OVER_BUDGET, route="", attempts=())

    errors = desk.measured(of("share", "errors"))
    refused = desk.measured(of("share", "refused"))

    assert (errors.value, errors.count) == (0.0, 50)
    assert (refused.value, refused.count) == (0.5, 100)
    assert [one.name for one in refused.parts] == ["over_budget"]


def test_fallbacks_name_the_route_that_failed(desk: Desk) -> None:
    attempts = (
        Attempt("model:credit", "route_timeout", 0, 9000, "credit@1"),
        Attempt("rule:score", "answered", 9000, 10, "score"),
    )
    desk.record(80)
    fallen = desk.record(20, reason=Reason.FALLBACK, route="rule:score", attempts=attempts)

    found = desk.measured(of("share", "fallbacks"))

    assert found.value == pytest.approx(0.2)
    assert (found.parts[0].name, found.parts[0].words) == ("credit@1", "route_timeout 20")
    assert set(found.calls) <= set(fallen)


def test_latency_names_the_slowest_calls(desk: Desk) -> None:
    desk.record(95)
    slow = desk.record(5, duration_us=900_000)

    found = desk.measured(of("latency", "p99", above=0.5))
    mean = desk.measured(of("latency", "mean", above=0.5))

    assert found.value == pytest.approx(0.9, rel=0.02)
    assert set(found.calls) == set(slow)
    assert mean.value == pytest.approx((95 * 0.01 + 5 * 0.9) / 100)


def test_cost_is_of_a_call_or_of_all(desk: Desk) -> None:
    desk.record(90)
    dear = desk.record(10, cost_nano=NANO, route="llm:big", version="big")
    desk.record(10, cost_nano=None)

    call = desk.measured(of("cost", "call", above=0.05))
    day = desk.measured(of("cost", "day", above=5.0))

    assert call.value == pytest.approx((90 * 0.001 + 10) / 100)
    assert (call.count, call.unit) == (100, "EUR")
    assert set(call.calls) <= set(dear)
    assert (call.parts[0].name, call.parts[0].beyond) == ("llm:big", True)
    assert day.value == pytest.approx(10.09)


def test_a_cost_that_nobody_knows_is_not_zero(desk: Desk) -> None:
    desk.record(10, cost_nano=None)

    assert desk.measured(of("cost", "day", above=5.0)).value is None
    assert desk.measured(of("cost", "call", above=5.0)).value is None


def test_silence_is_told_by_the_ledger_and_not_by_rollups_that_are_late(desk: Desk) -> None:
    silent = of("traffic", "calls", above=None, below=1.0, clear=1.0)
    before = desk.measured(silent)
    ledger_only = [
        Record(
            call_id(desk.rng, NOW_US // 1000 - 5000), "credit", 1, NOW_US - 5_000_000, 1,
            Status.ANSWERED, Reason.FIRST, "http",
        )
    ]  # fmt: skip
    desk.ledger.records.append(ledger_only)

    after = desk.measured(silent)

    assert (before.value, before.beyond) == (0.0, True)
    assert (after.value, after.beyond) == (1.0, False)


def test_zero_calls_and_one_call_tell_what_they_can(desk: Desk) -> None:
    kinds = (("share", "errors"), ("latency", "p99"), ("cost", "call"), ("share", "fallbacks"))

    none = [desk.measured(of(*one)) for one in kinds]
    desk.record(1)
    one = [desk.measured(of(*one)) for one in kinds]

    assert [(found.value, found.count) for found in none] == [(None, 0)] * 4
    assert [found.count for found in one] == [1] * 4
    assert [found.value for found in one] == [
        0.0, pytest.approx(0.01, rel=0.02), pytest.approx(0.001), 0.0,
    ]  # fmt: skip


def test_a_figure_against_the_week_before_is_a_ratio(desk: Desk) -> None:
    desk.record(100, minutes_ago=1441.0)
    desk.record(40)
    drop = of("traffic", "calls", above=None, below=0.5, clear=0.6, against_s=86_400.0)

    found = desk.measured(drop)

    assert found.value == pytest.approx(0.4)
    assert found.beyond
    assert found.compared == "100 in 100 24 h earlier"


def test_a_figure_against_a_time_without_calls_tells_nothing(desk: Desk) -> None:
    desk.record(40)

    found = desk.measured(of("latency", "p99", above=1.5, against_s=86_400.0))

    assert (found.value, found.beyond) == (None, False)
    assert found.compared == "the same 24 h earlier, of which too little is known"


def test_what_rolls_back_counts_the_live_release_only(desk: Desk) -> None:
    desk.record(50)
    desk.fail(50)
    desk.house.apply(bundle="b")
    desk.record(20, release=2)
    asked = of("share", "errors", then=("alert", "roll back"))

    found = desk.measured(asked, release=2)

    assert (found.value, found.count, found.release) == (0.0, 20, 2)


def test_a_release_that_is_live_again_is_not_judged_by_what_it_was_before(desk: Desk) -> None:
    desk.fail(50, minutes_ago=5)
    releases = desk.ledger.releases
    desk.house.apply(bundle="b")
    releases.go_live("credit", 1, by="ada", why="", now_us=NOW_US - 2 * MIN_US)
    desk.record(20, minutes_ago=1)

    found = desk.measured(of("share", "errors", then=("alert", "roll back")))

    assert (found.value, found.count) == (0.0, 20)


def amounts(desk: Desk, mean: float, minutes_ago: float, count: int = 600) -> None:
    """Calls with an amount about a mean, and a country that is always the same mixture."""
    at_us = NOW_US - round(minutes_ago * MIN_US)
    contexts = [
        {"amount": desk.rng.gauss(mean, 10.0), "country": "DE" if number % 3 else "FR"}
        for number in range(count)
    ]
    desk.ledger.records.append([
        Record(
            call_id(desk.rng, at_us // 1000), "credit", 1, at_us, 900, Status.ANSWERED,
            Reason.FIRST, "http", context=msgspec.json.encode(context),
        )
        for context in contexts
    ])  # fmt: skip
    desk.record(0)


def test_drift_names_the_column_that_moved_and_not_the_other(desk: Desk) -> None:
    amounts(desk, 100.0, minutes_ago=48 * 60 + 30)
    amounts(desk, 130.0, minutes_ago=30)
    asked = of("drift", "psi", above=0.25, window_s=3600.0, against_s=2 * 86_400.0)

    found = desk.measured(asked)

    assert found.beyond
    assert found.count == 600
    assert found.value is not None
    assert found.value > 0.25
    assert [one.name for one in found.parts if one.beyond] == ["amount"]
    assert "country" in [one.name for one in found.parts]
    assert len(found.calls) == 5
    assert found.parts[0].words.startswith("median 1")


def test_drift_of_few_calls_is_not_surely_beyond(desk: Desk) -> None:
    amounts(desk, 100.0, minutes_ago=48 * 60 + 30, count=60)
    amounts(desk, 106.0, minutes_ago=30, count=60)
    asked = of("drift", "psi", above=0.25, window_s=3600.0, against_s=2 * 86_400.0)

    sure = desk.measured(asked)
    unsure = desk.measured(msgspec.structs.replace(asked, sure=False))

    assert (sure.beyond, unsure.beyond) == (False, True)


def test_drift_of_a_column_that_did_not_move_is_none(desk: Desk) -> None:
    amounts(desk, 100.0, minutes_ago=48 * 60 + 30)
    amounts(desk, 130.0, minutes_ago=30)
    asked = of(
        "drift", "psi", above=0.25, window_s=3600.0, against_s=2 * 86_400.0, columns=("country",)
    )

    found = desk.measured(asked)

    assert not found.beyond
    assert [one.name for one in found.parts] == ["country"]


def test_drift_with_nothing_to_compare_with_says_so_or_tells_nothing(desk: Desk) -> None:
    nobody = desk.measured(of("drift", "psi", above=0.25))
    amounts(desk, 100.0, minutes_ago=30, count=20)

    with pytest.raises(CannotTell, match="no profile of the training data"):
        desk.measured(of("drift", "psi", above=0.25))
    with pytest.raises(CannotTell, match="no calls with a profile"):
        desk.measured(of("drift", "psi", above=0.25, against_s=30 * 86_400.0))
    amounts(desk, 100.0, minutes_ago=30 + 1440, count=20)
    with pytest.raises(CannotTell, match="no column that vector fits"):
        desk.measured(of("drift", "vector", above=0.25, window_s=3600.0, against_s=86_400.0))
    with pytest.raises(CannotTell, match="no column nothing"):
        desk.measured(
            of(
                "drift", "psi", above=0.25, window_s=3600.0, against_s=86_400.0,
                columns=("amount", "nothing"),
            )
        )  # fmt: skip
    with pytest.raises(CannotTell, match="no profile of purpose=car"):
        desk.measured(of("drift", "psi", above=0.25, segment="purpose=car"))
    assert (nobody.value, nobody.count) == (None, 0)


def test_drift_of_calls_without_profiles_cannot_be_told(desk: Desk) -> None:
    desk.record(10)

    with pytest.raises(CannotTell, match="no profile of 10 calls"):
        desk.measured(of("drift", "psi", above=0.25))


DEFAULTED = PinnedTruth(
    "defaulted", Task.CLASSIFICATION, 86_400.0, 86_400.0, positive=(True,), threshold=0.5
)


def predicted(desk: Desk, days_ago: float, *pairs: tuple[float, bool | None]) -> None:
    """Calls that foretold a chance, with what happened (None: nobody said)."""
    at_us = NOW_US - round(days_ago * 1440 * MIN_US)
    for chance, happened in pairs:
        record = Record(
            call_id(desk.rng, at_us // 1000), "credit", 2, at_us, 900, Status.ANSWERED,
            Reason.FIRST, "http", reply=b"{}",
            prediction=msgspec.json.encode({"score": chance}),
        )  # fmt: skip
        desk.ledger.records.append([record])
        if happened is not None:
            outcome = Outcome("credit", "defaulted", happened, at_us + MIN_US, record.call_id)
            desk.ledger.outcomes.append_outcomes([outcome], at_us + MIN_US)
    desk.record(0)
    labeller = Labeller(desk.ledger.labels, desk.ledger.releases)
    while labeller.step(NOW_US):
        pass


@pytest.fixture
def judged(house: House) -> Desk:
    made = Desk(house)
    pinned = msgspec.structs.replace(manifest(), truths=(DEFAULTED,))
    house.ledger.releases.add_release(pinned, by="ada", why="", now_us=1)
    return made


def test_accuracy_is_of_calls_whose_truth_is_due(judged: Desk) -> None:
    predicted(judged, 3.0, *[(0.9, True)] * 15, *[(0.1, False)] * 15, *[(0.9, False)] * 10)
    predicted(judged, 1.5, *[(0.9, True)] * 20)  # due half a day ago
    predicted(judged, 0.5, *[(0.9, False)] * 50)  # not due yet
    week = 7 * 86_400.0
    asked = of("accuracy", "accuracy", above=None, below=0.9, clear=0.91, window_s=week, sure=False)

    found = judged.measured(asked, release=2)
    day = judged.measured(msgspec.structs.replace(asked, window_s=86_400.0), release=2)

    assert found.value == pytest.approx(50 / 60)
    assert found.count == 60
    assert found.low is not None
    assert found.low < 50 / 60
    assert (day.value, day.count) == (1.0, 20)
    assert found.beyond
    assert found.compared == "outcome defaulted"


def test_outcomes_that_did_not_come_are_counted_among_those_that_are_due(judged: Desk) -> None:
    predicted(judged, 3.0, *[(0.9, True)] * 30, *[(0.9, None)] * 10)
    week = 7 * 86_400.0

    unlabelled = judged.measured(of("share", "unlabelled", window_s=week, above=0.1), release=2)
    happened = judged.measured(of("outcome", "defaulted", window_s=week, above=0.5), release=2)

    assert (unlabelled.value, unlabelled.count, unlabelled.beyond) == (0.25, 40, True)
    assert (happened.value, happened.count) == (1.0, 30)


def test_a_figure_that_the_task_has_not_says_which_it_has(judged: Desk) -> None:
    predicted(judged, 3.0, *[(0.9, True)] * 10)

    with pytest.raises(CannotTell, match="ndcg of classification, expected accuracy"):
        judged.measured(of("accuracy", "ndcg", window_s=7 * 86_400.0), release=2)


def test_what_needs_a_truth_says_so(desk: Desk) -> None:
    desk.record(1)

    for asked in (of("accuracy", "auc", above=None, below=0.7), of("share", "unlabelled")):
        with pytest.raises(CannotTell, match="no truth"):
            desk.measured(asked)
    with pytest.raises(CannotTell, match="no mean is kept"):
        desk.measured(of("outcome", "defaulted"))
