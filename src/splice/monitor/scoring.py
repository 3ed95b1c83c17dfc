"""Scoring: what a recorded call foretold of a truth, and what an outcome says in its terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.core.call import Outcome, Record, Status
from splice.core.tallies import OTHER
from splice.core.truths import PinnedTruth, Task, Value
from splice.ports.labels import Scored

MOST_RANKED = 100
"""Places of a ranking that are looked at."""
_MOST_SEGMENT = 64  # characters of a segment's value
_THRESHOLD = 0.5


def scored(record: Record, truth: PinnedTruth) -> Scored | None:
    """What a call foretold; None where it was not answered, and so foretold nothing."""
    if record.status is not Status.ANSWERED:
        return None
    seen = _Seen(record)
    score = _chance(seen.at(truth.score or "prediction.score"))
    bucket_us = truth.bucket_s * 1_000_000
    return Scored(
        call_id=record.call_id,
        integration=record.integration,
        outcome=truth.outcome,
        release=record.release,
        variant=record.variant,
        asked_us=record.asked_us,
        start_s=record.asked_us // bucket_us * truth.bucket_s,
        entity=record.entity,
        segments=tuple(seen.segments(truth.segments)),
        score=score if truth.task is Task.CLASSIFICATION else None,
        predicted=_predicted(seen, truth, score),
        shadow_of=record.shadow_of,
    )


class _Seen:
    """The JSON of a record, read once, and only what is asked for."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._read: dict[str, Any] = {}

    def at(self, path: str) -> Any:
        """The value at `prediction.…`, `reply.…`, `input.…`; None where there is none."""
        root, *names = path.split(".")
        found = self._root(root)
        for name in names:
            if not isinstance(found, dict):
                return None
            found = cast("dict[str, Any]", found).get(name)
        return found

    def segments(self, fields: Sequence[str]) -> list[str]:
        """As profiles name them: `country=DE`, of the context, which may be the request itself."""
        seen = "input" if self._record.context is None else "context"
        return [f"{field}={_segment(self.at(f'{seen}.{field}'))}" for field in fields]

    def _root(self, name: str) -> Any:
        if name not in self._read:
            text: bytes | None = getattr(self._record, name)
            try:
                self._read[name] = msgspec.json.decode(text) if text else None
            except msgspec.DecodeError:  # what was masked, or never was JSON
                self._read[name] = None
        return self._read[name]


def _segment(value: Any) -> str:
    if value is None:
        return "(missing)"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value) if isinstance(value, (int, float, str)) else OTHER
    text = text.replace("\0", "\u2400")  # as a ledger may have to keep it: it is a key there
    return text if len(text) <= _MOST_SEGMENT else OTHER


def _chance(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= 1 else None


def _predicted(
    seen: _Seen, truth: PinnedTruth, score: float | None
) -> bool | float | str | tuple[str, ...] | None:
    value = seen.at(truth.predicted or "prediction.value")
    if truth.task is Task.RATING:
        return None
    if truth.task is Task.RANKING:
        return _ranked(value)
    if truth.task is Task.REGRESSION:
        if not truth.predicted and not _is_number(value):
            value = seen.at("prediction.score")
        return float(value) if _is_number(value) else None
    if not truth.binary:
        return None if value is None else _word(value)
    if truth.predicted or truth.foretold:
        return None if value is None else is_among(value, truth.foretold or truth.positive)
    if score is None:
        return None
    return score >= (_THRESHOLD if truth.threshold is None else truth.threshold)


def _ranked(value: Any) -> tuple[str, ...] | None:
    """Ids of a list of ids, or of a list of things that have one."""
    if not isinstance(value, list):
        return None
    listed = cast("list[Any]", value)[:MOST_RANKED]
    return tuple(
        _word(cast("dict[str, Any]", one).get("id", "")) if isinstance(one, dict) else _word(one)
        for one in listed
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_among(value: Any, values: Sequence[Value]) -> bool:
    """Whether it is one of them; 1 is true, and a text is never a number."""
    return any(isinstance(value, str) == isinstance(one, str) and value == one for one in values)


def told(
    truth: PinnedTruth, predicted: object, outcomes: Sequence[Outcome]
) -> tuple[bool | float | str | tuple[int, ...] | None, int]:
    """What outcomes of one call say, oldest first: the value, and how many values they had.

    The latest counts; of a ranking, all of them. None where the truth cannot read it.
    """
    values = [outcome.value for outcome in outcomes]
    different = len(dict.fromkeys((isinstance(one, str), one) for one in values))
    if truth.task is not Task.RANKING:
        return _told(truth, values[-1]), different
    relevant = dict.fromkeys(_word(one) for one in values if one is not False)
    if not isinstance(predicted, tuple):
        return None, 1
    places: Mapping[str, int] = {
        name: place for place, name in reversed(list(enumerate(cast("tuple[str, ...]", predicted))))
    }
    return tuple(places.get(name, -1) for name in relevant), 1


def _told(truth: PinnedTruth, value: Value) -> bool | float | str | None:
    if truth.task is Task.RATING:
        return None if isinstance(value, str) else float(value)
    if truth.task is Task.REGRESSION:
        return float(value) if _is_number(value) else None
    if not truth.binary:
        return _word(value)
    if isinstance(value, str) != any(isinstance(one, str) for one in truth.positive):
        return None
    if not isinstance(value, str) and truth.positive == (True,) and value not in (0, 1):
        return None
    return is_among(value, truth.positive)
