"""The bench: what every gate looks at, and the words that results are told in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.control.gates.intervals import Estimate
from splice.control.gates.sample import Sample
from splice.control.gates.trial import Trial
from splice.core.metrics import METRICS
from splice.core.release import ModelVersion
from splice.core.validation import GateResult
from splice.declare.gates import Figure, Gate, title


class Bench(msgspec.Struct, frozen=True):
    """A version on trial.

    `requests` are the rows of the data set as request bodies, `columns` every column of it by name.
    `champion` is what it is compared with; None where there is none, or it is the version itself.
    """

    version: ModelVersion
    trial: Trial
    requests: Sequence[bytes]
    columns: Mapping[str, Sequence[Any]]
    sample: Sample
    champion: ModelVersion | None = None
    champion_sample: Sample | None = None
    context: bool = False  # whether a context() stands between request and model
    entity: str = ""  # the field of the request that names who it is about
    features: tuple[str, ...] = ()  # the columns of a model that reads one matrix


def result(
    gate: Gate,
    detail: str,
    *,
    passed: bool,
    part: str = "",
    measured: float | None = None,
    bound: float | None = None,
    found: Estimate | None = None,
    group: str = "",
) -> GateResult:
    """A result, with the estimate's value and interval where one is handed over."""
    return GateResult(
        gate=f"{title(gate)} {part}".strip(),
        passed=passed,
        detail=detail,
        measured=measured if found is None else found.value,
        bound=bound,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        slice=group,
    )


def cannot_tell(gate: Gate, why: object, *, bound: float | None = None) -> GateResult:
    """What the data cannot tell is refused."""
    return result(gate, f"the data cannot tell: {why}", passed=False, bound=bound)


def higher_is_better(figure: Figure, declared: bool) -> bool:
    """The direction of a metric; of a function, the declared one."""
    return METRICS[figure].higher_is_better if isinstance(figure, str) else declared


def number(value: float) -> str:
    """Four significant digits, as a person reads them."""
    return f"{value:.4g}"


def told(found: Estimate) -> str:
    """`0.7731 (0.7144 to 0.8279)`."""
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"
