"""Run: every gate against the bench, none left out because another one failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from splice.control.gates.bench import Bench
from splice.control.gates.budgets import latency, size
from splice.control.gates.calibration import calibrated
from splice.control.gates.quality import bounded, not_worse
from splice.control.gates.robust import robust
from splice.control.gates.schema import same_schema
from splice.control.gates.slices import slices
from splice.core.validation import GateResult
from splice.declare.gates import (
    AtLeast,
    AtMost,
    Calibrated,
    Gate,
    Latency,
    NotWorse,
    Robust,
    SameSchema,
    Size,
    Slices,
)

ANSWERS = "Answers"
"""The gate that nobody need declare: every row of the data set is answered."""

_Run = Callable[[Any, Bench], "GateResult | list[GateResult]"]  # each takes a gate of its own type
_RUNS: dict[type[Any], _Run] = {
    AtLeast: bounded,
    AtMost: bounded,
    NotWorse: not_worse,
    Slices: slices,
    Latency: latency,
    Size: size,
    SameSchema: same_schema,
    Robust: robust,
    Calibrated: calibrated,
}


def run(gates: Sequence[Gate], bench: Bench) -> tuple[GateResult, ...]:
    """The results, in the order of the gates; `Answers` first."""
    results = [_answers(bench)]
    for gate in gates:
        found = _RUNS[type(gate)](gate, bench)
        results.extend(found if isinstance(found, list) else [found])
    return tuple(results)


def _answers(bench: Bench) -> GateResult:
    errors = [one.error for one in bench.sample.tried if one.error is not None]
    total = len(bench.sample.tried)
    share = (total - len(errors)) / total
    what = f"{total - len(errors)} of {total} rows are answered"
    if errors:
        what += f", wanted all: {len(errors)} too few; the first: {errors[0]}"
    return GateResult(ANSWERS, not errors, what[:500], share, 1.0)
