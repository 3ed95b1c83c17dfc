"""A sample: the truth of every row beside what a version said, as arrays that figures read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from splice.control.gates.trial import Tried
from splice.core.metrics import Kind
from splice.declare.gates import Figure

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class CannotTell(Exception):
    """The data cannot tell: too few rows, one class, or labels that do not fit the figure."""


class Pairs(NamedTuple):
    """What a figure compares, row by row: the truth and what the version said, shape (n,)."""

    truth: Any  # floats, or texts of classes
    said: Any


class Sample:
    """The rows of a data set as one version answered them.

    Args:
        labels: The truth of each row.
        tried: What came of each row, in the same order.
        positive: The class that the score is the chance of, where the data set says it.
    """

    def __init__(self, labels: Sequence[Any], tried: Sequence[Tried], positive: str = "") -> None:
        self.labels = list(labels)
        self.tried = list(tried)
        self._positive = positive
        answered = [one.prediction is not None for one in self.tried]
        self.answered: Bools = np.array(answered, dtype=np.bool_)

    def pairs(self, kind: Kind, rows: Bools) -> Pairs:
        """The truth and what was said of these rows, all of which must be answered.

        Raises:
            CannotTell: The labels or the predictions are of another kind.
        """
        if kind == "chance":
            return Pairs(self._happened[rows], self._chances[rows])
        if kind == "label":
            return Pairs(self._classes[rows], self._said_classes[rows])
        return Pairs(self._numbers[rows], self._said_numbers[rows])

    def of_function(
        self, figure: Callable[[Any, Any, Any], float], rows: Bools
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Labels, scores and decisions of these rows, for a function of the user's."""
        chosen = np.flatnonzero(rows).tolist()
        try:
            labels: list[Any] = self._happened.tolist()
        except CannotTell:
            labels = self.labels
        tried = [self.tried[i] for i in chosen]
        return [labels[i] for i in chosen], [_score(one) for one in tried], [
            one.decision for one in tried
        ]  # fmt: skip

    @property
    def two_classes(self) -> bool:
        """Whether the labels say yes or no."""
        try:
            return len(self._happened) > 0
        except CannotTell:
            return False

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        """The model's classes, in the order of its chances; empty where it names none."""
        for one in self.tried:
            if one.prediction is not None and one.prediction.scores:
                return tuple(one.prediction.scores)
        return ()

    @cached_property
    def _second(self) -> str:
        names = self._class_names
        return self._positive or (names[1] if len(names) == 2 else "")

    @cached_property
    def _happened(self) -> Floats:
        """1 where the label says yes, else 0; shape (n,)."""
        second = self._second
        texts = {str(one) for one in self.labels}
        if self._positive:
            if self._positive not in texts:
                raise CannotTell(f"no label is {self._positive}")
            return np.array([float(str(one) == self._positive) for one in self.labels])
        if all(isinstance(one, bool) or one in (0, 1) for one in self.labels):
            return np.array([float(one) for one in self.labels])
        if second and texts <= set(self._class_names):
            return np.array([float(one == second) for one in self.labels])
        raise CannotTell(
            f"labels such as {self.labels[0]!r} are neither yes and no nor the two classes of the "
            "model: name the one that is meant with positive="
        )

    @cached_property
    def _chances(self) -> Floats:
        """The score of each row; shape (n,); NaN where there is no answer."""
        scores = [_chance(one) for one in self.tried]
        if any(score is None for score in scores):
            raise CannotTell("a prediction has no score")
        names = self._class_names
        if len(names) == 2 and self._positive == names[0]:
            # The score is of the second class; the data set means the first.
            scores = [1 - cast("float", score) for score in scores]
        return np.array(scores, dtype=np.float64)

    @cached_property
    def _classes(self) -> npt.NDArray[Any]:
        if self.two_classes:
            return self._happened
        return np.array([str(one) for one in self.labels])

    @cached_property
    def _said_classes(self) -> npt.NDArray[Any]:
        if not self.two_classes:
            said = [one.prediction.value if one.prediction else None for one in self.tried]
            return np.array([str(one) for one in said])
        return np.array([self._says_yes(one) for one in self.tried], dtype=np.float64)

    def _says_yes(self, one: Tried) -> float:
        if one.prediction is None:
            return math.nan
        value = one.prediction.value
        if isinstance(value, str) and value in self._class_names:
            return float(value == self._second)
        if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
            return float(value)
        chance = _chance(one)
        if chance is None:
            raise CannotTell("a prediction has neither a label nor a score")
        return float(chance >= 0.5)

    @cached_property
    def _numbers(self) -> Floats:
        try:
            return np.array([float(one) for one in self.labels])
        except (TypeError, ValueError):
            raise CannotTell("a label is not a number") from None

    @cached_property
    def _said_numbers(self) -> Floats:
        numbers: list[float] = []
        for one in self.tried:
            value: Any = one.prediction.value if one.prediction else math.nan
            if isinstance(value, list):  # a row of one number
                value = cast("list[Any]", value)[0]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise CannotTell("a prediction is not a number")
            numbers.append(float(value))
        return np.array(numbers)


def _chance(one: Tried) -> float | None:
    return math.nan if one.prediction is None else one.prediction.score


def _score(one: Tried) -> Any:
    """The score, or the value where there is none."""
    if one.prediction is None:
        return None
    return one.prediction.value if one.prediction.score is None else one.prediction.score


def is_function(figure: Figure) -> bool:
    """Whether a figure is a function of the user's."""
    return not isinstance(figure, str)
