"""Estimates before the outcomes come: from calibrated chances (CBPE)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from random import Random
from statistics import stdev
from typing import NamedTuple

from splice.core.figures import Z95
from splice.core.quality import Measured
from splice.core.tallies import NANO, NO_SCORE, Class
from splice.monitor.classes import Bin, Cells
from splice.monitor.intervals import untold

FIGURES = ("accuracy", "precision", "recall", "f1", "auc", "brier", "log_loss", "positive_rate")
LEAST_LABELS = 100
LEAST_OF_A_KIND = 10
_GROUPS = 10
"""Of labelled calls. More of them follow luck: by 30 the precision was told 0.02 too good."""
_DRAWS = 60
_SEED = 20_261_128
"""The same counts give the same estimate on every machine."""


class Unlabelled(NamedTuple):
    """Calls without an outcome that have one chance and foretold one thing."""

    chance: float
    said: Class
    calls: int


class Calibration:
    """From the chance that a model gave to the share of such calls in which it happened.

    Isotonic: pooling of neighbours until the shares rise with the chances, straight lines between
    the middles of the pools (Zadrozny and Elkan, KDD 2002).
    """

    def __init__(self, groups: Sequence[tuple[float, float, float]]) -> None:
        """Groups are chance, share and weight, by rising chance."""
        pools: list[list[float]] = []
        for chance, share, weight in groups:
            pools.append([chance * weight, share * weight, weight])
            while len(pools) > 1 and pools[-2][1] * pools[-1][2] > pools[-1][1] * pools[-2][2]:
                last = pools.pop()
                pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
        self._chances = [chances / weight for chances, _, weight in pools]
        self._shares = [shares / weight for _, shares, weight in pools]

    def __call__(self, chance: float) -> float:
        """The calibrated chance."""
        place = bisect_right(self._chances, chance)
        if place == 0:
            return self._shares[0]
        if place == len(self._chances):
            return self._shares[-1]
        left, right = self._chances[place - 1], self._chances[place]
        way = (chance - left) / (right - left)
        return self._shares[place - 1] * (1 - way) + self._shares[place] * way


def grouped(bins: Sequence[Bin]) -> list[Bin]:
    """The labelled calls in up to ten groups of about as many, the least likely first."""
    count = sum(one.count for one in bins)
    found: list[Bin] = []
    held = Bin(0.0, 0.0, 0.0)
    total = 0.0
    for one in bins:
        held.yes, held.no = held.yes + one.yes, held.no + one.no
        total += one.chance * one.count
        if held.count >= count / _GROUPS:
            found.append(Bin(total / held.count, held.yes, held.no))
            held, total = Bin(0.0, 0.0, 0.0), 0.0
    if held.count:
        found.append(Bin(total / held.count, held.yes, held.no))
    return found


def unlabelled(asked: Cells, told: Cells) -> list[Unlabelled]:
    """Calls that have a chance and no outcome yet: those asked, less those told."""
    left: dict[tuple[int, Class], list[int]] = {}
    for (place, said, _), (count, total) in asked.items():
        left[place, said] = [count, total]
    for (place, said, _), (count, total) in told.items():
        one = left.get((place, said))
        if one is not None:
            one[0] -= count
            one[1] -= total
    return [
        Unlabelled(min(1.0, max(0.0, total / count / NANO)), said, count)
        for (place, said), (count, total) in sorted(left.items(), key=lambda pair: pair[0][0])
        if place != NO_SCORE and count > 0
    ]


def estimate(history: Sequence[Bin], calls: Sequence[Unlabelled]) -> tuple[Measured, ...]:
    """Figures of calls whose outcome is not known, as calibrated chances foretell them.

    A call of calibrated chance c is c of a call in which it happened, and 1 - c of one in which it
    did not; the figures of that expected table are the estimate. Each interval is the normal one by
    the spread of 60 draws, which draw the shares of the history anew (each from its Jeffreys
    posterior, pooled again) and then the outcomes themselves: it holds what the figure will be when
    the outcomes are there, as long as the relation of chance and truth is that of the history. It
    cannot see concept drift.

    Args:
        history: Labelled calls of the same model by bin of their chance, the least likely first.
        calls: Those without an outcome.

    Source: NannyML, "Confidence-based performance estimation", by its formulas: expected confusion
    matrix, and AUC over expected rates at all thresholds. The intervals are ours; NannyML's are the
    sampling error of the reference.
    """
    groups = grouped(history)
    yes, no = sum(one.yes for one in groups), sum(one.no for one in groups)
    count = sum(one.calls for one in calls)
    if yes + no < LEAST_LABELS or min(yes, no) < LEAST_OF_A_KIND or not count:
        why = (
            f"{yes + no:g} labels of the same model, {min(yes, no):g} of the rarer kind; "
            f"{LEAST_LABELS} and {LEAST_OF_A_KIND} are needed to calibrate its chances"
        )
        return tuple(untold(name, why, count) for name in FIGURES)
    calibration = Calibration([(one.chance, one.yes / one.count, one.count) for one in groups])
    table = _Table(calls)
    value = table.figures([one.calls * calibration(one.chance) for one in calls])
    drawn: dict[str, list[float]] = {name: [] for name in FIGURES}
    random = Random(_SEED)  # noqa: S311 - draws, not secrets
    for _ in range(_DRAWS):
        again = Calibration([
            (one.chance, random.betavariate(one.yes + 0.5, one.no + 0.5), one.count)
            for one in groups
        ])  # fmt: skip
        happened = [_draw(random, one.calls, again(one.chance)) for one in calls]
        for name, found in table.figures(happened).items():
            if found is not None:
                drawn[name].append(found)
    return tuple(_measured(name, value[name], drawn[name], count) for name in FIGURES)


def _draw(random: Random, count: int, chance: float) -> float:
    """How often it happens in so many calls, by a normal draw of the same mean and variance.

    Of few calls it may be less than none: the figures are sums over all bins, and those come out
    right only if no draw is cut.
    """
    return count * chance + math.sqrt(count * chance * (1 - chance)) * random.gauss(0.0, 1.0)


def _measured(name: str, value: float | None, drawn: list[float], count: int) -> Measured:
    if value is None or len(drawn) < _DRAWS // 2:
        return untold(name, "the calls cannot tell it", count)
    half = Z95 * stdev(drawn)
    high = value + half if name == "log_loss" else min(1.0, value + half)
    return Measured(name, value, max(0.0, value - half), high, count)


class _Table:
    """Calls without an outcome, with what each contributes to the figures where it happens."""

    def __init__(self, calls: Sequence[Unlabelled]) -> None:
        self._calls = calls
        cuts = [min(1 - 1e-6, max(1e-6, one.chance)) for one in calls]
        gaps = [1 - 2 * one.chance for one in calls]  # of the squared gap, where it happens
        odds = [math.log(1 - cut) - math.log(cut) for cut in cuts]  # of the loss, likewise
        self._rows = list(zip(calls, gaps, odds, strict=True))
        self._brier = sum(one.calls * one.chance**2 for one in calls)
        self._loss = -sum(
            one.calls * math.log(1 - cut) for one, cut in zip(calls, cuts, strict=True)
        )
        self._flagged = sum(one.calls for one in calls if one.said == 1)
        self._decided = self._flagged + sum(one.calls for one in calls if one.said == 0)
        self._count = sum(one.calls for one in calls)

    def figures(self, happened: Sequence[float]) -> Mapping[str, float | None]:
        """The figures if it happened so often among the calls of each row."""
        hits = missed = area = below = all_yes = 0.0
        brier, loss = self._brier, self._loss
        for (one, gap, odds), yes in zip(self._rows, happened, strict=True):
            no = one.calls - yes
            if one.said == 1:
                hits += yes
            elif one.said == 0:
                missed += yes
            brier += yes * gap
            loss += yes * odds
            area += yes * (below + no / 2)
            below += no
            all_yes += yes
        right = hits + self._decided - self._flagged - missed
        wrong = self._decided - right
        return {
            "accuracy": _over(right, self._decided),
            "precision": _over(hits, self._flagged),
            "recall": _over(hits, hits + missed),
            "f1": _over(2 * hits, 2 * hits + wrong),
            "auc": _over(area, all_yes * below),
            "brier": _over(brier, self._count),
            "log_loss": _over(loss, self._count),
            "positive_rate": _over(all_yes, self._count),
        }


def _over(top: float, below: float) -> float | None:
    return top / below if below > 0 else None
