"""Moments: what sums over units are enough for means, ratios, their errors and their correction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

WIDTH = 5
"""Columns of a unit: what it came to, over how many calls; the same before; whether it had any."""

PAIRS = tuple((i, j) for i in range(WIDTH) for j in range(i, WIDTH))


class Moments(msgspec.Struct, frozen=True):
    """Sums over the units of one arm.

    `sums` are of the columns, `products` of each pair of them (`PAIRS`). `hits` is how many units
    came to anything but 0; `binary` whether every call came to 0 or 1.
    """

    count: int = 0
    sums: tuple[float, ...] = (0.0,) * WIDTH
    products: tuple[float, ...] = (0.0,) * len(PAIRS)
    hits: int = 0
    binary: bool = False

    @property
    def ratio(self) -> float | None:
        """What a call came to in the mean; None without calls."""
        return self.sums[0] / self.sums[1] if self.sums[1] else None

    def mean(self, column: int) -> float:
        """The mean of a column over the units."""
        return self.sums[column] / self.count if self.count else 0.0

    def covariance(self, one: int, other: int) -> float:
        """Of two columns over the units; 0 for fewer than two."""
        if self.count < 2:
            return 0.0
        place = PAIRS.index((min(one, other), max(one, other)))
        about = self.sums[one] * self.sums[other] / self.count
        return (self.products[place] - about) / (self.count - 1)

    def plus(self, other: Moments) -> Moments:
        """Of the units of both."""
        return Moments(
            self.count + other.count,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
            self.hits + other.hits,
            self.binary and other.binary,
        )


def moments_of(units: Sequence[Sequence[float]]) -> Moments:
    """Of units with their columns; those that are left out are 0."""
    rows = [(*unit, *(0.0,) * (WIDTH - len(unit))) for unit in units]
    return Moments(
        len(rows),
        tuple(math.fsum(row[i] for row in rows) for i in range(WIDTH)),
        tuple(math.fsum(row[i] * row[j] for row in rows) for i, j in PAIRS),
        sum(row[0] != 0 for row in rows),
        all(0 <= row[0] <= row[1] and row[0] == round(row[0]) for row in rows),
    )
