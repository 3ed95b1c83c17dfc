"""Figures of numbers foretold, of ratings and of rankings, from sums."""

from __future__ import annotations

import math

from splice.core.quality import Measured
from splice.core.tallies import NANO, Errors, Places
from splice.core.units import plural
from splice.monitor.intervals import mean, plain, positive_mean, share, untold


def regression_figures(sums: Errors | None) -> tuple[Measured, ...]:
    """Mean absolute error, root mean squared error, MAPE, bias and R2 with intervals."""
    if sums is None or not sums.count:
        names = ("mae", "rmse", "mape", "bias", "r2")
        return tuple(untold(name, "no labels of calls that foretold a number") for name in names)
    n = sums.count
    return (
        positive_mean("mae", n, sums.abs_e, sums.e2),
        _root(positive_mean("rmse", n, sums.e2, sums.e4)),
        positive_mean("mape", sums.shared, sums.share, sums.share2)
        if sums.shared == n
        else untold("mape", f"{n - sums.shared} outcomes are 0, of which no error is a share", n),
        mean("bias", n, sums.e, sums.e2),
        r2(sums),
    )


def _root(squared: Measured) -> Measured:
    value, low, high = (
        None if one is None else math.sqrt(max(0.0, one))
        for one in (squared.value, squared.low, squared.high)
    )
    return Measured("rmse", value, low, high, squared.count, squared.why)


def r2(sums: Errors) -> Measured:
    """Share of the outcomes' variance that is explained: 1 - E[e^2] / Var[d].

    The interval is by the delta method over the means of e^2, d and d^2, whose variances are in the
    sums (van der Vaart, Asymptotic Statistics, 1998, chapter 3).
    """
    n = sums.count
    if n < 3:
        return untold("r2", f"{plural(n, 'label')}; 3 are needed", n)
    m1, m2, m3 = sums.e2 / n, sums.d / n, sums.d2 / n
    spread = m3 - m2 * m2
    if not math.isfinite(sums.e4 + sums.d4):
        return untold("r2", "values too large to reckon with", n)
    if spread <= 1e-12 * max(m3, 1e-300):
        return untold("r2", "all outcomes are the same", n)
    value = 1 - m1 / spread
    slopes = (-1 / spread, -2 * m1 * m2 / spread**2, m1 / spread**2)
    moments = (
        (sums.e4 / n - m1 * m1, sums.e2d / n - m1 * m2, sums.e2d2 / n - m1 * m3),
        (sums.e2d / n - m1 * m2, m3 - m2 * m2, sums.d3 / n - m2 * m3),
        (sums.e2d2 / n - m1 * m3, sums.d3 / n - m2 * m3, sums.d4 / n - m3 * m3),
    )
    variance = sum(slopes[i] * slopes[j] * moments[i][j] for i in range(3) for j in range(3))
    found = plain("r2", value, math.sqrt(max(0.0, variance) / n), n)
    if found.low is None or found.high is None:
        return found
    return Measured("r2", value, found.low, min(1.0, found.high), n)


def rating_figures(sums: Errors | None, good: int) -> tuple[Measured, ...]:
    """Mean rating, and the share that is good."""
    if sums is None or not sums.count:
        return untold("rating", "no ratings"), untold("good", "no ratings")
    found = mean("rating", sums.count, sums.d, sums.d2)
    value, low, high = (
        None if one is None else one + sums.pivot for one in (found.value, found.low, found.high)
    )
    return Measured("rating", value, low, high, sums.count, found.why), share(
        "good", good, sums.count
    )


def ranking_figures(sums: Places | None, nothing: int = 0) -> tuple[Measured, ...]:
    """NDCG, mean reciprocal rank and hit rate.

    `nothing` is how many calls more had nothing relevant at all; they count as 0.
    """
    sums = sums or Places()
    count = sums.count + nothing
    if not count:
        return tuple(untold(name, "no labels") for name in ("ndcg", "mrr", "hit_rate"))
    return (
        _within(mean("ndcg", count, sums.gain / NANO, sums.gain2 / NANO)),
        _within(mean("mrr", count, sums.reciprocal / NANO, sums.reciprocal2 / NANO)),
        share("hit_rate", sums.hits, count),
    )


def _within(found: Measured) -> Measured:
    if found.low is None or found.high is None:
        return found
    return Measured(found.name, found.value, max(0.0, found.low), min(1.0, found.high), found.count)
