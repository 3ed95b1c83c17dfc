"""The Grafana dashboard and the Prometheus rules that are made from the metrics."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml

from splice.app.grafana import dashboard, expressions, metrics_in
from splice.app.grafana_panels import PANELS, ROWS
from splice.app.prometheus_rules import RULES, rules_file
from splice.engine.observe import METRICS, Metric

MADE = dashboard("EUR")
SHOWN = [panel for panel in MADE["panels"] if panel["type"] != "row"]


def readable(expr: str) -> str:
    """The expression with Grafana's variables put in."""
    for name, value in (("$__rate_interval", "5m"), ("$__range", "6h"), ("$__interval", "1m")):
        expr = expr.replace(name, value)
    return expr.replace("$integration", ".*")


def test_every_metric_is_in_a_panel() -> None:
    shown = {name for expr in expressions(MADE) for name in metrics_in(expr)}

    assert {metric.name for metric in METRICS} - shown == set()


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_a_metric_that_nobody_made_a_panel_for_gets_one(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = "s" if kind == "histogram" else ""
    fresh = Metric("splice_alerts_fresh", kind, "New.", ("integration", "severity"), unit)
    monkeypatch.setattr("splice.app.grafana.METRICS", (*METRICS, fresh))

    made = dashboard("EUR")

    (panel,) = [one for one in made["panels"] if one.get("description") == "New."]
    promql_parser.parse(readable(panel["targets"][0]["expr"]))
    rows = [one["title"] for one in made["panels"] if one["type"] == "row"]
    assert "Alerts" in rows
    assert "Others" not in rows


@pytest.mark.parametrize("expr", [*expressions(MADE), *(rule.expr for rule in RULES)])
def test_every_expression_is_promql_on_metrics_and_labels_that_there_are(expr: str) -> None:
    promql_parser.parse(readable(expr))

    known = {metric.name: set(metric.labels) for metric in METRICS}
    histograms = {metric.name for metric in METRICS if metric.kind == "histogram"}
    for name, labels in re.findall(r"(splice_\w+)(?:\{([^}]*)\})?", expr):
        bare = name if name in known else re.sub("_(bucket|sum|count)$", "", name)
        assert bare in (known if bare == name else histograms)
        assert set(re.findall(r"(\w+)(?:=~|!=|=)", labels)) <= known[bare]


def test_counters_are_never_shown_as_they_stand_and_gauges_never_as_rates() -> None:
    kinds = {metric.name: metric.kind for metric in METRICS}
    for expr in expressions(MADE):
        rated = {name for one in re.findall(r"(?:rate|increase)\((splice_\w+)", expr)
                 for name in metrics_in(one)}  # fmt: skip
        for name in metrics_in(expr):
            assert (name in rated) == (kinds[name] != "gauge"), expr


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    places = [panel["gridPos"] for panel in MADE["panels"]]

    assert len({panel["id"] for panel in MADE["panels"]}) == len(places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_the_model_is_that_of_grafana_as_far_as_we_use_it() -> None:
    assert MADE["schemaVersion"] >= 36
    assert {panel["type"] for panel in MADE["panels"]} <= {
        "row", "timeseries", "stat", "state-timeline",
    }  # fmt: skip
    for panel in SHOWN:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        bounds = [step["value"] for step in steps[1:]]
        assert bounds == sorted(bounds)
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        assert all(t["datasource"]["uid"] == "${datasource}" for t in panel["targets"])
    assert {panel.row for panel in PANELS} <= set(ROWS)


@pytest.mark.parametrize(("currency", "unit"), [("EUR", "currencyEUR"), ("CHF", "prefix:CHF ")])
def test_costs_are_in_the_currency_of_the_account(currency: str, unit: str) -> None:
    panels = [one for one in dashboard(currency)["panels"] if one["title"] == "Cost a call"]

    assert panels[0]["fieldConfig"]["defaults"]["unit"] == unit


def test_the_rules_file_is_yaml_that_holds_every_rule() -> None:
    text = rules_file()

    (group,) = yaml.safe_load(text)["groups"]
    assert [(one["alert"], one["expr"]) for one in group["rules"]] == [
        (rule.alert, rule.expr) for rule in RULES
    ]
    assert all(one["annotations"]["summary"] for one in group["rules"])


def test_the_commands_print_files_to_import(command: Any) -> None:
    command.write("splice.toml", '[cost]\ncurrency = "CHF"\n')

    made = json.loads(command("dashboard", "grafana", "--title", "Mine").out)

    assert made["title"] == "Mine"
    assert any(
        panel.get("fieldConfig", {}).get("defaults", {}).get("unit") == "prefix:CHF "
        for panel in made["panels"]
    )
    assert command("dashboard", "rules").out == rules_file()
