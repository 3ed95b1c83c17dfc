"""Measures of how far two samples are apart, each with an interval and, where it has one, a test.

Needs splice-ai[monitor]. Every measure takes what both samples are: neither is the truth, so the
noise of the reference counts as that of the current sample does. Measures that are above 0 by
chance alone are lowered by what chance is expected to give. Intervals are of 95 %.

Sizes are `n` of the current and `m` of the reference; of a sketch they are those of a random sample
that would be off as much (see `sketches.KLL_AS_SAMPLE`).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from splice.core.profiles import Measured
from splice.monitor.sketches import Floats

Z95 = 1.959964
KOLMOGOROV95 = 1.3581
"""Within so many standard widths an empirical distribution lies all along, 95 times of 100."""
FEW_EXPECTED = 5.0


def _root(measure: str, square: float, spread: float, p: float | None) -> Measured:
    """A measure whose square is what is measured; it is from 0 to 1."""
    ends = (square, square - Z95 * spread, square + Z95 * spread)
    value, low, high = (float(min(max(end, 0.0), 1.0)) ** 0.5 for end in ends)
    return Measured(measure, value, low, high, p)


def pooled(current: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Categories of which fewer than 5 are expected in the smaller sample, put into one."""
    n, m = current.sum(), reference.sum()
    rare = (current + reference) * min(n, m) / (n + m) < FEW_EXPECTED
    if rare.sum() < 2:
        return current, reference
    return (
        np.append(current[~rare], current[rare].sum()),
        np.append(reference[~rare], reference[rare].sum()),
    )


def shares(counts: Floats) -> Floats:
    """Shares of categories, none of them 0: half a call is added to each (Jeffreys)."""
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def psi(current: Floats, reference: Floats, p: float | None = None) -> Measured:
    """Population stability index of two counts of the same categories.

    The sum of (q - p) ln(q / p) less what chance gives, (B - 1)(1/n + 1/m). The spread is by the
    delta method, with the spread that chance alone gives; the interval is made on the scale of the
    root, where a category that one side lacks does not stretch it down to nothing.

    Source: Yurdakul and Naranjo, "Statistical properties of the population stability index" (2020),
    for the expectation; they leave the sum as it is.
    """
    current, reference = pooled(current, reference)
    n, m, q, r = current.sum(), reference.sum(), shares(current), shares(reference)
    chance = 1 / n + 1 / m
    ratio = np.log(q / r)
    value = float(((q - r) * ratio).sum()) - (len(q) - 1) * chance
    of_q, of_r = ratio + 1 - r / q, -ratio + 1 - q / r
    variance = _variance(q, of_q) / n + _variance(r, of_r) / m
    variance += 2 * (len(q) - 1) * chance**2
    value, spread = float(value), Z95 * float(variance) ** 0.5
    if value <= 0:
        return Measured("psi", 0.0, 0.0, spread, p)
    root = value**0.5
    low, high = max(root - spread / root / 2, 0.0), root + spread / root / 2
    return Measured("psi", value, low**2, high**2, p)


def _variance(share: Floats, slope: Floats) -> float:
    """Variance of a sum of slopes times shares, times the size of the sample."""
    mean = float((share * slope).sum())
    return max(float((share * slope**2).sum()) - mean**2, 0.0)


def js(current: Floats, reference: Floats, p: float | None = None) -> Measured:
    """Jensen-Shannon distance of two counts: 0 alike, 1 nothing in common.

    The root of the divergence in bits, less what chance gives it, (B - 1)(1/n + 1/m) / 8 nats.
    """
    current, reference = pooled(current, reference)
    n, m, q, r = current.sum(), reference.sum(), shares(current), shares(reference)
    chance = 1 / n + 1 / m
    middle = (q + r) / 2
    log_q, log_r = np.log(q / middle), np.log(r / middle)
    value = float((q * log_q).sum() + (r * log_r).sum()) / 2 - (len(q) - 1) * chance / 8
    variance = (_variance(q, log_q) / n + _variance(r, log_r) / m) / 4
    variance += 2 * (len(q) - 1) * (chance / 8) ** 2
    bit = float(np.log(2))
    return _root("js", value / bit, float(variance) ** 0.5 / bit, p)


def chi2(current: Floats, reference: Floats) -> Measured:
    """Two-sample chi-squared: Cramér's V of a table of both, as of samples of equal sizes.

    The root of the sum of (q - p)^2 / 2(q + p), less what chance gives it, (B - 1)(1/n + 1/m) / 4.
    The test is that of homogeneity: the reference is a sample too. Against it as if it were exact,
    unshifted columns are flagged more often than not where it is not much larger.
    """
    current, reference = pooled(current, reference)
    n, m, q, r = current.sum(), reference.sum(), shares(current), shares(reference)
    chance = 1 / n + 1 / m
    both, off = q + r, q - r
    value = float((off**2 / both).sum()) / 2 - (len(q) - 1) * chance / 4
    slope_q, slope_r = off * (q + 3 * r) / both**2 / 2, -off * (r + 3 * q) / both**2 / 2
    variance = _variance(q, slope_q) / n + _variance(r, slope_r) / m
    variance += 2 * (len(q) - 1) * (chance / 4) ** 2
    return _root("chi2", value, float(variance) ** 0.5, homogeneity(current, reference))


