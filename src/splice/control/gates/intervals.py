"""Intervals: a figure with the range that resampling the rows gives it; seeded, so repeatable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from splice.control.gates.figures import WEIGHTED
from splice.control.gates.sample import Bools, CannotTell, Sample
from splice.core.metrics import METRICS
from splice.declare.gates import Figure, figure_name

Floats = npt.NDArray[np.float64]

RESAMPLES = 1000
SEED = 20_261_128
"""The same data, version and gates give the same validation on every machine."""
_CELLS = 4_000_000
"""Resamples are drawn in blocks of so many cells: 32 MB at a time."""
_MIN_ROWS = 10
_MOST_VOID = 0.05


class Estimate(NamedTuple):
    """A figure, its 95 % interval, and the figure of every resample."""

    value: float
    low: float
    high: float
    draws: Floats


def draws(n: int) -> Iterator[Floats]:
    """How often each of n rows is drawn, in blocks of shape (some resamples, n): 1,000 in all."""
    random = np.random.default_rng(SEED)
    block = max(1, min(RESAMPLES, _CELLS // max(1, n)))
    for start in range(0, RESAMPLES, block):
        count = min(block, RESAMPLES - start)
        drawn = random.integers(0, n, (count, n)) + np.arange(count)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


def interval(found: Floats) -> tuple[float, float]:
    """The middle 95 % of the resamples (percentile bootstrap: Efron and Tibshirani, 1993, ch. 13).

    Raises:
        CannotTell: More than one in twenty resamples could not tell the figure.
    """
    void = float(np.mean(~np.isfinite(found)))
    if void > _MOST_VOID:
        raise CannotTell(f"{void:.0%} of the resamples hold too few rows of one class")
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def estimate(figure: Figure, sample: Sample, rows: Bools | None = None) -> Estimate:
    """A figure over the answered rows (of those given), with its interval.

    Raises:
        CannotTell: Too few rows, one class, or labels that do not fit.
    """
    chosen = sample.answered if rows is None else sample.answered & rows
    return _estimate(_resampled(figure, sample, chosen), int(chosen.sum()))


def difference(figure: Figure, new: Sample, old: Sample) -> tuple[Estimate, Estimate, Estimate]:
    """The figure of both over the rows that both answered, and new minus old.

    The resamples are paired: each draws the same rows for both, so what is hard for both cancels.

    Raises:
        CannotTell: As for `estimate`.
    """
    both = new.answered & old.answered
    first = estimate(figure, new, both)
    second = estimate(figure, old, both)
    gap = first.draws - second.draws
    return first, second, Estimate(first.value - second.value, *interval(gap), gap)


def _estimate(resampled: Callable[[Floats], Floats], n: int) -> Estimate:
    if n < _MIN_ROWS:
        raise CannotTell(f"{n} answered rows; at least {_MIN_ROWS} are needed")
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(resampled(np.ones((1, n)))[0])
        if not np.isfinite(value):
            raise CannotTell("all rows have the same label")
        found = np.concatenate([resampled(weights) for weights in draws(n)])
    return Estimate(value, *interval(found), found)


def _resampled(figure: Figure, sample: Sample, rows: Bools) -> Callable[[Floats], Floats]:
    if isinstance(figure, str):
        truth, said = sample.pairs(METRICS[figure].kind, rows)
        weighted = WEIGHTED[figure]
        return lambda weights: weighted(weights, truth, said)
    labels, scores, decisions = sample.of_function(figure, rows)

    def by_function(weights: Floats) -> Floats:
        found: list[float] = []
        for one in weights:
            drawn = np.repeat(np.arange(len(labels)), one.astype(np.int64)).tolist()
            picked = ([of[i] for i in drawn] for of in (labels, scores, decisions))
            found.append(_called(figure, *picked))
        return np.array(found)

    return by_function


def _called(
    figure: Callable[[Any, Any, Any], float],
    labels: Sequence[Any],
    scores: Sequence[Any],
    decisions: Sequence[Any],
) -> float:
    try:
        return float(figure(labels, scores, decisions))
    except Exception as error:  # a figure may be the user's own code
        raise CannotTell(
            f"{figure_name(figure)}() raised {type(error).__name__}: {str(error)[:200]}"
        ) from error
