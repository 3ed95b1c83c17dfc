"""Alerts and findings, as pages, reports and commands read them."""

from __future__ import annotations

from splice.core.alerts import Alert, Finding
from splice.core.monitors import severity_rank
from splice.ports.alerts import AlertFilter, AlertStore


def open_alerts(store: AlertStore, integration: str | None = None) -> list[Alert]:
    """Alerts that are open, the worst first and the newest of those."""
    found = store.alerts(AlertFilter(integration=integration, state="open", limit=1000))
    return sorted(found, key=lambda one: (-severity_rank(one.severity), -one.opened_us))


def history(
    store: AlertStore, integration: str, since_us: int, until_us: int, limit: int = 200
) -> list[Alert]:
    """Alerts of an integration that were open at any time of a window, newest first."""
    return store.alerts(
        AlertFilter(integration=integration, since_us=since_us, until_us=until_us, limit=limit)
    )


def findings(store: AlertStore, integration: str | None = None) -> list[Finding]:
    """The newest finding of each monitor, by integration and monitor."""
    return store.findings(integration)
