"""Intervals of figures that come out of counts and sums, without the single calls."""

from __future__ import annotations

import math

from splice.core.figures import Z95, wilson
from splice.core.quality import Measured


def untold(name: str, why: str, count: int = 0) -> Measured:
    """A figure that cannot be told."""
    return Measured(name, count=count, why=why)


def share(name: str, hits: int, count: int, nothing: str = "no labels") -> Measured:
    """A share with Wilson's interval; `nothing` says why there is none where count is 0."""
    if count <= 0:
        return untold(name, nothing)
    return Measured(name, hits / count, *wilson(hits, count), count)


def plain(name: str, value: float, error: float, count: int) -> Measured:
    """A figure with the normal interval of its standard error."""
    if not math.isfinite(value) or not math.isfinite(error):
        return untold(name, "values too large to reckon with", count)
    return Measured(name, value, value - Z95 * error, value + Z95 * error, count)


def mean(name: str, count: int, total: float, squares: float) -> Measured:
    """A mean with Student's interval, from the sum and the sum of squares."""
    if count <= 0:
        return untold(name, "no labels")
    value = total / count
    if not math.isfinite(value) or not math.isfinite(squares):
        return untold(name, "values too large to reckon with", count)
    if count < 2:
        return Measured(name, value, None, None, count, "one label: no interval")
    error = math.sqrt(max(0.0, squares / count - value * value) / (count - 1))
    half = student(count - 1) * error
    return Measured(name, value, value - half, value + half, count)


def positive_mean(name: str, count: int, total: float, squares: float) -> Measured:
    """The same of what is never below 0: the interval is that of its logarithm (delta method)."""
    found = mean(name, count, total, squares)
    if found.value is None or found.low is None or found.value <= 0:
        return found
    error = math.sqrt(max(0.0, squares / count - found.value**2) / (count - 1))
    stretch = math.exp(min(50.0, student(count - 1) * error / found.value))
    return Measured(name, found.value, found.value / stretch, found.value * stretch, count)


def on_odds(name: str, value: float, error: float, count: int) -> Measured:
    """A figure between 0 and 1 whose interval is that of its log-odds, so that it stays within."""
    if not 0 < value < 1:
        return Measured(name, value, value, value, count)
    half = Z95 * error / (value * (1 - value))
    odds = math.log(value / (1 - value))
    return Measured(name, value, _chance(odds - half), _chance(odds + half), count)


def _chance(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t.

    Source: the expansion of Abramowitz and Stegun, Handbook of Mathematical Functions (1964),
    26.7.5; within 0.5 % from three degrees of freedom on, and exact below.
    """
    if freedom == 1:
        return 12.7062047
    if freedom == 2:
        return 4.3026527
    z, n = Z95, float(freedom)
    z2 = z * z
    terms = (
        z * (z2 + 1) / 4,
        z * (z2 * (5 * z2 + 16) + 3) / 96,
        z * (z2 * (z2 * (3 * z2 + 19) + 17) - 15) / 384,
        z * (z2 * (z2 * (z2 * (79 * z2 + 776) + 1482) - 1920) - 945) / 92160,
    )
    return z + sum(term / n ** (place + 1) for place, term in enumerate(terms))
