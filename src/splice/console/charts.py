"""The charts, as Vega-Lite specs without data: built by Altair once, drawn in the page.

Every chart has the same axis of time and the same room for its other axis, so that what happened at
one moment stands in one line. What only the page knows stands in the specs as a text that begins
with `$`: `$bad` is the colour of that name in its theme, `$since` where its time begins.

Data is handed in by name: `points` and `marks`. Texts of calls and releases are values there, never
parts of a spec.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import altair as alt

Spec: TypeAlias = "dict[str, Any]"

_HEIGHT = 120
_ROOM = 58  # pixels for labels of the other axis, in every chart
_ENDED = {
    "answered": "$plot-1", "cached": "$plot-4", "fallback": "$plot-2", "refused": "$line-strong",
    "failed": "$bad",
}  # fmt: skip
_COLOURS = ["$plot-1", "$plot-2", "$plot-4"]


def specs() -> dict[str, Spec]:
    """All charts by name."""
    return {
        "traffic": _traffic(),
        "errors": _lines({"errors": "Errors", "fallbacks": "Fallbacks"}, "Share of calls", "share"),
        "latency": _lines({"p50": "p50", "p95": "p95", "p99": "p99"}, "Latency", "seconds"),
        "cost": _cost(),
        "drift": _drift(),
        "accuracy": _accuracy(),
    }


def as_json() -> bytes:
    """All charts, as the page gets them."""
    return json.dumps(specs(), separators=(",", ":"), sort_keys=True).encode()


def _x() -> alt.X:
    axis = alt.Axis(title=None, labelOverlap=True, tickCount=8)
    return alt.X("t:T", scale=alt.Scale(type="utc"), axis=axis)


def _y(field: str, title: str, unit: str, **more: Any) -> alt.Y:
    expressions = {
        "share": "format(datum.value, '.2~%')",
        "seconds": "datum.value < 1 ? format(datum.value * 1000, ',.4~g') + ' ms' "
        ": format(datum.value, ',.3~g') + ' s'",
        "count": "format(datum.value, datum.value < 10 ? ',.2~g' : ',.3~s')",
    }
    axis = alt.Axis(
        title=None, labelExpr=expressions[unit], minExtent=_ROOM, maxExtent=_ROOM, tickCount=4
    )
    return alt.Y(field, axis=axis, **more)


def _tip(fields: dict[str, tuple[str, str]]) -> list[alt.Tooltip]:
    # No text: of the nearest point Vega-Lite knows numbers and moments only.
    when = alt.Tooltip(
        "t:T", timeUnit="utcyearmonthdatehoursminutes", title="From (UTC)", format="%Y-%m-%d %H:%M"
    )
    return [when, *(alt.Tooltip(f"{n}:Q", title=t, format=f) for n, (t, f) in fields.items())]


def _points() -> alt.NamedData:
    return alt.NamedData("points")


def _hover(fields: dict[str, tuple[str, str]]) -> alt.Chart:
    nearest = alt.selection_point(
        name="hover", nearest=True, on="pointerover", clear="pointerout", encodings=["x"],
        empty=False,
    )  # fmt: skip
    return (
        alt.Chart(_points())
        .mark_rule(strokeWidth=1)
        .encode(
            x=_x(),
            opacity=alt.condition(nearest, alt.value(0.5), alt.value(0)),
            tooltip=_tip(fields),
        )
        .add_params(nearest)
    )


def _marks() -> Any:  # a layer
    base = alt.Chart(alt.NamedData("marks")).encode(x=_x())
    tip = [
        alt.Tooltip("at:N", title="At (UTC)"),
        alt.Tooltip("text:N", title="What"),
        alt.Tooltip("by:N", title="By"),
        alt.Tooltip("why:N", title="Why"),
    ]
    rule = base.mark_rule(strokeDash=[3, 3], strokeWidth=1, style="mark-line").encode(tooltip=tip)
    label = base.mark_text(
        align="left", baseline="top", dx=3, y=0, fontSize=10, style="mark-label"
    ).encode(text="label:N", tooltip=tip)
    return alt.layer(rule, label)


def _layered(*layers: Any) -> Spec:
    brush = alt.selection_interval(name="brush", encodings=["x"])
    first, *rest = layers
    chart = alt.layer(first.add_params(brush), *rest, _marks())
    made: Spec = chart.properties(width="container", height=_HEIGHT).to_dict(validate=False)
    for name in ("config", "datasets", "$schema"):
        made.pop(name, None)
    # As expressions: of plain moments Vega-Lite makes `datetime(…)` of milliseconds, which Vega's
    # interpreter of expressions takes for years.
    scale: Spec = made["layer"][0]["encoding"]["x"]["scale"]
    scale |= {"domainMin": {"expr": "$since"}, "domainMax": {"expr": "$until"}}
    return made


def _traffic() -> Spec:
    area = (
        alt.Chart(_points())
        .transform_fold(list(_ENDED), as_=["how", "calls"])
        .mark_area(interpolate="step-after", opacity=0.8)
        .encode(
            x=_x(),
            y=_y("calls:Q", "Calls", "count", stack="zero"),
            color=alt.Color(
                "how:N",
                scale=alt.Scale(domain=list(_ENDED), range=list(_ENDED.values())),
                legend=alt.Legend(title=None, orient="top", direction="horizontal"),
            ),
        )
    )
    fields = {name: (name.capitalize(), ",") for name in _ENDED}
    return _layered(area, _hover({"all": ("Calls", ","), **fields}))


def _lines(names: dict[str, str], title: str, unit: str) -> Spec:
    line = (
        alt.Chart(_points())
        .transform_fold(list(names), as_=["which", "value"])
        .transform_filter("isValid(datum.value)")
        .mark_line(strokeWidth=1.5, interpolate="linear", point={"size": 8})
        .encode(
            x=_x(),
            y=_y("value:Q", title, unit),
            color=alt.Color(
                "which:N",
                scale=alt.Scale(domain=list(names), range=_COLOURS[: len(names)]),
                legend=alt.Legend(
                    title=None, orient="top", direction="horizontal", symbolType="stroke",
                    labelExpr=_named(names),
                ),
            ),
        )
    )  # fmt: skip
    form = ".2%" if unit == "share" else ",.4~g"
    suffix = ", s" if unit == "seconds" else ""
    return _layered(line, _hover({one: (text + suffix, form) for one, text in names.items()}))


def _named(names: dict[str, str]) -> str:
    tests = "".join(f"datum.label == '{one}' ? '{text}' : " for one, text in names.items())
    return tests + "datum.label"


def _cost() -> Spec:
    area = (
        alt.Chart(_points())
        .mark_area(interpolate="step-after", opacity=0.35, line={"strokeWidth": 1.25})
        .encode(x=_x(), y=_y("cost:Q", "Cost", "count"))
    )
    return _layered(
        area,
        _hover({"cost": ("Cost", ",.4~g"), "cost_per_call": ("Cost a call", ",.4~g"),
                "unpriced": ("Calls of unknown cost", ",")}),
    )  # fmt: skip


def _drift() -> Spec:
    bars = (
        alt.Chart(_points())
        .mark_bar(opacity=0.75)
        .encode(
            x=_x(),
            x2=alt.X2("end:T"),
            y=_y("worst:Q", "PSI", "count"),
            color=alt.condition("datum.alarms > 0", alt.value("$bad"), alt.value("$plot-1")),
        )
    )
    made = _layered(
        bars, _hover({"worst": ("Largest PSI", ".3f"), "alarms": ("Columns that drifted", ",")})
    )
    return made


def _accuracy() -> Spec:
    base = alt.Chart(_points())
    band = base.mark_area(opacity=0.18).encode(
        x=_x(), y=_y("low:Q", "Figure", "count", scale=alt.Scale(zero=False)), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=1.5, point={"size": 14}).encode(
        x=_x(), y=_y("value:Q", "Figure", "count", scale=alt.Scale(zero=False))
    )
    return _layered(
        band,
        line,
        _hover({"value": ("Value", ".4f"), "low": ("95 % from", ".4f"), "high": ("to", ".4f"),
                "count": ("Labels", ",")}),
    )  # fmt: skip
