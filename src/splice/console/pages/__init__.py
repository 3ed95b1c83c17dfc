"""The pages: one file for each kind, each a function from the ledger and an address to a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from splice.console.desk import Visit
from splice.console.pages import (
    accuracy,
    alerts,
    audit,
    calls,
    dead_letters,
    drift,
    duties,
    experiments,
    integration,
    live,
    portfolio,
    releases,
    reviews,
)
from splice.console.room import Download, Figures, Page, Room

Make = Callable[[Room, Visit, Mapping[str, str]], Page | Download | Figures]

PAGES: dict[str, Make] = {
    "": portfolio.portfolio,
    "/": portfolio.portfolio,
    "/calls": calls.calls,
    "/calls.csv": calls.exported,
    "/calls.jsonl": calls.exported,
    "/calls.parquet": calls.exported,
    "/calls/{call_id}": calls.call,
    "/live": live.live,
    "/alerts": alerts.alerts,
    "/alerts/{alert_id}": alerts.alert,
    "/audit": audit.audit,
    "/audit/{number}": audit.event,
    "/dead-letters": dead_letters.dead_letters,
    "/dead-letters/{number}": dead_letters.dead_letter,
    "/reviews": reviews.reviews,
    "/reviews/{review_id}": reviews.review,
    "/reviews/{review_id}/why": reviews.why,
    "/integrations/{name}": integration.integration,
    "/integrations/{name}/figures.json": integration.figures,
    "/integrations/{name}/drift": drift.drift,
    "/integrations/{name}/drift.json": drift.figures,
    "/integrations/{name}/accuracy": accuracy.accuracy,
    "/integrations/{name}/accuracy.json": accuracy.figures,
    "/integrations/{name}/experiments": experiments.experiments,
    "/integrations/{name}/alerts": alerts.alerts,
    "/integrations/{name}/releases": releases.releases,
    "/integrations/{name}/releases/{number}": releases.release,
    "/integrations/{name}/compare": releases.compare,
    "/integrations/{name}/duties": duties.duties,
    "/incidents": duties.incidents,
    "/incidents/{incident_id}": duties.incident,
}
"""Path below `/console` to what makes its page."""
