"""What an integration is worth, by what it can be told, and where its figure stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from studies_house import DAY, HOLDOUT, OBJECTIVE, START, TRUTH, World, manifest, world

from splice.core.call import Outcome
from splice.core.rollups import Window
from splice.core.studies import Worth
from splice.monitor import kpis
from splice.monitor.rolling import Roller
from splice.monitor.value import worth

LATER = START + 90 * DAY
RATES = {"challenger": 0.01, "champion": 0.03, "holdout": 0.06, "": 0.03}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    """A world in which who is held out has twice the chargebacks."""
    with world(tmp_path, lambda variant, kind: RATES[variant] * 2 * kind) as one:
        yield one


def worth_of(made: World, now_us: int = LATER, days: float = 90, currency: str = "EUR") -> Worth:
    """In the last days."""
    made.studies(now_us)
    roller = Roller(made.ledger.rollups)
    while roller.step(now_us):
        pass
    (live,) = made.ledger.releases.live()
    release = made.ledger.releases.release("fraud", live.number)
    assert release is not None
    window = Window(now_us - round(days * DAY), now_us)
    return worth(made.ledger, release, window, currency)


def objective(**changes: Any) -> dict[str, Any]:
    return {**OBJECTIVE, **changes}


def test_with_a_holdout_the_money_is_caused_and_has_an_interval(made: World) -> None:
    made.apply(manifest(rollout=None, holdout=HOLDOUT))
    made.lives(4_000, 30)

    found = worth_of(made)

    value = found.value
    assert (value.basis, value.causal) == ("holdout", True)
    assert value.effect is not None
    assert value.effect > 0
    assert value.moved is not None
    assert value.interval is not None
    # Four fifths of the calls, for 90 days of a year, at EUR 4.1 million a whole unit.
    rate = 4_100_000 * 0.8 * 90 / 365.25
    assert value.moved == pytest.approx(value.effect * rate)
    assert value.interval.low < 0.03 * rate < value.interval.high
    assert value.interval.low > 0
    assert value.cost == pytest.approx(made.ledger.records.count("fraud") * 0.001)
    assert value.net == pytest.approx(value.moved - value.cost)
    assert value.told.startswith("Moved EUR ")
    assert "a return of EUR" in value.told
    assert found.beside is not None
    assert (found.beside.basis, found.beside.causal) == ("baseline", False)


def test_without_anybody_held_out_it_is_an_estimate_and_says_so(made: World) -> None:
    made.apply(manifest(rollout=None))
    made.lives(2_000, 30)

    found = worth_of(made)

    value, standing = found.value, found.standing
    assert (value.basis, value.causal) == ("baseline", False)
    assert value.told.startswith("Estimated to have moved EUR ")
    assert value.why.startswith("An estimate: whatever else changed")
    assert standing is not None
    assert standing.mean == pytest.approx(0.03, abs=0.01)
    assert value.effect == pytest.approx(0.05 - standing.mean)
    assert found.beside is None


def test_a_rollout_is_worth_what_the_challenger_adds_on_its_share(made: World) -> None:
    made.apply(manifest())
    made.lives(3_000, 30)

    found = worth_of(made)

    value = found.value
    assert (value.basis, value.causal) == ("rollout", True)
    assert value.effect == pytest.approx(0.02, abs=0.012)
    assert value.moved == pytest.approx(value.effect * 4_100_000 * 0.5 * 90 / 365.25)
    assert value.cost == pytest.approx(0.0)  # both cost the same
    assert found.beside is not None
    assert found.beside.basis == "baseline"


def test_a_holdout_that_is_too_small_yet_leaves_an_estimate(made: World) -> None:
    made.apply(manifest(rollout=None, holdout=HOLDOUT))
    made.lives(200, 10)

    found = worth_of(made)

    assert (found.value.basis, found.value.causal) == ("baseline", False)


def test_the_figure_stands_where_it_stands_with_an_interval_by_entity(made: World) -> None:
    made.apply(manifest(rollout=None))
    made.lives(1_500, 30)

    standing = worth_of(made).standing

    assert standing is not None
    assert standing.mean is not None
    assert standing.interval is not None
    assert standing.interval.low < 0.03 < standing.interval.high
    assert standing.interval.high - standing.interval.low < 0.02
    assert standing.calls == made.ledger.records.count("fraud")
    assert (standing.baseline, standing.target) == (0.05, 0.03)
    assert standing.on_course
    assert "On course: the straight way to 3 % by 2027-06-30 is at 4." in standing.told


def test_its_interval_is_wider_where_calls_of_an_entity_are_alike(tmp_path: Path) -> None:
    """As many chargebacks, of a few entities that have nothing else: the same mean, told worse."""
    widths: list[float] = []
    for name, rate in (
        ("all", lambda _, kind: 0.1),
        ("few", lambda _, kind: float(kind < 0.1)),
    ):  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        with world(folder, rate) as one:
            one.apply(manifest(rollout=None))
            one.lives(600, 30, calls=8)
            standing = worth_of(one).standing
        assert standing is not None
        assert standing.interval is not None
        widths.append(standing.interval.high - standing.interval.low)

    assert widths[1] > 1.8 * widths[0]


def test_calls_whose_outcome_is_not_due_do_not_make_the_figure_look_good(made: World) -> None:
    made.rate = lambda variant, kind: 0.05
    made.apply(manifest(rollout=None))
    made.lives(1_500, 60, known_us=START + 60 * DAY)

    standing = worth_of(made, START + 60 * DAY, 60).standing

    assert standing is not None
    assert standing.mean == pytest.approx(0.05, abs=0.012)
    assert 500 < standing.calls < 1_600
    assert standing.asked.until_us == START + 20 * DAY


def test_a_late_outcome_is_counted_in_the_cell_of_its_call(made: World) -> None:
    made.rate = lambda variant, kind: 0.0
    made.apply(manifest(rollout=None))
    records = made.lives(200, 10)
    before = worth_of(made).standing
    late = Outcome("fraud", "chargeback", True, LATER - 1, call_id=records[0].call_id)
    made.ledger.outcomes.append_outcomes([late], LATER + 1)

    after = worth_of(made, LATER + 2).standing

    assert before is not None
    assert after is not None
    assert before.mean == 0.0
    assert after.mean == pytest.approx(1 / len(records))


def test_the_chore_leaves_a_cell_alone_that_it_counted_a_moment_ago(made: World) -> None:
    made.apply(manifest(rollout=None))
    made.lives(100, 60)
    (live,) = made.ledger.releases.live()
    release = made.ledger.releases.release("fraud", live.number)
    assert release is not None
    kpi = kpis.kpi_of(release, START)
    assert kpi is not None
    store = made.ledger.studies
    while kpis.step(store, kpi, START + 60 * DAY):
        pass
    counted = store.counting(kpi)

    kpis.step(store, kpi, START + 60 * DAY + 60_000_000)
    soon = store.counting(kpi)
    kpis.step(store, kpi, START + 60 * DAY + 2 * 3_600_000_000)
    later = store.counting(kpi)

    assert soon.at_us == counted.at_us == START + 60 * DAY
    assert later.at_us > soon.at_us


def test_a_series_of_the_figure_has_its_gaps(made: World) -> None:
    made.apply(manifest(rollout=None))
    made.lives(300, 10)
    worth_of(made)
    (live,) = made.ledger.releases.live()
    release = made.ledger.releases.release("fraud", live.number)
    assert release is not None
    kpi = kpis.kpi_of(release, START)
    assert kpi is not None

    found = kpis.series(made.ledger.studies, kpi, Window(START - 5 * DAY, START + 20 * DAY), 10)

    assert 8 <= len(found) <= 10
    assert found[0][1] is None
    assert sum(one.calls for _, one in found if one) == made.ledger.records.count("fraud")


def test_bad_input_is_told_and_raises_nothing(made: World) -> None:
    made.apply(manifest(objective={}, rollout=None))
    nothing = worth_of(made)
    made.apply(manifest(rollout=None))
    no_calls = worth_of(made)

    assert (nothing.value.basis, nothing.standing) == ("none", None)
    assert nothing.value.told.startswith("No objective is declared")
    assert no_calls.value.moved is None
    assert no_calls.value.told == "No outcome of the objective is due yet."
    assert no_calls.standing is not None
    assert no_calls.standing.told == "No outcome chargeback of this time is due yet."


def test_few_entities_have_a_mean_and_no_interval(made: World) -> None:
    made.apply(manifest(rollout=None))
    made.lives(3, 1)

    found = worth_of(made)

    assert found.standing is not None
    assert found.standing.mean is not None
    assert (found.standing.interval, found.standing.on_course) == (None, None)
    assert (found.value.moved, found.value.causal) == (None, False)
    assert "Too few entities" in found.value.told


def test_without_a_baseline_there_is_nothing_to_compare_with(made: World) -> None:
    made.apply(manifest(rollout=None, objective={"kpi": "chargeback"}))
    made.lives(300, 1)

    found = worth_of(made)

    assert found.value.told.startswith("No baseline is declared")
    assert found.standing is not None
    assert found.standing.interval is not None


def test_money_in_another_currency_is_not_taken_off(made: World) -> None:
    made.apply(manifest(rollout=None))
    made.lives(400, 10)

    value = worth_of(made, currency="USD").value

    assert (value.currency, value.cost, value.net) == ("EUR", None, None)
    assert "Costs are in USD" in value.why


def test_without_a_value_of_a_unit_there_is_an_effect_and_no_money(made: World) -> None:
    made.apply(manifest(rollout=None, objective=objective(value_per_unit="")))
    made.lives(400, 10)

    value = worth_of(made).value

    assert value.moved is None
    assert value.effect is not None
    assert "value_per_unit" in value.told


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"target": None}, 1),
        ({"target": None, "value_per_unit": "EUR -4_100_000"}, -1),
        ({"target": 0.09}, 1),
        ({"target": 0.01}, -1),
    ],
)  # fmt: skip
def test_what_is_good_is_said_by_the_target_or_by_the_sign_of_the_value(
    made: World, changes: dict[str, Any], sign: int
) -> None:
    made.apply(manifest(rollout=None, objective=objective(**changes)))
    made.lives(400, 10)

    found = worth_of(made)

    assert found.standing is not None
    assert found.standing.mean is not None
    assert found.value.effect == pytest.approx(sign * (found.standing.mean - 0.05))


def test_a_figure_whose_outcome_comes_within_the_hour_is_counted_by_the_hour(made: World) -> None:
    quick = msgspec.structs.replace(TRUTH, matures_s=60.0, within_s=60.0)
    made.apply(manifest(rollout=None, truths=(quick,)))
    records = [made.call(f"e-{n}", START + n * 1_000_000) for n in range(300)]
    made.ledger.records.append(records)

    standing = worth_of(made, START + 1_000_000_000, 1).standing

    assert standing is not None
    assert standing.calls == 300
