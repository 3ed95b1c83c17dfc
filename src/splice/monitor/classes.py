"""Figures of classification: of what happens or not, and of one of several classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from splice.core.figures import Z95, wilson
from splice.core.quality import Measured
from splice.core.tallies import EDGE, NANO, NO_SCORE, STEP, Cell, Class
from splice.monitor.intervals import on_odds, plain, positive_mean, share, untold

GROUPS = 10
_LEAST_A_GROUP = 5
_FEW = 10
_CUT = 1 / (1 + math.exp((EDGE - 0.5) * STEP))
"""Chances nearer to 0 or 1 are of one bin, and count as this."""

_NO_SCORES = "no labelled call has a chance: labels may be due later, or score= must name it"
_NO_DECISIONS = "nothing was foretold: name where it is with predicted="
_ONE_KIND = "it happened in all calls, or in none"

Cells = Mapping[Cell, Sequence[int]]


class Bin(msgspec.Struct):
    """Calls of one bin of chances: how many, of how many it happened, and their mean chance."""

    chance: float
    yes: float
    no: float

    @property
    def count(self) -> float:
        """All of them."""
        return self.yes + self.no


def bins_of(cells: Cells) -> list[Bin]:
    """Labelled calls by the bin of their chance, the least likely first."""
    held: dict[int, list[float]] = {}
    for (place, _, true), (count, total) in cells.items():
        if place == NO_SCORE or true not in (0, 1):
            continue
        one = held.setdefault(place, [0, 0, 0])
        one[int(true)] += count
        one[2] += total
    return [
        Bin(total / (no + yes) / NANO, yes, no)
        for _, (no, yes, total) in sorted(held.items())
        if no + yes > 0
    ]


def binary_figures(cells: Cells) -> tuple[Measured, ...]:
    """Figures of what happens or not, from counts by chance, what was foretold and the truth."""
    return (*decision_figures(cells), *chance_figures(bins_of(cells)))


def decision_figures(cells: Cells) -> tuple[Measured, ...]:
    """Accuracy, precision, recall and F1 at what was decided, and how often it happened."""
    held: dict[tuple[Class, Class], int] = {}
    for (_, said, true), (count, _) in cells.items():
        held[said, true] = held.get((said, true), 0) + count
    hits, false = held.get((1, 1), 0), held.get((1, 0), 0)
    missed, right = held.get((0, 1), 0), held.get((0, 0), 0)
    told = hits + false + missed + right
    nothing = _NO_DECISIONS if any(true in (0, 1) for _, true in held) else "no labels"
    happened = sum(count for (_, true), count in held.items() if true == 1)
    known = happened + sum(count for (_, true), count in held.items() if true == 0)
    return (
        share("accuracy", hits + right, told, nothing),
        share("precision", hits, hits + false, "it was never foretold" if told else nothing),
        share("recall", hits, hits + missed, "it never happened" if told else nothing),
        f1(hits, false + missed, "neither foretold nor happened" if told else nothing),
        share("positive_rate", happened, known),
    )


def f1(hits: int, wrong: int, nothing: str) -> Measured:
    """Harmonic mean of precision and recall, which is 2 J / (1 + J) of J = hits / (hits + wrong).

    J is a share of the calls that were foretold or happened, so its interval is Wilson's, carried
    over (Hand, Christen and Kirielle, "F*: an interpretable transformation of the F-measure",
    Machine Learning 110, 2021, for the transformation).
    """
    found = share("f1", hits, hits + wrong, nothing)
    if found.value is None or found.low is None or found.high is None:
        return found
    value, low, high = (2 * j / (1 + j) for j in (found.value, found.low, found.high))
    return Measured("f1", value, low, high, found.count)


def chance_figures(bins: Sequence[Bin]) -> tuple[Measured, ...]:
    """AUC, Brier score, log loss and calibration error."""
    if not bins:
        return tuple(
            untold(name, _NO_SCORES) for name in ("auc", "brier", "log_loss", "calibration_error")
        )
    losses = (
        _mean_loss("brier", bins, lambda gap: gap * gap),
        _mean_loss("log_loss", bins, lambda gap: -math.log(max(_CUT, 1 - gap))),
    )
    if min(sum(one.yes for one in bins), sum(one.no for one in bins)) < _FEW:
        # Found by simulation: 0.80 of such intervals held the truth where 0.95 should.
        why = f"fewer than {_FEW} of a kind: do not trust the interval"
        losses = tuple(msgspec.structs.replace(one, why=one.why or why) for one in losses)
    return (auc(bins), *losses, calibration_error(bins))


def auc(bins: Sequence[Bin]) -> Measured:
    """The area under the ROC curve; calls of one bin count as ties.

    The interval is DeLong's, by his structural components, on the scale of log-odds. Where no bin
    has both kinds the components do not vary; then it is Wilson's interval of as many calls as the
    rarer kind has.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); ties by Sun and Xu, IEEE
    Signal Processing Letters 21 (2014).
    """
    yes, no = sum(one.yes for one in bins), sum(one.no for one in bins)
    if not yes or not no:
        return untold("auc", _ONE_KIND, round(yes + no))
    below, above = 0.0, yes
    parts: list[tuple[float, float, float, float]] = []  # yes, its component, no, its component
    for one in bins:
        above -= one.yes
        parts.append((one.yes, (below + one.no / 2) / no, one.no, (above + one.yes / 2) / yes))
        below += one.no
    value = sum(count * part for count, part, _, _ in parts) / yes
    rare = round(min(yes, no))
    if rare < 2:
        return Measured(
            "auc", value, None, None, round(yes + no), "one call of a kind: no interval"
        )
    of_yes = sum(count * (part - value) ** 2 for count, part, _, _ in parts) / (yes - 1) / yes
    of_no = sum(count * (part - value) ** 2 for _, _, count, part in parts) / (no - 1) / no
    if of_yes + of_no <= 1e-18:
        low, high = wilson(round(value * rare), rare)
        return Measured("auc", value, min(low, value), max(high, value), round(yes + no))
    return on_odds("auc", value, math.sqrt(of_yes + of_no), round(yes + no))


def unordered(bins: Sequence[Bin]) -> float:
    """By how much the AUC may be off because chances of one bin are not told apart."""
    yes, no = sum(one.yes for one in bins), sum(one.no for one in bins)
    return sum(one.yes * one.no for one in bins) / (2 * yes * no) if yes and no else 0.0


def _mean_loss(name: str, bins: Sequence[Bin], loss: Callable[[float], float]) -> Measured:
    count = total = squares = 0.0
    for one in bins:
        for many, gap in ((one.yes, 1 - one.chance), (one.no, one.chance)):
            found = loss(gap)
            count, total = count + many, total + many * found
            squares += many * found * found
    found = positive_mean(name, round(count), total, squares)
    if name != "brier" or found.high is None:
        return found
    return msgspec.structs.replace(found, high=min(1.0, found.high))


def calibration_error(bins: Sequence[Bin]) -> Measured:
    """Root of the mean squared gap of chance and share over ten groups of about as many calls.

    What luck adds to the squared gap of a group, `share (1 - share) / (calls - 1)`, is taken off
    (as the gate `Calibrated` does). The interval takes each gap for normal: the squared gap of
    expectation g and variance v varies by `4 g^2 v + 2 v^2`.

    Source: Kumar, Liang and Ma, "Verified Uncertainty Calibration", NeurIPS 2019, section 5.
    """
    count = sum(one.count for one in bins)
    if count < GROUPS * _LEAST_A_GROUP:
        return untold(
            "calibration_error",
            f"{count:g} label{'' if count == 1 else 's'}; {GROUPS * _LEAST_A_GROUP} are needed",
            round(count),
        )  # fmt: skip
    fair = spread = 0.0
    for group in _groups(bins, count):
        many = sum(one.count for one in group)
        happened = sum(one.yes for one in group) / many
        gap2 = (sum(one.chance * one.count for one in group) / many - happened) ** 2
        luck = happened * (1 - happened) / max(many - 1, 1)
        likely = (happened * many + 1) / (many + 2)  # Laplace's: never 0
        variance = likely * (1 - likely) / many
        weight = many / count
        fair += weight * (gap2 - luck)
        spread += weight**2 * (4 * max(0.0, gap2 - luck) * variance + 2 * variance**2)
    half = Z95 * math.sqrt(spread)
    value, low, high = (math.sqrt(max(0.0, one)) for one in (fair, fair - half, fair + half))
    return Measured("calibration_error", value, low, high, round(count))


def _groups(bins: Sequence[Bin], count: float) -> Iterable[list[Bin]]:
    """Neighbouring bins in up to ten groups, by where the middle of each stands among all calls."""
    before = 0.0
    places: list[tuple[int, Bin]] = []
    for one in bins:
        places.append((int((before + one.count / 2) * GROUPS / count), one))
        before += one.count
    for _, group in groupby(places, key=lambda pair: pair[0]):
        yield [one for _, one in group]


def class_figures(cells: Cells) -> tuple[Measured, ...]:
    """Figures of one of several classes: accuracy, and means of figures over the classes.

    Classes are those that were foretold or happened. A class that was never foretold has precision
    0, one that never happened has recall 0. The intervals of the means are by the delta method over
    the table of foretold and true (Takahashi, Yamamoto, Kuchiba and Koyama, Applied Intelligence
    52, 2022). The calibration error is that of the chance of the foretold class.
    """
    table: dict[tuple[Class, Class], int] = {}
    sure: dict[int, list[float]] = {}
    for (place, said, true), (count, total) in cells.items():
        if "" in (said, true):
            continue
        table[said, true] = table.get((said, true), 0) + count
        if place != NO_SCORE:
            one = sure.setdefault(place, [0, 0, 0])
            one[int(said == true)] += count
            one[2] += total
    count = sum(table.values())
    if not count:
        known = any(true != "" for _, _, true in cells)
        why = _NO_DECISIONS if known else "no labels"
        return tuple(untold(name, why) for name in ("accuracy", "precision", "recall", "f1"))
    right = sum(many for (said, true), many in table.items() if said == true)
    bins = [
        Bin(total / (no + yes) / NANO, yes, no)
        for _, (no, yes, total) in sorted(sure.items())
        if no + yes > 0
    ]
    return (
        share("accuracy", right, count),
        *(_over_classes(name, table, count) for name in ("precision", "recall", "f1")),
        calibration_error(bins) if bins else untold("calibration_error", _NO_SCORES),
    )


def _over_classes(name: str, table: Mapping[tuple[Class, Class], int], count: int) -> Measured:
    said: dict[Class, float] = {}
    true: dict[Class, float] = {}
    for (one, other), many in table.items():
        said[one] = said.get(one, 0.0) + many / count
        true[other] = true.get(other, 0.0) + many / count
    # Of each class: its figure is `top * hit / (by_said * said + by_true * true)`.
    top, by_said, by_true = {"precision": (1, 1, 0), "recall": (1, 0, 1), "f1": (2, 1, 1)}[name]
    classes = sorted({*said, *true}, key=str)
    below = {one: by_said * said.get(one, 0.0) + by_true * true.get(one, 0.0) for one in classes}
    figure = {
        one: top * table.get((one, one), 0) / count / below[one] if below[one] else 0.0
        for one in classes
    }
    value = sum(figure.values()) / len(classes)
    first = second = 0.0
    for (one, other), many in table.items():
        slope = top / below[one] if one == other and below[one] else 0.0
        slope -= by_said * figure[one] / below[one] if below[one] else 0.0
        slope -= by_true * figure[other] / below[other] if below[other] else 0.0
        slope /= len(classes)
        first += slope * many / count
        second += slope * slope * many / count
    found = plain(name, value, math.sqrt(max(0.0, second - first * first) / count), count)
    if found.low is None or found.high is None:
        return found
    return Measured(name, value, max(0.0, found.low), min(1.0, found.high), count)
