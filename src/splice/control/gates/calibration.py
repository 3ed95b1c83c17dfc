"""Calibration: of those who get 0.3, three in ten it is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from splice.control.gates.bench import Bench, cannot_tell, number, result, told
from splice.control.gates.intervals import Estimate, draws
from splice.control.gates.sample import CannotTell, Sample
from splice.core.validation import GateResult
from splice.declare.gates import Calibrated

Floats = npt.NDArray[np.float64]

_LEAST_A_BIN = 5


def calibrated(gate: Calibrated, bench: Bench) -> GateResult:
    """Whether the calibration error, or with `sure` the upper end of its interval, is in bound."""
    try:
        found = calibration_error(*_happened_and_chance(bench.sample), gate.bins)
    except CannotTell as why:
        return cannot_tell(gate, why, bound=gate.ece)
    judged = found.high if gate.sure else found.value
    what = f"calibration error is {told(found)}, wanted at most {number(gate.ece)}"
    if gate.sure:
        what += " for the upper end"
    if judged > gate.ece:
        what += f": {number(judged - gate.ece)} too high"
    return result(gate, what, passed=judged <= gate.ece, bound=gate.ece, found=found)


def _happened_and_chance(sample: Sample) -> tuple[Floats, Floats]:
    """Of two classes the second; of more, the class that it names and whether that was right."""
    rows = sample.answered
    if sample.two_classes:
        return sample.pairs("chance", rows)
    truth, said = sample.pairs("label", rows)
    if any(one.prediction and one.prediction.scores is None for one in sample.tried):
        raise CannotTell("a prediction names no chances")
    scores = [one.prediction.score for one in sample.tried if one.prediction is not None]
    return np.asarray(truth == said, dtype=np.float64), np.array(scores, dtype=np.float64)


def calibration_error(happened: Floats, chance: Floats, bins: int) -> Estimate:
    """Root of the mean squared gap of chance and share, over bins of as many rows, without bias.

    A few rows in a bin are off by luck alone: with 300 rows in 10 bins the plain error of a perfect
    model is about 0.06. What luck adds to the squared gap of a bin, `share (1 - share) / (rows -
    1)`, is taken off; below 0 it is 0. The interval is the basic bootstrap of the squared error.

    Args:
        happened: 1 where it did, shape (n,).
        chance: The chance that it does, shape (n,), each in [0, 1].
        bins: How many.

    Raises:
        CannotTell: Fewer than five rows a bin, or a score that is no chance.

    Source: Kumar, Liang and Ma, "Verified Uncertainty Calibration", NeurIPS 2019, section 5.
    """
    n = len(chance)
    if n < bins * _LEAST_A_BIN:
        raise CannotTell(f"{n} answered rows in {bins} bins; at least {_LEAST_A_BIN} a bin")
    if np.any((chance < 0) | (chance > 1)):
        raise CannotTell("a score is no chance between 0 and 1")
    order = np.argsort(chance, kind="stable")
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n) * bins // n
    member = np.zeros((n, bins))
    member[np.arange(n), place] = 1.0

    def squared(weights: Floats) -> tuple[Floats, Floats]:
        """The squared error without what luck adds, and with it; shape (resamples,) each."""
        rows = weights @ member
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (weights * happened) @ member / rows
            gap = ((weights * chance) @ member / rows - share) ** 2
            luck = share * (1 - share) / np.maximum(rows - 1, 1)
        held = np.where(rows > 1, rows, 0.0)
        total = np.sum(held, axis=1)
        fair = np.sum(np.where(held > 0, held * (gap - luck), 0.0), axis=1) / total
        return fair, np.sum(np.where(held > 0, held * gap, 0.0), axis=1) / total

    fair, plain = (float(one[0]) for one in squared(np.ones((1, n))))
    drawn = np.concatenate([squared(weights)[0] for weights in draws(n)])
    # A resample's truth is the sample, error of luck and all: hence `plain` stands for it.
    low, high = (fair - (edge - plain) for edge in np.quantile(drawn, [0.975, 0.025]))
    return Estimate(_root(fair), _root(float(low)), _root(float(high)), np.sqrt(drawn.clip(0)))


def _root(squared: float) -> float:
    return math.sqrt(max(0.0, squared))
