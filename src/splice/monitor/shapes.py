"""Shapes: what the measures compare, made of a profile or of rows.

Needs splice-ai[monitor].
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from splice.core.profiles import Kind, Numbers, Profile, Texts, Words
from splice.monitor.sketches import KLL_AS_SAMPLE, Floats, buckets_of, is_exact, points

BINS = 10
FEW_CATEGORIES = 12
"""Numbers with no more different values than that are compared value by value."""
_ATOM = 0.05
"""A value with such a share of the reference has a bin of its own."""
_IN_BUCKET = 10
"""So many words should fall into a bucket on average."""


class Spread(msgspec.Struct):
    """Numbers: points in order, how many lie at or below each, and how many there are.

    `size` is the size of a random sample that is off as much as this is.
    """

    points: Floats
    below: Floats
    count: float
    size: float
    mean: float
    deviation: float
    values: dict[float, int] | None = None

    @property
    def function(self) -> tuple[Floats, Floats, float]:
        """As the measures take a distribution function."""
        return self.points, self.below / self.count, self.size

    def quantile(self, share: float) -> float:
        """The point at or below which that share lies."""
        place = int(np.searchsorted(self.below, share * self.count - 1e-9))
        return float(self.points[min(place, len(self.points) - 1)])

    def within(self, edges: Floats) -> Floats:
        """How many lie in each bin, scaled to the size; a bin holds its upper edge."""
        places = np.searchsorted(self.points, edges, side="right")
        below = np.concatenate([[0.0], self.below])[places]
        counts = np.diff(np.concatenate([[0.0], below, [self.count]]))
        return counts * (self.size / self.count)


class Shape(msgspec.Struct):
    """One column of one side: how many values of which type, and what each type was like."""

    calls: float
    missing: float
    kinds: dict[Kind, float]
    spread: Spread | None = None
    lengths: Spread | None = None
    truths: Words | None = None
    words: Words | None = None
    texts: Texts | None = None
    private: bool = False

    @property
    def kind(self) -> Kind:
        """What its values are in the main."""
        return max(self.kinds, key=lambda one: self.kinds[one]) if self.kinds else Kind.NOTHING

    @property
    def values(self) -> float:
        """How many values there are."""
        return self.calls - self.missing


def shape_of(profile: Profile) -> Shape:
    """The shape of a profile."""
    counts: dict[Kind, float] = {}
    for kind, part in (
        (Kind.NUMBER, profile.numbers), (Kind.TRUTH, profile.truths), (Kind.WORD, profile.words),
        (Kind.TEXT, profile.texts), (Kind.LIST, profile.lengths),
    ):  # fmt: skip
        if part is not None and part.count:
            counts[kind] = part.count
    return Shape(
        profile.calls, profile.missing, counts, spread_of(profile.numbers),
        spread_of(profile.lengths), profile.truths, profile.words, profile.texts, profile.private,
    )  # fmt: skip


def spread_of(numbers: Numbers | None) -> Spread | None:
    """The numbers of a profile, or None where there is none."""
    if numbers is None or not numbers.count:
        return None
    count = float(numbers.count)
    if numbers.values is not None:
        places = np.array(sorted(numbers.values), np.float64)
        weights = np.array([numbers.values[place] for place in places.tolist()], np.float64)
        size = count
    else:
        places, weights = points(numbers.quantiles)
        exact = is_exact(numbers.quantiles)
        size = count if exact else 1 / (1 / count + 1 / KLL_AS_SAMPLE)
    if not len(places):
        return None
    return Spread(
        places, np.cumsum(weights), float(weights.sum()), size, numbers.mean,
        (numbers.squares / count) ** 0.5, numbers.values,
    )  # fmt: skip


def binned(current: Spread, reference: Spread) -> tuple[Floats, Floats]:
    """Counts of both in the same bins: by value where they are few, else by reference quantiles.

    Bins of equal width, as histograms have, hold all of a skewed column in one of them.
    """
    if current.values is not None and reference.values is not None:
        values = sorted({*current.values, *reference.values})
        if len(values) <= FEW_CATEGORIES:
            return _counted(current.values, values), _counted(reference.values, values)
    edges = edges_of(reference)
    return current.within(edges), reference.within(edges)


def _counted(counts: Mapping[float, int], values: list[float]) -> Floats:
    return np.array([counts.get(value, 0) for value in values], np.float64)


def edges_of(reference: Spread) -> Floats:
    """Upper edges of the bins but the last: deciles, and values that come often on their own."""
    edges: set[float] = set()
    for step in range(1, BINS):
        edge = reference.quantile(step / BINS)
        edges.add(edge)
        place = int(np.searchsorted(reference.points, edge))
        before = reference.below[place - 1] if place else 0.0
        at = int(np.searchsorted(reference.points, edge, side="right"))
        if reference.below[at - 1] - before >= _ATOM * reference.count:
            edges.add(float(np.nextafter(edge, -np.inf)))
    return np.array(sorted(edges), np.float64)


def counted(current: Words, reference: Words) -> tuple[Floats, Floats, list[int]]:
    """Counts of both by word, and the hashes of the words; by bucket, without hashes, else."""
    if current.counts is not None and reference.counts is not None:
        hashes = [
            *reference.counts,
            *(one for one in current.counts if one not in reference.counts),
        ]
        return _of(current.counts, hashes), _of(reference.counts, hashes), hashes
    now, before = _buckets(current), _buckets(reference)
    # Too few in a bucket say nothing: buckets are put together in halves until there are enough.
    while len(now) > 2 and min(now.sum(), before.sum()) < _IN_BUCKET * len(now):
        half = len(now) // 2
        now, before = now[:half] + now[half:], before[:half] + before[half:]
    return now, before, []


def _of(counts: Mapping[int, int], hashes: list[int]) -> Floats:
    return np.array([counts.get(one, 0) for one in hashes], np.float64)


def _buckets(words: Words) -> Floats:
    row = words.buckets if words.counts is None else buckets_of(words.counts)
    return np.array(row, np.float64)


def figures(shape: Shape) -> dict[str, Shape]:
    """What is known of texts in numbers, each as a shape of its own."""
    texts = shape.texts
    if texts is None or shape.kind is not Kind.TEXT:
        return {}
    found: dict[str, Shape] = {}
    for name in ("length", "unknown", "letters", "digits"):
        numbers: Numbers = getattr(texts, name)
        found[name] = Shape(
            numbers.count, 0, {Kind.NUMBER: numbers.count} if numbers.count else {},
            spread_of(numbers),
        )  # fmt: skip
    return found
