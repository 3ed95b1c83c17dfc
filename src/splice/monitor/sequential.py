"""Sequential statistics: differences of two arms that may be looked at as often as one likes.

Everything is reckoned from sums over units (see `splice.core.moments`): a unit is an entity, which
is what the arms were drawn by. Rows of calls are no units: calls of one entity are alike, and an
interval that takes them for strangers is too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from splice.core.figures import Z95
from splice.core.moments import Moments
from splice.core.studies import Interval

ALPHA = 0.05

LEAST_UNITS = 100
"""Units that each arm needs for an interval: it is an asymptotic one."""

LEAST_HITS = 20
"""Units with anything but 0, in both arms together: of a rare thing the mean is not yet normal."""

TUNED_AT = 5_000.0
"""Units at which an interval is to be tightest, where no objective says which effect matters."""

RATIO_THRESHOLD = 0.001
"""A mismatch is called so when luck alone would show it, ever, in one of a thousand studies: an
alarm that is wrong costs a study, and with one in twenty nobody would believe the next one."""

RATIO_PRIOR = 100.0
"""Units that the expected shares are worth: shares far from them show soon, near ones later."""

_COVARIATES = (2, 3, 4)
_POWER_Z = 0.8416  # of a normal distribution, four fifths lie below


class Compared(msgspec.Struct, frozen=True):
    """The difference of two arms, treated less control, with its variance.

    `plain` is the variance without the correction by what the units did before; `reduction` is the
    share of it that the correction took away.
    """

    difference: float
    variance: float
    plain: float
    units: int

    @property
    def reduction(self) -> float:
        """From 0 to 1."""
        return max(0.0, 1 - self.variance / self.plain) if self.plain > 0 else 0.0


def compare(control: Moments, treated: Moments) -> Compared | None:
    """How far the means of a call are apart; None where nothing can be told yet.

    The mean of an arm is a ratio of two sums over its units; its error comes by the delta method.
    The difference is corrected by the units' own past (CUPED): their sum and count of calls before
    the study, and whether there were any. The factors are those that make the variance least. Of
    shares, the error is never less than Laplace's rule leaves: an arm without a single failure
    has not proved that it has none.

    Source: Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled
    Experiments by Utilizing Pre-Experiment Data", WSDM 2013, appendix B (ratio metrics). Theirs
    is one covariate, the same metric; ours are its parts and whether the unit is new.
    """
    arms = (control, treated)
    if any(one.count < LEAST_UNITS or one.sums[1] <= 0 for one in arms):
        return None
    binary = all(one.binary for one in arms)
    if not binary and sum(one.hits for one in arms) < LEAST_HITS:
        return None
    if binary and _few(control, treated):
        return None
    means = [one.sums[0] / one.sums[1] for one in arms]
    plain = math.fsum(_own(one, mean) / one.count for one, mean in zip(arms, means, strict=True))
    factors = _factors(arms, means)
    shift = math.fsum(
        factor * (treated.mean(column) - control.mean(column))
        for column, factor in zip(_COVARIATES, factors, strict=True)
    )
    variance = math.fsum(
        _corrected(one, mean, factors) / one.count for one, mean in zip(arms, means, strict=True)
    )
    if binary:
        floor = math.fsum(map(_laplace, arms))
        plain, variance = max(plain, floor), max(variance, floor * _left(plain, variance))
    if variance <= 0:
        return None
    return Compared(means[1] - means[0] - shift, variance, plain, control.count + treated.count)


def radius(variance: float, mixture: float, alpha: float = ALPHA) -> float:
    """Half the width of an interval that holds at every look at once.

    Args:
        variance: Of the estimate, as of now.
        mixture: Variance of the effects that it is tuned for: of that order it is tightest. It must
            not change from look to look.
        alpha: How often such intervals may ever miss the truth.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2. With n units of
    standard deviation s theirs is s sqrt(2 (n r^2 + 1) / (n r)^2 log(sqrt(n r^2 + 1) / alpha));
    this is the same with variance = s^2 / n and mixture = (r s)^2. Written so it also holds where
    the error shrinks because units call again, and not because there are more of them: then time
    is information (Jennison and Turnbull, "Group Sequential Methods" (2000), chapter 11).
    """
    both = variance + mixture
    return math.sqrt(variance * both / mixture * math.log(both / (variance * alpha * alpha)))


def mixture_for(effect: float) -> float:
    """The mixture that makes an interval tightest when an effect of that size can just be told.

    Source: Waudby-Smith et al. (2024), appendix B.2: at information 1 / variance = t the width is
    least for mixture * t = -2 log(alpha) + log(1 - 2 log(alpha)), about 8; and an effect of that
    size is about 2.8 standard errors away then.
    """
    return effect * effect


def mixture_at(variance: float, units: int, tuned_at: float = TUNED_AT) -> float:
    """The mixture that makes an interval tightest at so many units, by the spread seen now."""
    log_alpha = -2 * math.log(ALPHA)
    return variance * units / tuned_at * (log_alpha + math.log(1 + log_alpha))


def interval(compared: Compared, mixture: float, alpha: float = ALPHA) -> Interval:
    """Where the difference lies, whenever one looks."""
    half = radius(compared.variance, mixture, alpha)
    return Interval(compared.difference - half, compared.difference + half, 1 - alpha)


def fixed_interval(mean: float, variance: float, z: float = Z95) -> Interval:
    """Where it lies for one look at a time that was fixed before."""
    half = z * math.sqrt(variance)
    return Interval(mean - half, mean + half, always=False)


def more_units(
    compared: Compared, mixture: float, effect: float, alpha: float = ALPHA
) -> int | None:
    """How many more units would tell such an effect, four times in five; None where none would.

    That is when the interval's half width and 0.84 standard errors fit into the effect.
    """
    if not effect or not math.isfinite(effect):
        return None

    def told(units: float) -> bool:
        variance = compared.variance * compared.units / units
        return radius(variance, mixture, alpha) + _POWER_Z * math.sqrt(variance) <= abs(effect)

    low, high = float(compared.units), float(compared.units)
    while not told(high):
        low, high = high, high * 2
        if high > 1e15:
            return None
    while high - low > max(1.0, 1e-3 * high):
        middle = (low + high) / 2
        low, high = (low, middle) if told(middle) else (middle, high)
    return max(0, math.ceil(high) - compared.units)


def mismatch(observed: Sequence[int], shares: Sequence[float]) -> float:
    """A bound on how probable such counts are, ever, if the units came by these shares.

    Small where they did not; and it may be looked at after every unit: if nothing is wrong, it goes
    below p with a probability of p at most.

    Args:
        observed: Units by arm.
        shares: What each arm should get of them; they add up to 1.

    Source: Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022:
    1 over the Bayes factor of a Dirichlet prior around the shares, of `RATIO_PRIOR` units.
    """
    prior = [RATIO_PRIOR * one for one in shares]
    log_factor = _log_beta([a + n for a, n in zip(prior, observed, strict=True)]) - _log_beta(prior)
    log_factor -= math.fsum(n * math.log(p) for n, p in zip(observed, shares, strict=True) if n)
    return min(1.0, math.exp(-max(0.0, log_factor)))


def spread(one: Moments) -> float:
    """The variance of the units' parts in the mean of a call; 0 where all calls are alike."""
    return 0.0 if one.ratio is None else _own(one, one.ratio)