def homogeneity(current: Floats, reference: Floats) -> float:
    """P of the two-sample chi-squared test; 1 where there is one category only.

    Categories of which fewer than 5 are expected in the smaller sample count as one.
    """
    current, reference = pooled(current, reference)
    n, m = current.sum(), reference.sum()
    both = current + reference
    filled = both > 0
    if filled.sum() < 2:
        return 1.0
    a, b, total = current[filled], reference[filled], both[filled]
    ratio = (m / n) ** 0.5
    statistic = float(((ratio * a - b / ratio) ** 2 / total).sum())
    return float(special.chdtrc(len(total) - 1, statistic))


def share(measure: str, current: tuple[float, float], reference: tuple[float, float]) -> Measured:
    """Difference of two shares, each given as how many of how many.

    Source of the interval: Agresti and Caffo, "Simple and effective confidence intervals for
    proportions and differences of proportions" (2000): one more of either is added to each sample.
    """
    (a, n), (b, m) = current, reference
    off = float(abs(a / n - b / m))
    q, r = (a + 1) / (n + 2), (b + 1) / (m + 2)
    spread = (q * (1 - q) / (n + 2) + r * (1 - r) / (m + 2)) ** 0.5
    center = abs(q - r)
    p = homogeneity(np.array([a, n - a]), np.array([b, m - b]))
    low, high = max(center - Z95 * spread, 0.0), min(center + Z95 * spread, 1.0)
    return Measured(measure, off, min(low, off), max(high, off), p)


def ks(current: tuple[Floats, Floats, float], reference: tuple[Floats, Floats, float]) -> Measured:
    """Kolmogorov-Smirnov: the greatest distance of the two distribution functions, 0 to 1.

    Each sample is its points in order, the share of the sample up to each of them, and its size.
    The interval is the band that holds the whole of both functions. The p is the limit for large
    samples; where values are tied it is too large, never too small.
    """
    (x, f, n), (y, g, m) = current, reference
    if x is y:
        gap = float(np.max(np.abs(f - g)))
    else:
        gap = float(np.max(np.abs(along(x, f, y) - g)))
        gap = max(gap, float(np.max(np.abs(along(y, g, x) - f))))
    width = (1 / n + 1 / m) ** 0.5
    p = float(special.kolmogorov(gap / width))
    band = KOLMOGOROV95 * width
    return Measured("ks", gap, max(gap - band, 0.0), min(gap + band, 1.0), p)


def along(points: Floats, cumulated: Floats, at: Floats) -> Floats:
    """The distribution function of a sample at other points."""
    if points is at:
        return cumulated
    places = np.searchsorted(points, at, side="right")
    return np.concatenate([[0.0], cumulated])[places]


def wasserstein(
    current: tuple[Floats, Floats, float],
    reference: tuple[Floats, Floats, float],
    deviations: tuple[float, float],
) -> Measured | None:
    """How far a value must move on average to make one sample of the other (Wasserstein-1).

    In standard deviations of the reference, as `deviations` has both; None where it is 0. It is the
    area between the two distribution functions. The lower end gives away what chance alone gives on
    average, besides the spread of a difference of means: it is rather too low than too high.
    """
    (x, f, n), (y, g, m) = current, reference
    grid = x if x is y else np.union1d(x, y)
    if deviations[1] <= 0:
        return None
    steps = np.diff(grid) / deviations[1]
    of_x, of_y = along(x, f, grid)[:-1], along(y, g, grid)[:-1]
    value = float((np.abs(of_x - of_y) * steps).sum())
    both = (n * of_x + m * of_y) / (n + m)
    chance = (
        float((np.sqrt(both * (1 - both)) * steps).sum()) * (2 / np.pi * (1 / n + 1 / m)) ** 0.5
    )
    ratio = deviations[0] / deviations[1]
    spread = Z95 * (ratio**2 / n + 1 / m) ** 0.5
    return Measured("wasserstein", value, max(value - chance - spread, 0.0), value + spread)


def apart(
    measure: str,
    means: tuple[Floats, Floats],
    products: tuple[Floats, Floats],
    sizes: tuple[float, float],
) -> Measured:
    """How many standard deviations the means of vectors are apart, in the direction it shows most.

    Mahalanobis distance, less what chance gives its square; the test is Hotelling's. `products`
    are the sums of the outer products of the distances to each mean.
    """
    (n, m), d = sizes, len(means[0])
    pooled = (products[0] + products[1]) / (n + m - 2)
    # Where all texts are nearly one, a direction has no spread: a little is given to each.
    floor = max(float(np.trace(pooled)) / d, 1e-12) * 1e-4
    off = means[0] - means[1]
    square = float(off @ np.linalg.solve(pooled + floor * np.eye(d), off))
    chance = 1 / n + 1 / m
    free = n + m - d - 1
    p = float(special.fdtrc(d, free, free / (n + m - 2) / d / chance * square))
    value = square * (free - 2) / (n + m - 2) - d * chance
    variance = 4 * max(value, 0) * chance + 2 * d * chance**2 + 2 * max(value, 0) ** 2 / (n + m)
    ends = (value, value - Z95 * variance**0.5, value + Z95 * variance**0.5)
    middle, low, high = (max(end, 0.0) ** 0.5 for end in ends)
    return Measured(measure, middle, low, high, p)


def corrected(p: Floats) -> Floats:
    """P of several tests, so that among those below a bound at most that share is false.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate" (1995).
    """
    if not len(p):
        return p
    order = np.argsort(p)
    raised = p[order] * len(p) / np.arange(1, len(p) + 1)
    least = np.minimum.accumulate(raised[::-1])[::-1]
    out = np.empty(len(p))
    out[order] = np.minimum(least, 1.0)
    return out
