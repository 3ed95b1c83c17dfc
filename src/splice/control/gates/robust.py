"""Robustness: whether a missing, unknown or shifted value is refused, or decides otherwise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.control.gates.bench import Bench, cannot_tell, number, result
from splice.control.gates.schema import reads
from splice.control.gates.trial import Change, Tried
from splice.core.validation import GateResult
from splice.declare.gates import REFUSED, Robust

_NO_WORD = "splice-knows-no-such-word"
_HOW = {
    "missing": "missing",
    "unknown": "an unknown word",
    "shift": "shifted by {shift} standard deviations",
}


def robust(gate: Robust, bench: Bench) -> list[GateResult]:
    """One result a check, of the field that fares worst."""
    results: list[GateResult] = []
    with_answer = [i for i, one in enumerate(bench.sample.tried) if one.prediction is not None]
    chosen = _spread(with_answer, gate.rows)
    if not chosen:
        return [cannot_tell(gate, "no row was answered")]
    probe = _Probe(bench, chosen)
    if gate.missing is not None:
        results.append(probe.judge(gate, "missing", gate.missing, probe.take_away()))
    if gate.unknown is not None:
        results.append(probe.judge(gate, "unknown", gate.unknown, probe.put_unknown()))
    if gate.shift is not None:
        results.append(probe.judge(gate, "shift", gate.flips, probe.move(gate.shift)))
    return results


def _spread(rows: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly over all."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i * len(rows) // most] for i in range(most)]


class _Probe:
    """Asks the chosen rows again, each time with one value changed."""

    def __init__(self, bench: Bench, chosen: Sequence[int]) -> None:
        self._bench = bench
        self._trial = bench.trial
        self._requests = [bench.requests[i] for i in chosen]
        self._rows = [cast("dict[str, Any]", msgspec.json.decode(one)) for one in self._requests]
        self._before = [bench.sample.tried[i] for i in chosen]
        self._moves = _moves(self._before)
        self._read = set(reads(bench.version.signature, bench.features))

    def take_away(self) -> dict[str, list[list[Tried]]]:
        """By field: the answers without it, and the answers with nothing in its place."""
        found: dict[str, list[list[Tried]]] = {}
        for name in self._fields():
            left_out = [{k: v for k, v in row.items() if k != name} for row in self._rows]
            nulled = [{**row, name: None} for row in self._rows]
            found[name] = [self._ask(left_out), self._ask(nulled)]
        for name, value in self._gathered():
            holes = [None, math.nan] if _is_number(value) else [None]
            found[f"context {name}"] = [self._ask_changed(_put(name, hole)) for hole in holes]
        return found

    def put_unknown(self) -> dict[str, list[list[Tried]]]:
        """By field of text: the answers with a word that no data has."""
        found: dict[str, list[list[Tried]]] = {}
        for name in self._fields():
            if any(isinstance(row.get(name), str) for row in self._rows):
                found[name] = [self._ask([{**row, name: _NO_WORD} for row in self._rows])]
        for name, value in self._gathered():
            if isinstance(value, str):
                found[f"context {name}"] = [self._ask_changed(_put(name, _NO_WORD))]
        return found

    def move(self, deviations: float) -> dict[str, list[list[Tried]]]:
        """By field of numbers: the answers with it moved up, and down."""
        found: dict[str, list[list[Tried]]] = {}
        for name in self._fields():
            numbers = [row.get(name) for row in self._rows]
            if step := _step([n for n in numbers if _is_number(n)], deviations):
                found[name] = [
                    self._ask([_moved(row, name, way * step) for row in self._rows])
                    for way in (1, -1)
                ]
        for name, value in self._gathered():
            if not _is_number(value):
                continue
            seen = [
                one.context[name] for one in self._before if one.context and name in one.context
            ]
            if step := _step([n for n in seen if _is_number(n)], deviations):
                found[f"context {name}"] = [
                    self._ask_changed(_shift(name, way * step)) for way in (1, -1)
                ]
        return found

    def judge(
        self,
        gate: Robust,
        part: str,
        allowed: float | str,
        found: Mapping[str, Sequence[Sequence[Tried]]],
    ) -> GateResult:
        """The field that fares worst decides."""
        if not found:
            return result(gate, "no value of that kind is read", passed=True, part=part)
        refused = allowed == REFUSED
        bound = 0.0 if refused else float(allowed)
        count = self._answered if refused else self._flipped
        shares = {
            name: max(count(tried) for tried in ways) / len(self._before)
            for name, ways in found.items()
        }
        worst = max(shares, key=shares.__getitem__)
        share = shares[worst]
        verb = "are answered all the same" if refused else "are decided otherwise"
        wanted = "an error instead" if refused else f"at most {number(bound)}"
        how = _HOW[part].format(shift=gate.shift)
        what = f"with {worst} {how}, {number(share)} of the rows {verb}, wanted {wanted}"
        bad = [name for name in shares if shares[name] > bound and name != worst]
        if share == 0 and refused:
            what = f"with a value {how}, no row is answered: {len(shares)} fields tried"
        if bad:
            what += f"; also {', '.join(bad)}"
        elif share > bound and not refused:
            what += f": {number(share - bound)} too many"
        return result(gate, what, passed=share <= bound, part=part, measured=share, bound=bound)

    def _fields(self) -> list[str]:
        """Fields of the requests that the answers can depend on."""
        names = dict.fromkeys(name for row in self._rows for name in row)
        names.pop(self._bench.entity, None)  # whoever is not known is no wrong value
        return [name for name in names if self._bench.context or name in self._read]

    def _gathered(self) -> list[tuple[str, Any]]:
        """What a context() gave and the model reads: also that can be missing one day."""
        if not self._bench.context:
            return []
        nothing: dict[str, Any] = {}
        context = next((one.context for one in self._before if one.context), nothing)
        return [(name, value) for name, value in context.items() if name in self._read]

    def _ask(self, rows: Sequence[Mapping[str, Any]]) -> list[Tried]:
        return self._trial.ask([msgspec.json.encode(row) for row in rows])

    def _ask_changed(self, change: Change) -> list[Tried]:
        return self._trial.ask(self._requests, change)

    def _answered(self, tried: Sequence[Tried]) -> int:
        """Rows that were answered though the model, or `decide()`, saw something else."""
        return sum(
            after.error is None
            and (self._sees(before) != self._sees(after) or before.decision != after.decision)
            for before, after in zip(self._before, tried, strict=True)
        )

    def _sees(self, one: Tried) -> list[Any]:
        # As texts: a NaN is not even itself.
        return [str((one.context or {}).get(name)) for name in sorted(self._read)]

    def _flipped(self, tried: Sequence[Tried]) -> int:
        return sum(
            after.error is None and self._moves(before, after)
            for before, after in zip(self._before, tried, strict=True)
        )


def _moves(before: Sequence[Tried]) -> Callable[[Tried, Tried], bool]:
    """What counts as another decision.

    The words and truths of the reply, where it has some; else the label, or the side of one half
    that the score is on; of plain numbers, a step of more than a standard deviation of the answers.
    """
    if any(_words(one.decision) for one in before):
        return lambda old, new: _words(old.decision) != _words(new.decision)
    scores = [one.prediction.score for one in before if one.prediction is not None]
    if all(score is not None for score in scores):
        return lambda old, new: _side(old) != _side(new)
    values = [one.prediction.value for one in before if one.prediction is not None]
    if all(_is_number(value) for value in values) and len(values) > 1:
        step = statistics.pstdev(values)
        return lambda old, new: abs(_value(old) - _value(new)) > step
    return lambda old, new: _value(old) != _value(new)


def _words(decision: Any) -> list[tuple[str, Any]]:
    """The parts of a decision that are words or truths: chances and amounts move all the time."""
    if isinstance(decision, (str, bool)):
        return [("", decision)]
    if isinstance(decision, dict):
        return [
            (f"{name}.{inner}", value)
            for name, part in cast("dict[str, Any]", decision).items()
            for inner, value in _words(part)
        ]
    return []


def _side(one: Tried) -> Any:
    prediction = one.prediction
    if prediction is None or prediction.score is None:
        return None
    is_label = isinstance(prediction.value, (str, bool))
    return prediction.value if is_label else prediction.score >= 0.5


def _value(one: Tried) -> Any:
    return None if one.prediction is None else one.prediction.value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _step(numbers: Sequence[Any], deviations: float) -> float:
    return deviations * statistics.pstdev(numbers) if len(numbers) > 1 else 0.0


def _plus(value: Any, by: float) -> Any:
    """A whole number stays one, and moves by one at least."""
    if not _is_number(value):
        return value
    if isinstance(value, int):
        return value + (max(1, round(by)) if by > 0 else min(-1, round(by)))
    return value + by


def _moved(row: Mapping[str, Any], name: str, by: float) -> dict[str, Any]:
    return {**row, name: _plus(row.get(name), by)}


def _shift(name: str, by: float) -> Change:
    return lambda context: {**context, name: _plus(context.get(name), by)}


def _put(name: str, value: Any) -> Change:
    return lambda context: {**context, name: value}
