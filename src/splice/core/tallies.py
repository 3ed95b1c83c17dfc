"""Tallies: labels counted so finely that every figure of quality comes out of the counts.

A chance falls into one of 565 bins of equal width in its logarithm of odds, so that chances near 0
and 1 are told apart as well as those in the middle. Each bin keeps the sum of its chances, so that
means are exact; two chances in one bin differ by at most 1.25 points of a hundred.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from splice.core.truths import PinnedTruth, Task, Value

STEP = 0.05
"""Width of a bin in the logarithm of odds."""
EDGE = 281
"""Bin of all chances above 1 - 8e-7; less it, of those below 8e-7."""
NO_SCORE = 999
"""Bin of what has no chance."""
NANO = 1_000_000_000
OTHER = "…"
MOST_CELLS = 5000
"""Of one tally; what would be one more is counted as class `OTHER`."""
_LOOSE = 4
"""Bins of a column for each cell in it, at the most."""
_MOST_CLASS = 100  # characters of the name of a class

Class: TypeAlias = "int | str"
"""1 and 0 where it happens or not, -1 where that is unknown; the name of a class, `""` likewise."""
Cell: TypeAlias = "tuple[int, Class, Class]"
"""Bin of the chance, what was foretold, what happened."""


_StoredCell: TypeAlias = "tuple[int, Class, Class, int, int]"
"""A cell, its count, and the sum of its chances in billionths."""


class Errors(msgspec.Struct, array_like=True):
    """Sums over numbers foretold and true; `d` is true less `pivot`, `e` foretold less true."""

    count: int = 0
    pivot: float = 0.0
    d: float = 0.0
    d2: float = 0.0
    d3: float = 0.0
    d4: float = 0.0
    e: float = 0.0
    abs_e: float = 0.0
    e2: float = 0.0
    e4: float = 0.0
    e2d: float = 0.0
    e2d2: float = 0.0
    shared: int = 0  # labels that are not 0
    share: float = 0.0
    share2: float = 0.0

    def add(self, foretold: float, true: float, sign: int = 1) -> None:
        """One more, or one less."""
        if not self.count:
            self.pivot = true
        e, d = foretold - true, true - self.pivot
        e2, d2 = e * e, d * d
        self.count += sign
        self.d, self.d2 = self.d + sign * d, self.d2 + sign * d2
        self.d3, self.d4 = self.d3 + sign * d2 * d, self.d4 + sign * d2 * d2
        self.e, self.abs_e, self.e2 = (
            self.e + sign * e,
            self.abs_e + sign * abs(e),
            self.e2 + sign * e2,
        )
        self.e4, self.e2d = self.e4 + sign * e2 * e2, self.e2d + sign * e2 * d
        self.e2d2 += sign * e2 * d2
        if true:
            share = abs(e / true)
            self.shared += sign
            self.share, self.share2 = self.share + sign * share, self.share2 + sign * share * share

    def outweighed_by(self, foretold: float, true: float) -> bool:
        """Whether this one is most of the sums: without it they would be mostly rounding."""
        e2 = (foretold - true) * (foretold - true)
        d2 = (true - self.pivot) * (true - self.pivot)
        e4, d4 = e2 * e2, d2 * d2
        if not math.isfinite(self.e4 + self.d4 + self.e2d2):
            return True
        return not (2 * e4 <= self.e4 and 2 * d4 <= max(self.d4, 1e-300)) or self.count < 3

    def merge(self, other: Errors) -> None:
        """All of the other's, too."""
        if not other.count:
            return
        if not self.count:
            self.pivot = other.pivot
        b, n = other.pivot - self.pivot, other.count
        self.count += n
        self.d4 += other.d4 + b * (4 * other.d3 + b * (6 * other.d2 + b * (4 * other.d + b * n)))
        self.d3 += other.d3 + b * (3 * other.d2 + b * (3 * other.d + b * n))
        self.d2 += other.d2 + b * (2 * other.d + b * n)
        self.d += other.d + b * n
        self.e2d2 += other.e2d2 + b * (2 * other.e2d + b * other.e2)
        self.e2d += other.e2d + b * other.e2
        for name in ("e", "abs_e", "e2", "e4", "shared", "share", "share2"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Places(msgspec.Struct, array_like=True):
    """Sums over rankings, each from 0 to 1, in billionths, so that they never drift."""

    count: int = 0
    hits: int = 0
    reciprocal: int = 0
    reciprocal2: int = 0
    gain: int = 0
    gain2: int = 0

    def add(self, places: Sequence[int], at: int, sign: int = 1) -> None:
        """One more ranking, or one less, by the places of what is relevant."""
        found = sorted({place for place in places if 0 <= place < at})
        relevant = len(places)
        first = 1 / (found[0] + 1) if found else 0.0
        best = sum(1 / math.log2(place + 2) for place in range(min(relevant, at)))
        gain = sum(1 / math.log2(place + 2) for place in found) / best if best else 0.0
        self.count += sign
        self.hits += sign * bool(found)
        self.reciprocal += sign * round(first * NANO)
        self.reciprocal2 += sign * round(first * first * NANO)
        self.gain += sign * round(gain * NANO)
        self.gain2 += sign * round(gain * gain * NANO)

    def merge(self, other: Places) -> None:
        """All of the other's, too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Column(msgspec.Struct, array_like=True):
    """Cells of one thing foretold and one truth, over bins that follow each other."""

    said: Class
    true: Class
    first: int  # bin
    counts: list[int]
    totals: list[int]


class Stored(msgspec.Struct, array_like=True):
    """A tally as it is stored: many can be added up without making each of them.

    The order is the format: add at the end only, with a default.
    """

    count: int = 0
    unread: int = 0
    contradicted: int = 0
    cells: list[_StoredCell] = []
    errors: Errors | None = None
    places: Places | None = None
    good: int = 0
    unscored: int = 0
    columns: list[Column] = []


_decoder = msgspec.msgpack.Decoder(Stored)


class Tally(msgspec.Struct):
    """What calls, or labels, of one kind came to.

    `count` is how many, `unread` and `contradicted` how many of them are so. A cell has its count
    and the sum of its chances in billionths. `good` is how many ratings are.
    """

    count: int = 0
    unread: int = 0
    contradicted: int = 0
    cells: dict[Cell, list[int]] = {}
    errors: Errors | None = None
    places: Places | None = None
    good: int = 0
    unscored: int = 0

    def add_cell(self, cell: Cell, score: float | None, sign: int = 1) -> None:
        """One more of a cell, or one less; a cell of none is gone."""
        full = sign < 0 or len(self.cells) >= MOST_CELLS
        if full and cell not in self.cells and isinstance(cell[1], str):
            cell = _other(cell)
        held = self.cells.setdefault(cell, [0, 0])
        held[0] += sign
        held[1] += sign * round((score or 0.0) * NANO)
        if held == [0, 0]:
            del self.cells[cell]

    def merge(self, other: Stored) -> None:
        """All of the other's, too."""
        self.merge_all_but_columns(other)
        for column in other.columns:
            numbered = enumerate(zip(column.counts, column.totals, strict=True), column.first)
            more = [(at, column.said, column.true, n, total) for at, (n, total) in numbered if n]
            _add_cells(self.cells, more)

    def merge_all_but_columns(self, other: Stored) -> None:
        """The same, but for what `merged` adds up on its own."""
        self.count += other.count
        self.unread += other.unread
        self.contradicted += other.contradicted
        self.good += other.good
        self.unscored += other.unscored
        _add_cells(self.cells, other.cells)
        if other.errors is not None:
            self.errors = self.errors or Errors()
            self.errors.merge(other.errors)
        if other.places is not None:
            self.places = self.places or Places()
            self.places.merge(other.places)


def merged(some: Sequence[Stored]) -> Tally:
    """One tally of many: many times quicker than to add up cell by cell."""
    tally = Tally()
    columns: dict[tuple[Class, Class], list[Column]] = {}
    for one in some:
        tally.merge_all_but_columns(one)
        for column in one.columns:
            columns.setdefault((column.said, column.true), []).append(column)
    for (said, true), alike in columns.items():
        first = min(one.first for one in alike)
        length = max(one.first + len(one.counts) for one in alike) - first
        counts, totals = [0] * length, [0] * length
        for one in alike:
            start, end = one.first - first, one.first - first + len(one.counts)
            counts[start:end] = map(operator.add, counts[start:end], one.counts)
            totals[start:end] = map(operator.add, totals[start:end], one.totals)
        found = zip(range(first, first + length), counts, totals, strict=True)
        _add_cells(tally.cells, [(at, said, true, n, total) for at, n, total in found if n])
    return tally


def _add_cells(cells: dict[Cell, list[int]], more: list[_StoredCell]) -> None:
    for place, said, true, count, total in more:
        held = cells.get((place, said, true))
        if held is None:
            cells[place, said, true] = [count, total]
        else:
            held[0] += count
            held[1] += total


def encode(tally: Tally) -> bytes:
    """As it is stored: cells whose bins lie close as columns, the others one by one."""
    by_kind: dict[tuple[Class, Class], dict[int, list[int]]] = {}
    for (place, said, true), held in tally.cells.items():
        by_kind.setdefault((said, true), {})[place] = held
    cells: list[_StoredCell] = []
    columns: list[Column] = []
    for (said, true), bins in by_kind.items():
        apart = bins.pop(NO_SCORE, None)
        if apart is not None:
            cells.append((NO_SCORE, said, true, *_pair(apart)))
        if not bins:
            continue
        first, last = min(bins), max(bins)
        if last - first < _LOOSE * len(bins):
            held_all = [bins.get(place, (0, 0)) for place in range(first, last + 1)]
            columns.append(
                Column(said, true, first, [n for n, _ in held_all], [t for _, t in held_all])
            )
        else:
            cells += [(place, said, true, *_pair(held)) for place, held in bins.items()]
    return msgspec.msgpack.encode(
        Stored(
            tally.count, tally.unread, tally.contradicted, cells, tally.errors, tally.places,
            tally.good, tally.unscored, columns,
        )
    )  # fmt: skip


def _pair(held: Sequence[int]) -> tuple[int, int]:
    return held[0], held[1]


def read(stored: bytes) -> Stored:
    """What was stored, to be added to a tally; empty bytes are nothing."""
    return _decoder.decode(stored) if stored else Stored()


def decode(stored: bytes) -> Tally:
    """As it was encoded; empty bytes are an empty tally."""
    return merged([read(stored)])


def bin_of(score: float | None) -> int:
    """The bin of a chance from 0 to 1; `NO_SCORE` of anything else."""
    if score is None or not 0 <= score <= 1:
        return NO_SCORE
    if score in (0, 1):
        return EDGE if score else -EDGE
    return max(-EDGE, min(EDGE, round(math.log(score / (1 - score)) / STEP)))


def class_of(value: object, truth: PinnedTruth) -> Class:
    """What was foretold, or happened, as a cell has it."""
    if truth.binary:
        return -1 if value is None else int(value is True)
    return "" if value is None else str(value)[:_MOST_CLASS]


def count_call(
    tally: Tally, truth: PinnedTruth, score: float | None, predicted: object, sign: int = 1
) -> None:
    """One more answered call, whether its outcome is known or not."""
    tally.count += sign
    if predicted is None and score is None and truth.task is not Task.RATING:
        tally.unscored += sign
    if truth.task is Task.CLASSIFICATION:
        unknown: Class = -1 if truth.binary else ""
        cell = (bin_of(score), class_of(predicted, truth), unknown)
        tally.add_cell(cell, score if cell[0] != NO_SCORE else None, sign)


def count_label(
    tally: Tally,
    truth: PinnedTruth,
    said: tuple[float | None, object],
    value: Value | tuple[int, ...] | None,
    sign: int = 1,
) -> bool:
    """One more label, or one less; False where one less cannot be told: count all of them anew.

    Args:
        tally: What is counted in.
        truth: Of its release.
        said: Chance and what was foretold.
        value: The truth; None where it could not be read.
        sign: 1 or -1.
    """
    score, predicted = said
    if sign < 0 and not _can_drop(tally, truth, predicted, value):
        return False
    tally.count += sign
    if value is None:
        tally.unread += sign
    if truth.task is Task.CLASSIFICATION:
        cell = (bin_of(score), class_of(predicted, truth), class_of(value, truth))
        tally.add_cell(cell, score if cell[0] != NO_SCORE else None, sign)
    elif truth.task is Task.RANKING:
        tally.places = tally.places or Places()
        if isinstance(value, tuple) and predicted is not None:
            tally.places.add(value, truth.at or 10, sign)
    elif isinstance(value, (int, float)) and _foretells(truth, predicted):
        tally.errors = tally.errors or Errors()
        tally.errors.add(_foretold(predicted), float(value), sign)
        if truth.task is Task.RATING:
            tally.good += sign * (value >= (1 if truth.good is None else truth.good))
    return True


def _foretells(truth: PinnedTruth, predicted: object) -> bool:
    return truth.task is Task.RATING or isinstance(predicted, (int, float))


def _foretold(predicted: object) -> float:
    return float(predicted) if isinstance(predicted, (int, float)) else 0.0


def _can_drop(tally: Tally, truth: PinnedTruth, predicted: object, value: object) -> bool:
    if truth.task not in (Task.REGRESSION, Task.RATING) or tally.errors is None:
        return True
    if not isinstance(value, (int, float)) or not _foretells(truth, predicted):
        return True
    # A sum that ever held 1e300 holds nothing of the others any more.
    return not tally.errors.outweighed_by(_foretold(predicted), float(value))


def _other(cell: Cell) -> Cell:
    return (cell[0], OTHER, cell[2] if cell[2] == "" else OTHER)
