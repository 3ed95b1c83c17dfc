"""Budgets of time and space: how long one row takes, how large the artifact is."""

from __future__ import annotations

import numpy as np

from splice.control.gates.bench import Bench, cannot_tell, result
from splice.control.gates.intervals import RESAMPLES, SEED, Estimate
from splice.core.errors import SpliceError
from splice.core.units import duration_text
from splice.core.validation import GateResult
from splice.declare.gates import Latency, Size

_WARM_UP = 20


def latency(gate: Latency, bench: Bench) -> list[GateResult]:
    """One result a quantile: what it is on this machine now, with its interval, in seconds."""
    wanted = gate.rows + _WARM_UP
    able = [bench.requests[i] for i in np.flatnonzero(bench.sample.answered).tolist()]
    if not able:
        return [cannot_tell(gate, "no row was answered")]
    asked = [able[i % len(able)] for i in range(wanted)]
    try:
        took = np.array(bench.trial.seconds(asked)[_WARM_UP:])
    except SpliceError as error:
        return [cannot_tell(gate, error)]
    random = np.random.default_rng(SEED)
    drawn = took[random.integers(0, len(took), (RESAMPLES, len(took)))]
    results: list[GateResult] = []
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        bound = getattr(gate, name)
        if bound is None:
            continue
        # The quantile that was seen, not a mean of two: half of the rows is no row.
        spread = np.quantile(drawn, share, axis=1, method="higher")
        low, high = np.quantile(spread, [0.025, 0.975])
        value = float(np.quantile(took, share, method="higher"))
        found = Estimate(value, float(low), float(high), spread)
        what = (
            f"{name} of {len(took)} rows is {_ms(value)} ({_ms(float(low))} to "
            f"{_ms(float(high))}), wanted at most {_ms(bound)}"
        )
        if value > bound:
            what += f": {_ms(value - bound)} too long"
        results.append(
            result(gate, what, passed=value <= bound, part=name, bound=bound, found=found)
        )
    return results


def _ms(seconds: float) -> str:
    return duration_text(seconds)


def size(gate: Size, bench: Bench) -> GateResult:
    """Whether the artifact is within its bound, in bytes."""
    most = int(gate.most)
    if bench.version.format == "remote":
        return cannot_tell(gate, "a remote model keeps its artifact to itself", bound=most)
    has = bench.version.size
    what = f"{has:,} bytes, wanted at most {most:,}"
    if has > most:
        what += f": {has - most:,} too large"
    return result(gate, what, passed=has <= most, measured=has, bound=most)
