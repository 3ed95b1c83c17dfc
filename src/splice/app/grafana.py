"""The Grafana dashboard of every metric, as a file to import."""

from __future__ import annotations

import re
from typing import Any

from splice.app.grafana_panels import COST, PANELS, ROWS, Panel, Query
from splice.engine.observe import METRICS, Metric

_SCHEMA = 39  # of Grafana 11; newer ones read it and move it on
_HEIGHT = 8
_WIDE = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLOURS = ("green", "orange", "red")
# Grafana's own units of money; others get their letters before the number.
_MONEY = {"EUR": "currencyEUR", "USD": "currencyUSD", "GBP": "currencyGBP", "JPY": "currencyJPY"}


def dashboard(currency: str, title: str = "Splice") -> dict[str, Any]:
    """The dashboard as JSON values: a row a theme, and each metric in at least one panel."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        these = [one for one in (*PANELS, *_plain_ones()) if one.row == row]
        if not these:
            continue
        panels.append(_row(row, len(panels) + 1, top))
        top += 1
        left = 0
        for one in these:
            if left + one.width > _WIDE:
                left, top = 0, top + _HEIGHT
            place = {"h": _HEIGHT, "w": one.width, "x": left, "y": top}
            panels.append(_panel(one, len(panels) + 1, place, currency))
            left += one.width
        top += _HEIGHT
    return {
        "title": title,
        "uid": "splice",
        "description": "Made by `splice dashboard grafana` from the metrics of Splice.",
        "tags": ["splice", "ai"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "refresh": "1m",
        "fiscalYearStartMonth": 0,
        "annotations": {"list": [_releases()]},
        "templating": {"list": _variables()},
        "links": [],
        "panels": panels,
    }


def expressions(made: dict[str, Any]) -> list[str]:
    """Every PromQL expression of a dashboard, as it stands there."""
    found = [target["expr"] for panel in made["panels"] for target in panel.get("targets", [])]
    return found + [one["expr"] for one in made["annotations"]["list"] if "expr" in one]


def metrics_in(expr: str) -> set[str]:
    """Names of our metrics in an expression, without what a histogram puts behind them."""
    names = {metric.name for metric in METRICS}
    found: set[str] = set()
    for word in re.findall(r"splice_\w+", expr):
        bare = re.sub("_(bucket|sum|count)$", "", word)
        found |= {word if word in names else bare} & names
    return found


def _plain_ones() -> list[Panel]:
    shown = {name for panel in PANELS for query in panel.queries for name in metrics_in(query.expr)}
    return [_plain(metric) for metric in METRICS if metric.name not in shown]


def _plain(metric: Metric) -> Panel:
    row = "Alerts" if metric.name.startswith("splice_alert") else "Others"
    chosen = '{integration=~"$i"}' if "integration" in metric.labels else ""
    by = ", ".join(metric.labels)
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or metric.name
    rate = f"rate({metric.name}{'_bucket' if metric.kind == 'histogram' else ''}{chosen}[$r])"
    if metric.kind == "gauge":
        expr = f"sum by ({by}) ({metric.name}{chosen})"
    elif metric.kind == "counter":
        expr = f"sum by ({by}) ({rate})"
    else:
        expr = f"histogram_quantile(0.95, sum by ({', '.join(['le', *metric.labels])}) ({rate}))"
    unit = "s" if metric.unit == "s" else "short"
    title = metric.name.removeprefix("splice_").removesuffix("_total").replace("_", " ")
    return Panel(row, title.capitalize(), (Query(expr, legend),), unit, note=metric.help)


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    place = {"h": 1, "w": _WIDE, "x": 0, "y": top}
    return {
        "id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place,
        "panels": [],
    }  # fmt: skip


def _panel(panel: Panel, number: int, place: dict[str, int], currency: str) -> dict[str, Any]:
    steps = [{"color": _COLOURS[0], "value": None}] + [
        {"color": colour, "value": bound}
        for colour, bound in zip(_COLOURS[1:], panel.steps, strict=False)
    ]
    unit = _MONEY.get(currency, f"prefix:{currency} ") if panel.unit == COST else panel.unit
    defaults: dict[str, Any] = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": _custom(panel),
        "mappings": [],
        "links": [],
    }
    if panel.shape == "state-timeline":
        defaults["decimals"] = 0
    return {
        "id": number,
        "type": panel.shape,
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "editorMode": "code",
                "expr": _put_in(query.expr),
                "legendFormat": query.legend or "__auto",
                "range": panel.shape != "stat",
                "instant": panel.shape == "stat",
            }
            for at, query in enumerate(panel.queries)
        ],
    }


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.shape != "timeseries":
        return {}
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
    }


def _options(panel: Panel) -> dict[str, Any]:
    legend: dict[str, Any] = {
        "displayMode": "list",
        "placement": "bottom",
        "showLegend": True,
        "calcs": [],
    }
    if panel.shape == "stat":
        calculated = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"colorMode": "none", "graphMode": "none", "reduceOptions": calculated}
    if panel.shape == "state-timeline":
        return {"legend": legend, "mergeValues": True, "showValue": "auto"}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _put_in(expr: str) -> str:
    return expr.replace("[$r]", "[$__rate_interval]").replace('"$i"', '"$integration"')


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source",
         "current": {}, "hide": 0, "multi": False, "includeAll": False, "options": [],
         "refresh": 1, "regex": "", "skipUrlSync": False},
        {"name": "integration", "type": "query", "label": "Integration", "datasource": _SOURCE,
         "definition": "label_values(splice_release, integration)",
         "query": {"query": "label_values(splice_release, integration)", "refId": "integrations"},
         "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "allValue": ".*",
         "hide": 0, "multi": True, "includeAll": True, "options": [], "refresh": 2, "regex": "",
         "skipUrlSync": False, "sort": 1},
    ]  # fmt: skip


def _releases() -> dict[str, Any]:
    """Marks on all panels where another release went live."""
    return {
        "name": "Releases", "datasource": _SOURCE, "enable": True, "iconColor": "blue",
        "expr": 'changes(splice_release{integration=~"$integration"}[$__interval]) > 0',
        "titleFormat": "Release of {{integration}}", "step": "1m", "useValueForTime": "",
    }  # fmt: skip
