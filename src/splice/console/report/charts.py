"""Charts of a report, as Vega-Lite specs, and drawn as SVG without a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from splice.core.errors import SettingsError

Spec: TypeAlias = "dict[str, Any]"
Row: TypeAlias = "Mapping[str, str | float | None]"

FONT = "Libertinus Serif"
"""The face of the document; a page replaces it by its own."""

INK, QUIET, RULE = "#1f2328", "#59636e", "#d8dde3"
COLOURS = ("#2f6f9f", "#d08b2c", "#b3403a", "#8a919a")
_WIDTH, _HEIGHT = 640, 150

_CONFIG: Spec = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET, "titleColor": QUIET, "labelFontSize": 11, "titleFontSize": 11,
        "titleFontWeight": "normal", "gridColor": RULE, "domainColor": RULE, "tickColor": RULE,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "tickCount": 4, "minExtent": 48, "maxExtent": 48},
    "legend": {
        "orient": "top", "title": None, "labelColor": QUIET, "labelFontSize": 11, "symbolSize": 60,
        "offset": 4, "padding": 0,
    },
    "range": {"category": list(COLOURS)},
}  # fmt: skip

_X: Spec = {
    "field": "day",
    "type": "ordinal",
    "sort": None,  # the order of the rows, not of the texts
    # Every day has a place; only so many are written that they can be read.
    "axis": {
        "title": None, "labelAngle": 0, "labelOverlap": True, "ticks": False, "labelPadding": 4,
    },
}  # fmt: skip


def bars(rows: Sequence[Row], title: str, form: str = ",.3~s", kinds: Sequence[str] = ()) -> Spec:
    """Bars by day; stacked by `kind` where there are kinds. Rows: day, value and kind."""
    colour: Spec = {"value": COLOURS[0]}
    if kinds:
        colour = {
            "field": "kind", "type": "nominal", "sort": list(kinds),
            "scale": {"domain": list(kinds), "range": list(COLOURS[: len(kinds)])},
        }  # fmt: skip
    encoding: Spec = {
        "x": _X,
        "y": {"field": "value", "type": "quantitative", "axis": {"title": title, "format": form}},
        "color": colour,
    }
    if kinds:
        encoding["order"] = {"field": "place", "type": "quantitative"}
        rows = [{**row, "place": kinds.index(str(row["kind"]))} for row in rows]
    return _spec(rows, {"type": "bar", "width": {"band": 0.8}}, encoding)


def lines(rows: Sequence[Row], title: str, form: str, kinds: Sequence[str]) -> Spec:
    """Lines by day, one a kind; where a day has no value there is a gap."""
    encoding: Spec = {
        "x": _X,
        "y": {"field": "value", "type": "quantitative", "axis": {"title": title, "format": form}},
        "color": {
            "field": "kind", "type": "nominal", "sort": list(kinds),
            "scale": {"domain": list(kinds), "range": list(COLOURS[: len(kinds)])},
        },
    }  # fmt: skip
    mark: Spec = {
        "type": "line",
        "strokeWidth": 1.8,
        "point": {"size": 14},
        "invalid": "break-paths-show-domains",
    }
    return _spec(rows, mark, encoding)


def standing(points: Mapping[str, float], low: float | None, high: float | None, form: str) -> Spec:
    """Where a figure stands between baseline and target: points by name, and its interval."""
    rows: list[Row] = [{"name": name, "value": value} for name, value in points.items()]
    x: Spec = {
        "field": "value", "type": "quantitative",
        "scale": {"zero": False, "nice": True, "padding": 16},
        "axis": {"title": None, "format": form, "grid": True, "tickCount": 6},
    }  # fmt: skip
    names = list(points)
    colour: Spec = {
        "field": "name", "type": "nominal", "sort": names, "legend": None,
        "scale": {"domain": names, "range": [QUIET, COLOURS[0], COLOURS[1]][: len(names)]},
    }  # fmt: skip
    y: Spec = {
        "field": "name",
        "type": "nominal",
        "sort": names,
        "axis": {
            "title": None,
            "grid": False,
            "domain": False,
            "ticks": False,
            "labelColor": INK,
            "minExtent": 80,
            "maxExtent": 80,
        },
    }
    layers: list[Spec] = []
    if low is not None and high is not None and "Now" in points:
        layers.append({
            "data": {"values": [{"name": "Now", "value": low, "high": high}]},
            "mark": {"type": "rule", "strokeWidth": 6, "opacity": 0.35, "color": COLOURS[0]},
            "encoding": {"x": x, "x2": {"field": "high"}, "y": y},
        })  # fmt: skip
    layers.append({
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": colour},
    })  # fmt: skip
    return {"width": _WIDTH, "height": 26 * len(points), "layer": layers, "config": _CONFIG}


def _spec(rows: Sequence[Row], mark: Spec, encoding: Spec) -> Spec:
    return {
        "width": _WIDTH, "height": _HEIGHT, "data": {"values": [dict(row) for row in rows]},
        "mark": mark, "encoding": encoding, "config": _CONFIG,
    }  # fmt: skip


def drawn(spec: Spec) -> str:
    """The chart as SVG; the same spec gives the same text.

    Raises:
        SettingsError: vl-convert is not installed.
    """
    try:
        import vl_convert  # an optional dependency
    except ImportError as error:
        raise SettingsError("report", got=str(error), mend="install splice-ai[report]") from error
    return vl_convert.vegalite_to_svg(json.dumps(spec))
