"""Groups of rows: none may be served badly."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from splice.control.gates.bench import Bench, cannot_tell, higher_is_better, number, result, told
from splice.control.gates.intervals import Estimate, estimate
from splice.control.gates.sample import Bools, CannotTell
from splice.core.validation import GateResult
from splice.declare.gates import Slices, figure_name

_MOST_GROUPS = 100


def slices(gate: Slices, bench: Bench) -> list[GateResult]:
    """One result a group that is large enough; one that fails where none is, or the data lacks."""
    column = bench.columns.get(gate.column)
    if column is None:
        return [cannot_tell(gate, f"it has no column {gate.column}", bound=gate.worst)]
    try:
        names = _groups(column, gate.edges)
        whole = estimate(gate.metric, bench.sample)
    except CannotTell as why:
        return [cannot_tell(gate, why, bound=gate.worst)]
    groups = sorted(set(names), key=lambda name: (names.count(name) * -1, name))
    if len(groups) > _MOST_GROUPS:
        why = f"{len(groups)} groups; cut a column of numbers with edges="
        return [cannot_tell(gate, why, bound=gate.worst)]
    results: list[GateResult] = []
    small: list[str] = []
    for name in groups:
        rows = np.array([one == name for one in names], dtype=np.bool_)
        if int((rows & bench.sample.answered).sum()) < gate.least_rows:
            small.append(name)
            continue
        results.append(_judged(gate, bench, name, rows, whole))
    if not results:
        why = f"no group of {gate.column} has {gate.least_rows} answered rows"
        return [cannot_tell(gate, why, bound=gate.worst)]
    if small:
        more = f"; too few rows to judge: {', '.join(small)}"
        last = results[-1]
        results[-1] = GateResult(
            last.gate, last.passed, last.detail + more, last.measured, last.bound, last.low,
            last.high, last.slice,
        )  # fmt: skip
    return results


def _judged(gate: Slices, bench: Bench, name: str, rows: Bools, whole: Estimate) -> GateResult:
    part = f"{gate.column} {name} ({int(rows.sum())} rows)"
    try:
        found = estimate(gate.metric, bench.sample, rows)
    except CannotTell as why:
        said = f"{part}: the data cannot tell: {why}"
        return result(gate, said, passed=False, bound=gate.worst, group=name)
    up = higher_is_better(gate.metric, gate.higher_is_better)
    what = f"{part}: {figure_name(gate.metric)} is {told(found)}"
    wrong: list[str] = []
    bounds: list[float] = []
    if gate.worst is not None:
        bounds.append(gate.worst)
        short = gate.worst - found.value if up else found.value - gate.worst
        what += f", wanted at {'least' if up else 'most'} {number(gate.worst)}"
        if short > 0:
            wrong.append(f"{number(short)} too {'low' if up else 'high'}")
    if gate.gap is not None:
        allowed = whole.value - gate.gap if up else whole.value + gate.gap
        bounds.append(allowed)
        short = allowed - found.value if up else found.value - allowed
        what += f", within {number(gate.gap)} of the whole ({number(whole.value)})"
        if short > 0:
            wrong.append(f"{number(short)} too far from the whole")
    if wrong:
        what += f": {' and '.join(wrong)}"
    bound = max(bounds) if up else min(bounds)
    return result(gate, what, passed=not wrong, bound=bound, found=found, group=name)


def _groups(column: Sequence[Any], edges: tuple[float, ...]) -> list[str]:
    if not edges:
        return ["nothing" if one is None or one == "" else str(one) for one in column]
    bounds = [f"{edge:g}" for edge in edges]
    names = [f"below {bounds[0]}"]
    names += [f"{low} to below {high}" for low, high in pairwise(bounds)]
    names.append(f"{bounds[-1]} and more")
    groups: list[str] = []
    for one in column:
        if one is None or one == "":
            groups.append("nothing")
            continue
        try:
            groups.append(names[bisect.bisect_right(edges, float(one))])
        except (TypeError, ValueError):
            raise CannotTell(f"{one!r} is no number that edges= could cut") from None
    return groups
