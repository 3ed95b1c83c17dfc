"""What was counted as Prometheus text."""

from __future__ import annotations

from collections.abc import Mapping

from splice.engine.observe import METRICS, Labels, Metric


def prometheus_text(snapshot: Mapping[str, list[tuple[Labels, list[float]]]]) -> str:
    """The text exposition format, version 0.0.4, every family in the order of `METRICS`."""
    lines: list[str] = []
    for metric in METRICS:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        rows = sorted(snapshot.get(metric.name, []))
        if not rows and not metric.labels:
            rows = [((), [0.0])]
        for labels, cell in rows:
            lines.extend(_lines(metric, labels, cell))
    return "\n".join(lines) + "\n"


def _lines(metric: Metric, labels: Labels, cell: list[float]) -> list[str]:
    pairs = [f'{k}="{_escaped(v)}"' for k, v in zip(metric.labels, labels, strict=True)]
    if metric.kind != "histogram":
        shown = "{" + ",".join(pairs) + "}" if pairs else ""
        return [f"{metric.name}{shown} {cell[0]:.15g}"]
    lines: list[str] = []
    count = 0.0
    for bound, number in zip((*metric.bounds, float("inf")), cell[:-1], strict=True):
        count += number
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        inner = ",".join([*pairs, f'le="{le}"'])
        lines.append(f"{metric.name}_bucket{{{inner}}} {count:.15g}")
    outer = "{" + ",".join(pairs) + "}" if pairs else ""
    lines.append(f"{metric.name}_sum{outer} {cell[-1]:.12g}")
    lines.append(f"{metric.name}_count{outer} {count:.15g}")
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
