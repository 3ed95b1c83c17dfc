"""Figures agree with scikit-learn; intervals cover what they say; calibration is without bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn import metrics as oracle

from splice.control.gates import intervals
from splice.control.gates.calibration import calibration_error
from splice.control.gates.figures import WEIGHTED
from splice.control.gates.intervals import difference, draws, estimate
from splice.control.gates.sample import CannotTell, Sample
from splice.control.gates.trial import Tried
from splice.core.call import Prediction
from splice.core.metrics import METRICS

RANDOM = np.random.default_rng(11)
N = 157


def _ks(happened: Any, chance: Any) -> float:
    return float(ks_2samp(chance[happened == 1], chance[happened == 0]).statistic)


CHANCES: dict[str, Callable[[Any, Any], float]] = {
    "auc": oracle.roc_auc_score,
    "average_precision": oracle.average_precision_score,
    "ks": _ks,
    "brier": oracle.brier_score_loss,
    "log_loss": oracle.log_loss,
}
NUMBERS: dict[str, Callable[[Any, Any], float]] = {
    "mae": oracle.mean_absolute_error,
    "rmse": oracle.root_mean_squared_error,
    "r2": oracle.r2_score,
    "mape": oracle.mean_absolute_percentage_error,
}


def one(name: str, truth: Any, said: Any, weights: Any = None) -> float:
    weights = np.ones((1, len(truth))) if weights is None else weights
    return float(WEIGHTED[name](weights, truth, said)[0])


def test_every_metric_has_a_formula_and_an_oracle() -> None:
    assert set(WEIGHTED) == set(METRICS) == {*CHANCES, *NUMBERS, "accuracy", "f1"}


@pytest.mark.parametrize("name", CHANCES)
@pytest.mark.parametrize("ties", [False, True])
def test_a_figure_of_chances_is_that_of_scikit_learn(name: str, ties: bool) -> None:
    happened = (RANDOM.random(N) < 0.3).astype(float)
    chance = np.clip(RANDOM.random(N) * 0.8 + happened * 0.2, 0, 1)
    chance = chance.round(1) * 0.98 + 0.01 if ties else chance

    assert one(name, happened, chance) == pytest.approx(CHANCES[name](happened, chance), abs=1e-12)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_figure_of_numbers_is_that_of_scikit_learn(name: str) -> None:
    truth = RANDOM.normal(50, 10, N)
    said = truth + RANDOM.normal(1, 5, N)

    assert one(name, truth, said) == pytest.approx(NUMBERS[name](truth, said), rel=1e-12)


def test_labels_are_judged_as_scikit_learn_does() -> None:
    truth, said = (RANDOM.integers(0, 2, N).astype(float) for _ in range(2))
    words, heard = (np.array(["a", "b", "c"])[RANDOM.integers(0, 3, N)] for _ in range(2))

    assert one("accuracy", truth, said) == pytest.approx(oracle.accuracy_score(truth, said))
    assert one("f1", truth, said) == pytest.approx(oracle.f1_score(truth, said))
    assert one("f1", words, heard) == pytest.approx(oracle.f1_score(words, heard, average="macro"))


@pytest.mark.parametrize("name", METRICS)
def test_a_row_of_weight_two_counts_as_two_rows(name: str) -> None:
    truth = RANDOM.normal(50, 10, N) if name in NUMBERS else (RANDOM.random(N) < 0.4).astype(float)
    said = truth + 3 if name in NUMBERS else RANDOM.random(N)
    said = (said > 0.5).astype(float) if name in ("accuracy", "f1") else said
    weights = next(iter(draws(N)))[:1]
    drawn = np.repeat(np.arange(N), weights[0].astype(int))

    assert one(name, truth, said, weights) == pytest.approx(one(name, truth[drawn], said[drawn]))


def sample(labels: Any, chances: Any) -> Sample:
    tried = [Tried(Prediction(value=float(c), score=float(c))) for c in chances]
    return Sample([bool(one) for one in labels], tried)


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a simulation of many rounds."""
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


