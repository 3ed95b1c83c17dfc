"""Similar calls: those that were asked nearly the same, with what was decided and what happened.

Needs splice-ai[monitor].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from splice.core.call import Record

CANDIDATES = 400
"""The newest calls among which the nearest are sought: reading more would make a page wait."""

_FIELDS, _TEXTS, _LONG = 200, 3, 40
_MOST_TEXT = 2000

Encode = Callable[[Sequence[str]], Sequence[Sequence[float]]]
Fields = dict[str, bool | float | str]


def nearest(
    record: Record, others: Sequence[Record], most: int = 5, encode: Encode | None = None
) -> list[tuple[Record, float]]:
    """The nearest of some calls with their distances, the nearest first; 0 is the same.

    Each field that the call has counts alike. Numbers are apart by their difference in standard
    deviations of the calls, at most 3, over 3; words by whether they differ; long texts by the
    angle of their vectors where there is an encoder, else by the words that only one of them has.
    A field that another call lacks is as far as can be.
    """
    mine = fields_of(record)
    if not mine:
        return []
    known = [(one, fields_of(one)) for one in others]
    known = [(one, fields) for one, fields in known if fields]
    if not known:
        return []
    total = np.zeros(len(known))
    texts = 0
    for name, value in mine.items():
        column = [fields.get(name) for _, fields in known]
        if isinstance(value, str) and len(value) >= _LONG:
            texts += 1
            total += _texts(value, column, encode if texts <= _TEXTS else None)
        elif isinstance(value, float):
            total += _numbers(value, column)
        else:
            total += np.array([0.0 if one == value else 1.0 for one in column])
    total /= len(mine)
    order = np.argsort(total, kind="stable")[:most]
    return [(known[int(at)][0], float(total[int(at)])) for at in order]


def fields_of(record: Record) -> Fields:
    """What the routes saw, by the dotted names of its single values."""
    document = record.input if record.context is None else record.context
    try:
        value = msgspec.json.decode(document) if document else None
    except msgspec.DecodeError:
        return {}
    found: Fields = {}
    _walk(value, "", found, 0)
    return found


def _walk(value: Any, name: str, found: Fields, deep: int) -> None:  # a JSON value
    if len(found) >= _FIELDS or deep > 4:
        return
    if isinstance(value, dict):
        for key, inner in cast("Mapping[str, Any]", value).items():
            _walk(inner, f"{name}.{key}" if name else key, found, deep + 1)
    elif isinstance(value, bool):
        found[name] = value
    elif isinstance(value, (int, float)):
        if math.isfinite(value):
            found[name] = float(value)
    elif isinstance(value, str):
        found[name] = value


def _numbers(mine: float, column: Sequence[Any]) -> Any:
    there = np.array([isinstance(one, float) for one in column])
    values = np.array([one if isinstance(one, float) else mine for one in column])
    spread = float(np.std(np.append(values[there], mine))) or 1.0
    return np.where(there, np.minimum(np.abs(values - mine) / spread, 3.0) / 3.0, 1.0)


def _texts(mine: str, column: Sequence[Any], encode: Encode | None) -> Any:
    texts = [one[:_MOST_TEXT] if isinstance(one, str) else "" for one in column]
    if encode is None:
        words = set(mine.casefold().split())
        return np.array([_apart(words, set(one.casefold().split())) for one in texts])
    vectors = np.asarray(encode([mine[:_MOST_TEXT], *texts]), dtype=np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    close = vectors[1:] @ vectors[0]
    return np.where([bool(one) for one in texts], np.clip(1 - close, 0, 1), 1.0)


def _apart(one: set[str], other: set[str]) -> float:
    both = one | other
    return 1 - len(one & other) / len(both) if both and other else 1.0
