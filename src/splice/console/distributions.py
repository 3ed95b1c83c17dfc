"""What a column's values were like in two times, as bars that can be laid over each other.

Needs splice-ai[monitor].
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np

from splice.console import units
from splice.core.profiles import Kind, Profile, Words
from splice.monitor.shapes import Shape, Spread, counted, shape_of

_BINS = 24
_WORDS = 8
_TAIL = 0.005
"""The outermost values are in the last bars: one stray value would flatten the rest."""


class Bars(msgspec.Struct, frozen=True):
    """Shares of the values in each bar, now and then. `labels` has a text for each bar."""

    labels: tuple[str, ...]
    now: tuple[float, ...]
    then: tuple[float, ...]
    words: bool = False

    @property
    def top(self) -> float:
        """The highest bar."""
        return max((*self.now, *self.then), default=0.0) or 1.0

    @property
    def outline(self) -> str:
        """The line of what was then, over bars of 100 by 100."""
        step = 100 / len(self.then)
        path = ""
        for place, share in enumerate(self.then):
            y = round(100 - 96 * share / self.top, 1)
            path += f"{'L' if path else 'M'}{place * step:.2f} {y}L{(place + 1) * step:.2f} {y}"
        return path


class Side(msgspec.Struct, frozen=True):
    """One side of the comparison in figures."""

    values: float
    missing: float | None  # share of the calls
    mean: float | None = None
    deviation: float | None = None
    p5: float | None = None
    median: float | None = None
    p95: float | None = None


def bars_of(now: Profile | None, then: Profile | None) -> Bars | None:
    """The bars of a column; None where there is nothing that may be drawn."""
    if now is None or then is None or now.private or then.private:
        return None
    one, other = shape_of(now), shape_of(then)
    for name in ("spread", "lengths"):
        left: Spread | None = getattr(one, name)
        right: Spread | None = getattr(other, name)
        if left is not None and right is not None:
            return _numbers(left, right)
    for name in ("truths", "words"):
        some: Words | None = getattr(one, name)
        others: Words | None = getattr(other, name)
        if some is not None and others is not None:
            return _words(some, others)
    return None


def side_of(profile: Profile | None) -> Side | None:
    """The figures of one side."""
    if profile is None or not profile.calls:
        return None
    shape: Shape = shape_of(profile)
    missing = shape.missing / shape.calls
    spread = shape.spread if shape.kind is Kind.NUMBER else None
    if spread is None or profile.private:
        return Side(shape.values, missing)
    quantiles = [spread.quantile(share) for share in (0.05, 0.5, 0.95)]
    return Side(shape.values, missing, spread.mean, spread.deviation, *quantiles)


def _numbers(now: Spread, then: Spread) -> Bars:
    if now.values is not None and then.values is not None:
        values = sorted({*now.values, *then.values})
        if len(values) <= _BINS:
            sides = [[one.values.get(v, 0) for v in values] for one in (now, then) if one.values]
            return _bars([units.digits(v, 4) for v in values], sides[0], sides[1])
    low = min(one.quantile(_TAIL) for one in (now, then))
    high = max(one.quantile(1 - _TAIL) for one in (now, then))
    if low == high:
        return _bars([units.digits(low, 4)], [1], [1])
    edges = np.linspace(low, high, _BINS + 1)
    inner = edges[1:-1]
    labels = [
        f"{units.digits(a)} to {units.digits(b)}" for a, b in itertools.pairwise(edges.tolist())
    ]
    return _bars(labels, now.within(inner).tolist(), then.within(inner).tolist())


def _words(now: Words, then: Words) -> Bars | None:
    left, right, hashes = counted(now, then)
    if not hashes:
        return None
    names = {**then.names, **now.names}
    order = np.argsort(-(left / max(left.sum(), 1) + right / max(right.sum(), 1)))
    first: list[int] = order[:_WORDS].tolist()
    labels = [names.get(hashes[place], "one that is not named") for place in first]
    sides = [[float(row[place]) for place in first] for row in (left, right)]
    if len(hashes) > _WORDS:
        labels.append(f"{len(hashes) - _WORDS} others")
        for row, side in zip((left, right), sides, strict=True):
            side.append(float(row.sum()) - sum(side))
    return _bars(labels, sides[0], sides[1], words=True)


def _bars(
    labels: Sequence[str], now: Sequence[float], then: Sequence[float], *, words: bool = False
) -> Bars:
    sums = [sum(row) or 1.0 for row in (now, then)]
    shares = [
        tuple(value / total for value in row) for row, total in zip((now, then), sums, strict=True)
    ]
    return Bars(tuple(labels), shares[0], shares[1], words)