@pytest.mark.usefixtures("few_resamples")
def test_the_interval_of_the_auc_covers_the_truth_as_often_as_it_says() -> None:
    # Two normal distributions one apart: the true AUC is Phi(1 / sqrt 2) = 0.7602.
    random, covered, rounds = np.random.default_rng(5), 0, 150
    for _ in range(rounds):
        happened = random.random(200) < 0.3
        found = estimate("auc", sample(happened, 1 / (1 + np.exp(-random.normal(happened, 1)))))
        covered += found.low <= 0.7602 <= found.high

    # 95 % of 150 is 142; the percentile bootstrap is a little short on few rows.
    assert covered >= 0.9 * rounds


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    random = np.random.default_rng(7)
    happened = random.random(300) < 0.3
    signal = random.normal(happened, 1)
    old = sample(happened, 1 / (1 + np.exp(-signal)))
    new = sample(happened, 1 / (1 + np.exp(-signal - random.normal(0, 0.2, 300))))

    first, second, gap = difference("auc", new, old)

    assert gap.value == pytest.approx(first.value - second.value)
    assert gap.high - gap.low < (first.high - first.low) / 2


def test_the_same_rows_give_the_same_interval() -> None:
    happened = RANDOM.random(100) < 0.5
    one_sample = sample(happened, RANDOM.random(100))

    assert estimate("ks", one_sample)[:3] == estimate("ks", one_sample)[:3]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([True] * 50, "same label"),
        ([True] * 2 + [False] * 3, "at least 10"),
        ([True] + [False] * 49, "too few rows of one class"),
    ],
)
def test_what_the_data_cannot_tell_is_said(labels: list[bool], says: str) -> None:
    with pytest.raises(CannotTell, match=says):
        estimate("auc", sample(labels, np.linspace(0, 1, len(labels))))


def test_a_positive_class_that_is_the_models_first_turns_the_score_round() -> None:
    scores = [{"good": 1 - c, "bad": c} for c in np.linspace(0, 1, 40)]
    tried = [Tried(Prediction(value="bad", score=one["bad"], scores=one)) for one in scores]
    labels = ["good"] * 20 + ["bad"] * 20

    for positive in ("good", "bad", ""):
        assert estimate("auc", Sample(labels, tried, positive)).value == 1.0
    with pytest.raises(CannotTell, match="no label is ugly"):
        estimate("auc", Sample(labels, tried, "ugly"))


def test_labels_of_the_models_classes_need_no_positive() -> None:
    tried = [
        Tried(Prediction(value=word, score=0.9, scores={"a": 0.9, "b": 0.05, "c": 0.05}))
        for word in ["a", "b", "c", "a"] * 10
    ]
    labels = ["a", "b", "a", "a"] * 10

    assert estimate("accuracy", Sample(labels, tried)).value == 0.75
    with pytest.raises(CannotTell, match="neither yes and no"):
        estimate("auc", Sample(labels, tried))


def _plain(happened: Any, chance: Any, bins: int = 10) -> float:
    """The plain error, which luck adds to."""
    parts = np.array_split(np.argsort(chance), bins)
    return float(np.sqrt(np.mean([(chance[i].mean() - happened[i].mean()) ** 2 for i in parts])))


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(("off", "error"), [(0.0, 0.0), (0.1, 0.1)])
def test_luck_is_taken_off_the_calibration_error(off: float, error: float) -> None:
    random, squared, plain = np.random.default_rng(9), list[float](), list[float]()
    for _ in range(150):
        chance = random.uniform(0.2, 0.8, 300)
        happened = (random.random(300) < chance - off).astype(float)
        found = calibration_error(happened, chance, 10)
        squared.append(found.value**2)
        plain.append(_plain(happened, chance) ** 2)
        assert found.low <= found.value <= found.high

    # Clipping at 0 leaves a little; the plain error is off by the whole of a bin's variance.
    assert np.mean(squared) == pytest.approx(error**2, abs=0.0025)
    assert np.mean(plain) > error**2 + 0.005


@pytest.mark.usefixtures("few_resamples")
def test_the_interval_of_the_calibration_error_covers_the_truth() -> None:
    random, covered, rounds = np.random.default_rng(3), 0, 100
    for _ in range(rounds):
        chance = random.uniform(0.2, 0.8, 500)
        happened = (random.random(500) < chance - 0.12).astype(float)
        found = calibration_error(happened, chance, 10)
        covered += found.low <= 0.12 <= found.high

    assert covered >= 0.88 * rounds
