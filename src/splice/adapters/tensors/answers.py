"""The way out: what a model gave becomes one prediction a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from splice.core.call import Prediction
from splice.core.errors import BadAnswer


def predictions(
    raw: Sequence[Any], count: int, classes: Sequence[str], where: str
) -> list[Prediction]:
    """One prediction a row, in order.

    The first output of numbers has the chances of the classes, or the value itself; the first of
    another type, if there is one, the labels. ZipMap's list of {class: chance} is read as well.

    Args:
        raw: The outputs of one run.
        count: How many rows were run.
        classes: Names of the columns of chances, where the model tells them.
        where: Names the model in errors.

    Raises:
        BadAnswer: NaN, an infinity, or not one answer a row.
    """
    labels: list[Any] | None = None
    maps: list[dict[Any, Any]] | None = None
    table: Any = None
    for value in raw:
        rows = len(cast("Any", value)) if isinstance(value, list) or value.ndim else 0
        if rows != count:
            raise BadAnswer(where, got=f"an output of {rows} rows", promised=f"{count}")
        if isinstance(value, list):
            maps = maps or cast("list[dict[Any, Any]]", value)
        elif value.dtype.kind == "f":
            table = value.reshape(count, -1) if table is None else table
        elif labels is None:
            column = cast("list[Any]", value.reshape(count, -1)[:, 0].tolist())
            is_number = value.dtype.kind in "iub"
            labels = column if is_number else [_text(one) for one in column]
    if maps is not None:
        given = labels or [None] * count
        return [_from_map(label, one, where) for label, one in zip(given, maps, strict=True)]
    if table is None:
        return [Prediction(value=label) for label in labels or []]
    if not np.isfinite(table).all():
        raise BadAnswer(where, got="NaN or an infinity", promised="finite numbers")
    return _from_table(labels, table.tolist(), classes)


def _from_table(
    labels: list[Any] | None, table: list[list[float]], classes: Sequence[str]
) -> list[Prediction]:
    width = len(table[0])
    if width == 1:
        values = [row[0] for row in table]
        return [
            Prediction(value=label, score=_chance(value))
            for label, value in zip(labels or values, values, strict=True)
        ]
    if len(classes) != width:
        if labels is None:
            return [Prediction(value=row) for row in table]
        classes = tuple(str(i) for i in range(width))
    if labels is None:
        labels = [classes[row.index(max(row))] for row in table]
    if width == 2:
        no, yes = classes
        return [
            Prediction(label, row[1], {no: row[0], yes: row[1]})
            for label, row in zip(labels, table, strict=True)
        ]
    return [
        Prediction(
            value=label,
            score=max(row),
            scores=dict(zip(classes, row, strict=True)),
        )
        for label, row in zip(labels, table, strict=True)
    ]


def _chance(value: float) -> float | None:
    """A number between 0 and 1 may be a probability; an amount of money is none."""
    return value if 0 <= value <= 1 else None


def _text(label: Any) -> Any:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else label


def _from_map(label: Any, scores: dict[Any, Any], where: str) -> Prediction:
    plain = {str(_text(k)): float(v) for k, v in scores.items()}
    if not plain or not all(np.isfinite(v) for v in plain.values()):
        raise BadAnswer(where, got="NaN, an infinity or nothing", promised="finite numbers")
    best = max(plain, key=plain.__getitem__)
    score = list(plain.values())[1] if len(plain) == 2 else plain[best]
    return Prediction(value=best if label is None else label, score=score, scores=plain)
