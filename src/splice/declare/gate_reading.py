"""Reading gates: every value looked at, every mistake named."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from splice.core.errors import DeclarationError
from splice.core.metrics import METRICS
from splice.core.units import seconds
from splice.declare.gates import (
    GATES,
    REFUSED,
    AtLeast,
    AtMost,
    Calibrated,
    Gate,
    Gates,
    Labelled,
    Latency,
    NotWorse,
    ReadGates,
    Robust,
    Size,
    Slices,
    title,
)
from splice.declare.validity_reading import days_or, read_validity

Wrong = Callable[[str, str, str, str], None]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*")
_UNITS = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip
FORMATS = (".csv", ".jsonl", ".parquet")


class _Mistake(Exception):
    """What is wrong with one gate: got, promised, mend."""


def read_gates(given: Any, *, high_risk: bool, wrong: Wrong) -> tuple[ReadGates, ...]:
    """The gates of a class; notes what is wrong with them."""
    if given is None:
        return ()
    listed: Any = [given] if isinstance(given, Gates) else given
    if not isinstance(listed, (list, tuple)):
        wrong("gates", type(listed).__name__, "splice.Gates(…)", "write gates = splice.Gates(…)")
        return ()
    read: list[ReadGates] = []
    for one in cast("Sequence[Any]", listed):
        try:
            read.append(_read(one, high_risk=high_risk))
        except _Mistake as mistake:
            got, promised, mend = mistake.args
            wrong("gates", got, promised, mend)
        except DeclarationError as error:
            wrong("gates", f"{error.where} {error.got}", error.promised, error.mend)
    models = [one.model for one in read]
    if len(set(models)) < len(models):
        wrong(
            "gates", "two of the same model", "one Gates a model",
            'say of which each is: Gates(model="credit", …)',
        )  # fmt: skip
    return tuple(read)


def _read(gates: Any, *, high_risk: bool) -> ReadGates:
    if not isinstance(gates, Gates):
        raise _Mistake(type(gates).__name__, "splice.Gates(…)", "write gates = splice.Gates(…)")
    data: Any = gates.data
    if not isinstance(data, Labelled) or not all(
        isinstance(cast("Any", text), str) for text in (data.path, data.label, data.positive)
    ):
        raise _Mistake(
            f"data={data!r}", "a labelled data set",
            'write data=splice.Labelled("data/holdout.csv", label="defaulted")',
        )  # fmt: skip
    if not data.label or not data.path.lower().endswith(FORMATS):
        raise _Mistake(
            f"the data set {data.path!r} with label {data.label!r}",
            f"a file ending in {', '.join(FORMATS)}, and the name of a column",
            "name both",
        )
    must: Any = gates.must
    if not isinstance(must, (list, tuple)) or not must:
        raise _Mistake("no gate", "at least one in must=[…]", 'write splice.AtLeast("auc", 0.7)')
    checked = tuple(_gate(one) for one in cast("Sequence[Any]", must))
    titles = [title(one) for one in checked]
    twice = {one for one in titles if titles.count(one) > 1}
    if twice:
        raise _Mistake(f"{min(twice)} twice", "each gate once", "keep the stricter of them")
    if not isinstance(cast("Any", gates.model), str):
        raise _Mistake(f"model={gates.model!r}", "the name of a model", 'write model="credit"')
    valid_s = 0.0 if gates.valid_for is None else days_or(gates.valid_for, "valid_for")
    try:
        validity = read_validity(gates, valid_s, high_risk=high_risk)
    except ValueError as error:
        raise _Mistake(*error.args) from None
    return ReadGates(
        data, checked,
        high_risk if gates.approver is None else bool(gates.approver),
        valid_s, gates.model, validity,
    )  # fmt: skip


def _gate(gate: Any) -> Gate:
    if not isinstance(gate, GATES):
        names = ", ".join(one.__name__ for one in GATES)
        raise _Mistake(repr(gate)[:80], f"one of {names}", "take one of splice's gates")
    metric = getattr(gate, "metric", None)
    if metric is not None:
        _metric(gate, metric)
    for kind, name, low, high in _BOUNDS:
        if isinstance(gate, kind):
            _number(gate, name, low, high)
    if isinstance(gate, Slices):
        return _slices(gate)
    if isinstance(gate, Latency):
        return _latency(gate)
    if isinstance(gate, Size):
        return msgspec.structs.replace(gate, most=_bytes(gate.most))
    if isinstance(gate, Robust):
        for name in ("missing", "unknown"):
            if getattr(gate, name) not in (None, REFUSED):
                _number(gate, name, 0, 1)
        if gate.missing is None and gate.unknown is None and gate.shift is None:
            raise _Mistake("a Robust that checks nothing", "a check", 'write missing="refused"')
    return cast("Gate", gate)


_INF = math.inf
_BOUNDS: tuple[tuple[type[Any], str, float, float], ...] = (
    (AtLeast, "bound", -_INF, _INF),
    (AtMost, "bound", -_INF, _INF),
    (NotWorse, "margin", -_INF, _INF),
    (Slices, "worst", -_INF, _INF),
    (Slices, "gap", 0, _INF),
    (Slices, "least_rows", 2, 10**9),
    (Latency, "rows", 20, 100_000),
    (Robust, "shift", 0, 100),
    (Robust, "flips", 0, 1),
    (Robust, "rows", 1, 10**6),
    (Calibrated, "ece", 0, 1),
    (Calibrated, "bins", 2, 1000),
)


def _number(gate: Any, name: str, low: float, high: float) -> None:
    value = getattr(gate, name)
    if value is None and name in ("worst", "gap", "shift"):
        return
    whole = name in ("rows", "least_rows", "bins")
    if (
        isinstance(value, bool)
        or not isinstance(value, int if whole else (int, float))
        or not (math.isfinite(value) and low <= value <= high)
    ):
        kind = "a whole number" if whole else "a number"
        span = "" if math.isinf(high) else f" from {low:g} to {high:g}"
        raise _Mistake(f"{title(gate)}: {name}={value!r}", f"{kind}{span}", f"mend {name}")


def _metric(gate: Any, metric: Any) -> None:
    if isinstance(metric, str):
        if metric not in METRICS:
            raise _Mistake(
                f"{type(gate).__name__}: metric {metric!r}",
                f"one of {', '.join(METRICS)}, or a function",
                "name one of them, or hand a function (labels, scores, decisions) -> float",
            )
        return
    try:
        inspect.signature(metric).bind(None, None, None)
    except (TypeError, ValueError):
        raise _Mistake(
            f"{type(gate).__name__}: metric {metric!r}"[:120],
            "a name, or a function of labels, scores and decisions",
            "define it at the top of the module",
        ) from None


def _slices(gate: Slices) -> Slices:
    if not isinstance(gate.column, str) or not gate.column:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _Mistake(f"Slices of {gate.column!r}", "the name of a column", "name it")
    if gate.worst is None and gate.gap is None:
        raise _Mistake(f"{title(gate)} that bounds nothing", "worst= or gap=", "give one of them")
    given: Any = gate.edges
    edges = list(cast("Sequence[Any]", given)) if isinstance(given, (list, tuple)) else [given]
    numbers = all(isinstance(one, (int, float)) for one in edges)
    if not numbers or edges != sorted(set(edges)):
        raise _Mistake(f"{title(gate)}: edges={given!r}", "numbers that grow", "sort them")
    return msgspec.structs.replace(gate, edges=tuple(float(one) for one in edges))


def _latency(gate: Latency) -> Latency:
    given = {
        name: seconds(value, name)
        for name in ("p50", "p95", "p99")
        if (value := getattr(gate, name)) is not None
    }
    if not given:
        raise _Mistake("a Latency that bounds nothing", "p50, p95 or p99", 'write p99="2 ms"')
    return msgspec.structs.replace(gate, **given)


def _bytes(given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given
    match = _SIZE.fullmatch(given) if isinstance(given, str) else None
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1:
        raise _Mistake(f"Size({given!r})", 'bytes, or a text such as "20 MB"', "mend it")
    return size
