"""What was counted, by the names of OpenTelemetry: our own, and those of the GenAI conventions.

Everything is made from a snapshot of the cells that Prometheus is told of; nothing is counted for
it. Names of the GenAI conventions come in two dresses, for those who read them have not all moved:
`0.1` (semantic-conventions-genai v0.1.0, the first of its own repository) and `1.41`
(semantic-conventions v1.41.0, the last before).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias

from splice.engine import observe
from splice.engine.observe import METRICS, TOKENS_UP_TO, Labels, Metric
from splice.ports.telemetry import Family, Point

Dress = Literal["0.1", "1.41", "both"]

GENAI_SECONDS = tuple(bound for bound in observe.SECONDS if bound >= 0.01)
"""The bounds that the conventions recommend: ours, without those below."""

_LLM = "llm:"
_Rows: TypeAlias = "list[tuple[Labels, list[float]]]"
_Counted: TypeAlias = "Mapping[str, _Rows]"


def families(counted: _Counted, dress: Dress) -> list[Family]:
    """Every metric that has been counted.

    Args:
        counted: A snapshot, of one process or of several.
        dress: Which names of the GenAI conventions.
    """
    found = [_own(metric, counted.get(metric.name, [])) for metric in METRICS]
    if dress != "1.41":
        found += _genai_0_1(counted)
    if dress != "0.1":
        found += _genai_1_41(counted)
    return [family for family in found if family.points]


def own_name(metric: Metric) -> str:
    """`splice.call_duration`: what Prometheus makes of it, with the unit, is our name again."""
    bare = metric.name.removeprefix("splice_").removesuffix("_total").removesuffix("_seconds")
    return f"splice.{bare}"


def _own(metric: Metric, rows: _Rows) -> Family:
    histogram = metric.kind == "histogram"
    points = [
        _point(dict(zip(metric.labels, labels, strict=True)), cell, histogram)
        for labels, cell in sorted(rows)
    ]
    if not rows and not metric.labels:
        points = [Point({}, 0.0)]
    bounds = metric.bounds if histogram else ()
    return Family(own_name(metric), metric.kind, metric.unit, metric.help, tuple(points), bounds)


def _point(attributes: dict[str, str], cell: list[float], histogram: bool) -> Point:
    if not histogram:
        return Point(attributes, float(cell[0]))  # always one type to those who store it
    return Point(attributes, cell[-1], tuple(round(number) for number in cell[:-1]))


def _genai_0_1(counted: _Counted) -> Iterator[Family]:
    prefix = "gen_ai.client.inference"
    yield _seconds(counted, observe.ATTEMPT_DURATION, f"{prefix}.duration")
    yield _seconds(counted, observe.FIRST_TOKEN, f"{prefix}.time_to_first_chunk")
    for kind in ("input", "output"):
        rows = _tokens_of(counted, observe.TOKENS, kind)
        yield _tokens(f"{prefix}.usage.{kind}_tokens", rows, _with_modality)
        rows = _tokens_of(counted, observe.ATTEMPT_TOKENS, kind)
        yield _tokens(f"{prefix}.operation.{kind}_tokens", rows, _attributes, TOKENS_UP_TO)
    rows = counted.get(observe.CACHED_TOKENS.name, [])
    yield _tokens(f"{prefix}.usage.cache_read.input_tokens", rows, _with_modality)


def _genai_1_41(counted: _Counted) -> Iterator[Family]:
    yield _seconds(counted, observe.ATTEMPT_DURATION, "gen_ai.client.operation.duration")
    yield _seconds(counted, observe.FIRST_TOKEN, "gen_ai.client.operation.time_to_first_chunk")
    rows = counted.get(observe.ATTEMPT_TOKENS.name, [])
    yield _tokens("gen_ai.client.token.usage", rows, _with_type, TOKENS_UP_TO)


def _seconds(counted: _Counted, metric: Metric, name: str) -> Family:
    low = bisect_left(metric.bounds, GENAI_SECONDS[0])
    points = [
        # What is below the first bound of the conventions is one bucket to them.
        _point(_attributes(labels), [sum(cell[: low + 1]), *cell[low + 1 :]], histogram=True)
        for labels, cell in sorted(counted.get(metric.name, []))
        if labels[1].startswith(_LLM)
    ]
    return Family(name, "histogram", "s", metric.help, tuple(points), GENAI_SECONDS)


def _tokens_of(counted: _Counted, metric: Metric, kind: str) -> _Rows:
    return [row for row in counted.get(metric.name, []) if row[0][2] == kind]


def _tokens(
    name: str,
    rows: _Rows,
    attributes: Callable[[Labels], dict[str, str]],
    bounds: tuple[float, ...] = (),
) -> Family:
    points = [
        _point(attributes(labels), cell, bool(bounds))
        for labels, cell in sorted(rows)
        if labels[1].startswith(_LLM)
    ]
    kind = "histogram" if bounds else "counter"
    return Family(
        name, kind, "{token}", "Tokens, as the provider counted them.", tuple(points), bounds
    )


def _attributes(labels: Labels) -> dict[str, str]:
    """Integration, route, and for durations how it ended: as attributes of the conventions."""
    provider, _, model = labels[1].removeprefix(_LLM).partition("/")
    found = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "splice.integration": labels[0],
    }
    if len(labels) > 2 and labels[2] not in ("answered", "input", "output"):
        found["error.type"] = labels[2]
    return found


def _with_type(labels: Labels) -> dict[str, str]:
    return _attributes(labels) | {"gen_ai.token.type": labels[2]}


def _with_modality(labels: Labels) -> dict[str, str]:
    # Providers do not say of which kind the tokens are, and guessing is not knowing.
    return _attributes(labels) | {"gen_ai.token.modality": "unknown"}
