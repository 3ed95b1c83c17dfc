"""Floors and ceilings of a figure, and the comparison with the champion."""

from __future__ import annotations

from splice.control.gates.bench import Bench, cannot_tell, higher_is_better, number, result, told
from splice.control.gates.intervals import Estimate, difference, estimate
from splice.control.gates.sample import CannotTell
from splice.core.validation import GateResult
from splice.declare.gates import AtLeast, AtMost, NotWorse, figure_name


def bounded(gate: AtLeast | AtMost, bench: Bench) -> GateResult:
    """Whether the figure, or with `sure` the worse end of its interval, is within the bound."""
    try:
        found = estimate(gate.metric, bench.sample)
    except CannotTell as why:
        return cannot_tell(gate, why, bound=gate.bound)
    floor = isinstance(gate, AtLeast)
    judged = (found.low if floor else found.high) if gate.sure else found.value
    short = gate.bound - judged if floor else judged - gate.bound
    wanted = f"{'at least' if floor else 'at most'} {number(gate.bound)}"
    what = f"{figure_name(gate.metric)} is {told(found)}, wanted {wanted}"
    if gate.sure:
        what += f" for the {'lower' if floor else 'upper'} end"
    if short > 0:
        what += f": {number(short)} too {'low' if floor else 'high'}"
    return result(gate, what, passed=short <= 0, bound=gate.bound, found=found)


def not_worse(gate: NotWorse, bench: Bench) -> GateResult:
    """Whether it is worse than the champion by more than the margin, on the same rows."""
    bound = -gate.margin
    if bench.champion is None or bench.champion_sample is None:
        return result(gate, "no other champion to compare with", passed=True, bound=bound)
    try:
        new, old, found = difference(gate.metric, bench.sample, bench.champion_sample)
    except CannotTell as why:
        return cannot_tell(gate, why, bound=bound)
    up = higher_is_better(gate.metric, gate.higher_is_better)
    better = found if up else found._replace(value=-found.value, low=-found.high, high=-found.low)
    judged = better.low if gate.sure else better.value
    short = bound - judged
    what = (
        f"{figure_name(gate.metric)} is {number(new.value)}, "
        f"that of {bench.champion.label} {number(old.value)}: {_by(better)}, "
        f"wanted {_at_least(bound)}"
    )
    if gate.sure:
        what += ", also at the worse end"
    if short > 0:
        what += f": {number(short)} too {'little' if bound > 0 else 'much'}"
    return result(gate, what, passed=short <= 0, bound=bound, found=better)


def _by(better: Estimate) -> str:
    """How much better or worse, with the interval in the same direction."""
    if better.value >= 0:
        return f"better by {told(better)}"
    worse = (-better.value, -better.high, -better.low)
    return "worse by {} ({} to {})".format(*map(number, worse))


def _at_least(bound: float) -> str:
    return f"at least {number(bound)} better" if bound > 0 else f"at most {number(-bound)} worse"
