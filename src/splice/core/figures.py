"""Figures of a variant's calls: what guards bound, and what a person compares."""

from __future__ import annotations

import math

import msgspec

from splice.core.units import duration_text

Z95 = 1.959964
Z99 = 2.575829


class Mean(msgspec.Struct, frozen=True):
    """A mean with what its interval needs."""

    count: int
    mean: float
    variance: float = 0.0  # of the sample, by count - 1
    binary: bool = False  # every value was 0 or 1, true or false


class Figures(msgspec.Struct, frozen=True):
    """What the calls of one variant came to.

    Counted are calls that a route was asked for: none that were refused, answered from a cache,
    or whose caller went away. `errors` are those that the first route did not answer, `failures`
    those without any answer. Latencies are in seconds, of the newest calls. `cost` is in the
    account's currency; None where no call's is known.
    """

    calls: int = 0
    errors: int = 0
    failures: int = 0
    latency: dict[str, float] = {}  # latency_p50, latency_p95, latency_p99
    cost: float | None = None
    outcomes: dict[str, Mean] = {}

    def of(self, figure: str) -> float | None:
        """A figure by its name in guards; None where nothing is known of it yet."""
        if figure.startswith("outcome:"):
            found = self.outcomes.get(figure.partition(":")[2])
            return None if found is None or not found.count else found.mean
        if figure in ("errors", "failures"):
            return getattr(self, figure) / self.calls if self.calls else None
        if figure == "cost":
            return self.cost
        return self.latency.get(figure)

    def count_of(self, figure: str) -> int:
        """How many observations a figure rests on."""
        if figure.startswith("outcome:"):
            found = self.outcomes.get(figure.partition(":")[2])
            return 0 if found is None else found.count
        return self.calls

    def spread_of(self, figure: str) -> float | None:
        """The standard error of a share or a mean; None for quantiles and costs."""
        count = self.count_of(figure)
        if count < 2:
            return None
        if figure.startswith("outcome:"):
            mean = self.outcomes[figure.partition(":")[2]]
            if mean.binary:
                return _share_error(mean.mean * count, count)
            return math.sqrt(mean.variance / count) or None  # equal values tell of no spread
        if figure in ("errors", "failures"):
            return _share_error(getattr(self, figure), count)
        return None


def _share_error(hits: float, count: int) -> float:
    """The standard error of a share; never 0, by Laplace's rule."""
    share = (hits + 1) / (count + 2)
    return math.sqrt(share * (1 - share) / count)


def figure_text(figure: str, value: float) -> str:
    """A figure with its unit, as a person reads it: "2 %", "80 ms"."""
    if figure in ("errors", "failures"):
        return f"{value * 100:.4g} %"
    return duration_text(value) if figure.startswith("latency") else f"{value:.4g}"


def wilson(hits: int, count: int, z: float = Z95) -> tuple[float, float]:
    """The interval of a share.

    Source: Wilson, "Probable inference", Journal of the American Statistical Association 22 (1927).
    """
    if not count:
        return 0.0, 1.0
    share, square = hits / count, z * z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = (
        z
        / (1 + square / count)
        * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    )
    return max(0.0, middle - half), min(1.0, middle + half)
