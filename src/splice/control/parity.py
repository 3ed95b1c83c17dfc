"""How far a converted model is from its original, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from splice.core.call import Prediction
from splice.core.versions import Parity

TOLERANCE = 1e-4
"""The most that a chance may differ; of values, of the largest of them if that is above 1."""


class Compared(msgspec.Struct, frozen=True):
    """A parity, and how many labels differ in rows where the original was sure.

    Where the original's two best chances are closer than the tolerance, either label is right.
    """

    parity: Parity
    wrong_labels: int

    @property
    def holds(self) -> bool:
        """Whether the converted model may stand for the original."""
        near = self.parity.max_difference <= self.parity.tolerance
        return near and not self.wrong_labels


def compared(
    original: Sequence[Prediction], converted: Sequence[Prediction], tolerance: float = TOLERANCE
) -> Compared:
    """Both answers to the same rows, compared row by row."""
    largest = max((abs(v) for one in original for v in _values(one)), default=0.0)
    allowed = tolerance * max(1.0, largest)
    worst, differ, wrong = 0.0, 0, 0
    for before, after in zip(original, converted, strict=True):
        worst = max(worst, _distance(before, after))
        if before.scores is not None and not _same(before.value, after.value):
            differ += 1
            best = sorted(before.scores.values())[-2:]
            wrong += len(best) < 2 or best[1] - best[0] > 2 * allowed
        elif before.scores is None and not _values(before) and before.value != after.value:
            differ += 1
            wrong += 1
    return Compared(Parity(len(original), worst, differ, allowed), wrong)


def _same(label: Any, other: Any) -> bool:
    """Whether two labels are one: True is 1 in a file, and a number may have become a text."""
    return bool(label == other) or str(label) == str(other)


def _values(prediction: Prediction) -> list[float]:
    """The numbers of a prediction that is no label."""
    if prediction.scores is not None:
        return []
    value: Any = prediction.value
    found = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [float(one) for one in found if isinstance(one, float)]


def _distance(before: Prediction, after: Prediction) -> float:
    if before.scores is not None:
        other = after.scores
        if other is None or set(other) != set(before.scores):
            return float("inf")
        return max(abs(before.scores[name] - other[name]) for name in before.scores)
    mine, theirs = _values(before), _values(after)
    if len(mine) != len(theirs):
        return float("inf") if mine else 0.0
    return max((abs(a - b) for a, b in zip(mine, theirs, strict=True)), default=0.0)