def _log_beta(values: Sequence[float]) -> float:
    return math.fsum(map(math.lgamma, values)) - math.lgamma(math.fsum(values))


def _few(control: Moments, treated: Moments) -> bool:
    """Of a share: too few calls of the rarer kind, and the arms are not both without any."""
    hits = control.sums[0] + treated.sums[0]
    calls = control.sums[1] + treated.sums[1]
    return 0 < min(hits, calls - hits) < LEAST_HITS


def _own(one: Moments, mean: float) -> float:
    """The variance of a unit's part in the mean: of (y - mean n) / the mean n."""
    parts = (one.covariance(0, 0), mean**2 * one.covariance(1, 1))
    left = math.fsum((*parts, -2 * mean * one.covariance(0, 1)))
    if left <= 1e-12 * (math.fsum(parts) + one.mean(0) ** 2):  # what is left are roundings
        return 0.0
    return left / one.mean(1) ** 2


def _with(one: Moments, mean: float, column: int) -> float:
    """The covariance of a unit's part in the mean with a column of its past."""
    return (one.covariance(0, column) - mean * one.covariance(1, column)) / one.mean(1)


def _factors(arms: tuple[Moments, Moments], means: Sequence[float]) -> list[float]:
    """By how much the past counts: the solution of the normal equations of the difference."""
    matrix = [
        [math.fsum(one.covariance(i, j) / one.count for one in arms) for j in _COVARIATES]
        for i in _COVARIATES
    ]
    right = [
        math.fsum(_with(one, mean, i) / one.count for one, mean in zip(arms, means, strict=True))
        for i in _COVARIATES
    ]
    return _solved(matrix, right)


def _corrected(one: Moments, mean: float, factors: Sequence[float]) -> float:
    pairs = list(zip(_COVARIATES, factors, strict=True))
    own = _own(one, mean) - 2 * math.fsum(f * _with(one, mean, i) for i, f in pairs)
    own += math.fsum(f * g * one.covariance(i, j) for i, f in pairs for j, g in pairs)
    return max(0.0, own)


def _laplace(one: Moments) -> float:
    """The least variance of a share's error that its counts allow to claim."""
    share = (one.sums[0] + 1) / (one.sums[1] + 2)
    return share * (1 - share) / one.sums[1]


def _left(plain: float, variance: float) -> float:
    return min(1.0, variance / plain) if plain > 0 else 1.0


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a small symmetric system; 0 for columns that say nothing new.

    Gauss and Jordan, with the diagonal scaled to 1: what is left below a millionth is noise.
    """
    size = len(right)
    scale = [math.sqrt(matrix[i][i]) if matrix[i][i] > 0 else 0.0 for i in range(size)]
    used = [i for i in range(size) if scale[i] > 0]
    rows = {
        i: [matrix[i][j] / (scale[i] * scale[j]) for j in used] + [right[i] / scale[i]]
        for i in used
    }
    solved: list[tuple[int, int]] = []  # row and column of each pivot
    for place, i in enumerate(used):
        pivot = rows[i][place]
        if pivot < 1e-6:
            continue
        rows[i] = [value / pivot for value in rows[i]]
        for other in used:
            if other != i and (factor := rows[other][place]):
                pairs = zip(rows[other], rows[i], strict=True)
                rows[other] = [a - factor * b for a, b in pairs]
        solved.append((i, place))
    found = [0.0] * size
    for i, _ in solved:
        found[i] = rows[i][-1] / scale[i]
    return found
