"""Figures of quality agree with scikit-learn and scipy, and their intervals hold the truth."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from splice.core.quality import Measured
from splice.core.tallies import (
    NO_SCORE,
    STEP,
    Errors,
    Places,
    Tally,
    bin_of,
    count_label,
    decode,
    encode,
    merged,
    read,
)
from splice.core.truths import PinnedTruth, Task
from splice.monitor.classes import auc, binary_figures, bins_of, class_figures, unordered
from splice.monitor.intervals import student
from splice.monitor.numbers import ranking_figures, rating_figures, regression_figures

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from accuracy.coverage import CLASSES, NUMBER, RANKING, YES_NO, coverage  # noqa: E402

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


def by_name(figures: tuple[Measured, ...]) -> dict[str, Measured]:
    return {one.name: one for one in figures}


def told(truth: PinnedTruth, rows: list[tuple[object, object, object]]) -> Tally:
    """Rows are chance, what was foretold and what came; by way of how a tally is stored."""
    tally, again = Tally(), Tally()
    for score, said, value in rows:
        count_label(tally, truth, (score, said), value)  # type: ignore[arg-type]
    again.merge(read(encode(tally)))
    return again


def binary_rows(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-rng.normal(-1, 1.5, n)))
    return score, rng.random(n) < score


@pytest.mark.parametrize("n", [40, 500, 5000])
def test_figures_of_what_happens_or_not_are_those_of_scikit_learn(n: int) -> None:
    score, happened = binary_rows(n)
    said = score >= 0.4

    cells = told(YES_NO, list(zip(score.tolist(), said.tolist(), happened.tolist(), strict=True)))
    found = by_name(binary_figures(cells.cells))

    exact = {
        "accuracy": metrics.accuracy_score(happened, said),
        "precision": metrics.precision_score(happened, said),
        "recall": metrics.recall_score(happened, said),
        "f1": metrics.f1_score(happened, said),
        "positive_rate": happened.mean(),
    }
    near = {
        "auc": metrics.roc_auc_score(happened, score),
        "brier": metrics.brier_score_loss(happened, score),
        "log_loss": metrics.log_loss(happened, score),
    }
    assert {name: found[name].value for name in exact} == pytest.approx(exact, abs=1e-12)
    assert found["auc"].value == pytest.approx(near["auc"], abs=unordered(bins_of(cells.cells)))
    assert found["auc"].value == pytest.approx(near["auc"], abs=0.002)
    assert found["brier"].value == pytest.approx(near["brier"], abs=1e-4)
    assert found["log_loss"].value == pytest.approx(near["log_loss"], abs=5e-4)
    for name in (*exact, *near):
        one = found[name]
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high


def test_the_error_of_delong_is_that_of_the_components_of_single_calls() -> None:
    score, happened = binary_rows(400)
    # On the middles of the bins, so that what is tied in a bin is tied indeed.
    score = np.array([1 / (1 + math.exp(-bin_of(float(one)) * STEP)) for one in score])
    yes, no = score[happened], score[~happened]
    wins = (yes[:, None] > no).astype(float) + (yes[:, None] == no) / 2
    area = wins.mean()
    error = math.sqrt(wins.mean(1).var(ddof=1) / len(yes) + wins.mean(0).var(ddof=1) / len(no))
    half = 1.959964 * error / (area * (1 - area))
    odds = math.log(area / (1 - area))

    rows = list(zip(score.tolist(), [None] * 400, happened.tolist(), strict=True))
    found = auc(bins_of(told(YES_NO, rows).cells))

    assert found.value == pytest.approx(area, abs=1e-12)
    assert found.low == pytest.approx(1 / (1 + math.exp(half - odds)), abs=1e-9)
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - odds)), abs=1e-9)


def test_means_over_classes_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    names = np.array(["a", "b", "c", "never foretold"])
    true = rng.choice(names, 300)
    said = np.where(rng.random(300) < 0.6, true, "a")
    said[said == "never foretold"] = "b"

    rows = list(zip([0.6] * 300, said.tolist(), true.tolist(), strict=True))
    found = by_name(class_figures(told(CLASSES, rows).cells))

    options = {"average": "macro", "zero_division": 0}
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(true, said))
    assert found["precision"].value == pytest.approx(metrics.precision_score(true, said, **options))
    assert found["recall"].value == pytest.approx(metrics.recall_score(true, said, **options))
    assert found["f1"].value == pytest.approx(metrics.f1_score(true, said, **options))


def test_figures_of_numbers_are_those_of_scikit_learn_even_far_from_zero() -> None:
    rng = np.random.default_rng(3)
    true = 1e6 + rng.normal(0, 5, 300)
    said = true + rng.normal(1, 2, 300)
    rows = [(None, one, other) for one, other in zip(said.tolist(), true.tolist(), strict=True)]
    tally = told(NUMBER, rows[:100])
    tally.merge(read(encode(told(NUMBER, rows[100:]))))

    found = by_name(regression_figures(tally.errors))

    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(true, said))
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(true, said))
    assert found["mape"].value == pytest.approx(metrics.mean_absolute_percentage_error(true, said))
    assert found["r2"].value == pytest.approx(metrics.r2_score(true, said), abs=1e-9)
    assert found["bias"].value == pytest.approx((said - true).mean())
    interval = stats.ttest_1samp(said - true, 0).confidence_interval()
    assert found["bias"].low == pytest.approx(interval.low, rel=1e-3)
    assert found["bias"].high == pytest.approx(interval.high, rel=1e-3)


def test_figures_of_rankings_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    places = Places()
    gains, firsts = [], []
    for _ in range(200):
        relevant = sorted(rng.choice(20, int(rng.integers(1, 5)), replace=False).tolist())
        places.add(relevant, 10)
        is_relevant = np.isin(np.arange(20), relevant).astype(float)
        gains.append(metrics.ndcg_score([is_relevant], [-np.arange(20)], k=10))
        firsts.append(1 / (relevant[0] + 1) if relevant[0] < 10 else 0.0)

    found = by_name(ranking_figures(places))

    assert found["ndcg"].value == pytest.approx(np.mean(gains), abs=1e-8)
    assert found["mrr"].value == pytest.approx(np.mean(firsts), abs=1e-8)
    assert found["hit_rate"].value == pytest.approx(np.mean([one > 0 for one in firsts]))


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 10, 30, 1000])
def test_students_quantile_is_that_of_scipy(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=5e-3)


def test_nothing_and_one_label_say_why_there_is_no_figure() -> None:
    nothing = (*binary_figures({}), *class_figures({}), *regression_figures(None))
    nothing += (*rating_figures(None, 0), *ranking_figures(None))
    one = by_name(regression_figures(told(NUMBER, [(None, 3.0, 4.0)]).errors))
    right = by_name(binary_figures(told(YES_NO, [(0.9, True, True)]).cells))

    assert all(each.value is None and each.why for each in nothing)
    assert (one["mae"].value, one["mae"].low, one["mae"].why) == (
        1.0,
        None,
        "one label: no interval",
    )
    assert one["r2"].why
    assert right["accuracy"].value == 1.0
    assert right["accuracy"].low == pytest.approx(0.2065, abs=1e-4)  # Wilson's, of one of one
    assert right["auc"].why == "it happened in all calls, or in none"


def test_a_perfect_order_has_an_interval_that_ends_at_one() -> None:
    rows = [(0.1, False, False)] * 20 + [(0.9, True, True)] * 20

    found = by_name(binary_figures(told(YES_NO, rows).cells))["auc"]

    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low is not None
    assert 0.8 < found.low < 0.9


def test_values_too_large_to_reckon_with_are_said_and_not_nan() -> None:
    errors = Errors()
    for true in (1e300, 1.0, 2.0, -1e200):
        errors.add(3.0, true)

    found = regression_figures(errors)

    for one in found:
        assert one.value is None or math.isfinite(one.value)
        assert one.value is not None or one.why


@pytest.mark.parametrize(
    ("world", "size", "least"),
    [
        ("happens in 35 %", 200, 0.9),
        ("one of four classes", 300, 0.88),
        ("numbers", 200, 0.86),
        ("ratings", 100, 0.9),
        ("rankings", 100, 0.9),
    ],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    world: str, size: int, least: float
) -> None:
    """120 rounds: a share of 0.95 is below 0.9 once in 150 times; the seed makes it none."""
    found = coverage(world, size, 120, seed=5)

    assert found
    assert {name: share for name, (share, _) in found.items() if share < least} == {}


@pytest.mark.parametrize("spread", [3, 40, 280])
def test_tallies_added_up_as_they_are_stored_are_those_added_cell_by_cell(spread: int) -> None:
    rng = random.Random(spread)
    parts, by_hand = [], Tally()
    for _ in range(12):
        part = Tally()
        for _ in range(rng.randrange(60)):
            place = rng.choice((NO_SCORE, rng.randint(-spread, spread)))
            part.add_cell((place, rng.choice((-1, 0, 1)), rng.choice((0, 1))), rng.random())
            part.count += 1
        parts.append(part)
        for cell, (count, total) in part.cells.items():
            held = by_hand.cells.setdefault(cell, [0, 0])
            held[0], held[1] = held[0] + count, held[1] + total
        by_hand.count += part.count

    found = merged([read(encode(part)) for part in parts])
    one_by_one = Tally()
    for part in parts:
        one_by_one.merge(read(encode(part)))

    assert found == by_hand
    assert one_by_one == by_hand
    assert [decode(encode(part)) for part in parts] == parts
    assert decode(b"") == Tally()


def test_a_truth_of_its_own_kind_is_counted_in_its_own_kind_only() -> None:
    rating = PinnedTruth("stars", Task.RATING, 1.0, 1.0, good=4.0)
    tally = told(rating, [(None, None, value) for value in (5.0, 4.0, 1.0, None)])

    mean, good = rating_figures(tally.errors, tally.good)

    assert (tally.count, tally.unread) == (4, 1)
    assert (mean.value, good.value) == (pytest.approx(10 / 3), pytest.approx(2 / 3))
    assert RANKING.at == 10
