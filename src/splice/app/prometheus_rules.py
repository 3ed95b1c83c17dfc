"""Prometheus alerting rules on our metrics, as a file to load."""

from __future__ import annotations

import json

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """One alerting rule: what is wrong, for how long, and what to do first."""

    alert: str
    expr: str
    lasts: str
    severity: str
    summary: str
    description: str


def _per(by: str, metric: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[10m]))"


_ATTEMPTS = _per("integration, route", "splice_attempts_total")
_FAILED_ATTEMPTS = _per("integration, route", "splice_attempts_total", 'ended!="answered"')
_CALLS = _per("integration", "splice_calls_total", 'status!="refused"')
_ANSWERED = _per("integration", "splice_calls_total", 'status="answered"')
_FAILED = _per("integration", "splice_calls_total", 'status="failed"')
_FALLBACK = _per("integration", "splice_calls_total", 'reason="fallback"')

RULES = (
    Rule(
        "SpliceCallsFail", f"{_FAILED} / {_CALLS} > 0.05", "10m", "critical",
        "{{ $labels.integration }}: {{ $value | humanizePercentage }} of the calls fail",
        "No route answers them. splice calls list --status failed shows which.",
    ),
    Rule(
        "SpliceFallbacks", f"{_FALLBACK} / {_ANSWERED} > 0.25", "15m", "warning",
        "{{ $labels.integration }}: {{ $value | humanizePercentage }} are answered by a fallback",
        "The first route is away, slow or wrong. See the panel of tries that failed.",
    ),
    Rule(
        "SpliceRouteFails", f"{_FAILED_ATTEMPTS} / {_ATTEMPTS} > 0.5", "15m", "warning",
        "{{ $labels.route }} of {{ $labels.integration }} fails",
        "More than half of its tries of the last 10 minutes failed.",
    ),
    Rule(
        "SpliceMonitorAlert",
        'max by (integration) (splice_alerts_open{severity="critical"}) > 0', "0m", "critical",
        "{{ $labels.integration }}: {{ $value }} critical alerts of its monitors are open",
        "splice monitors alerts tells what they saw.",
    ),
    Rule(
        "SpliceLedgerAway", "sum by (instance) (splice_ledger_spooled_batches) > 0", "5m",
        "critical", "{{ $labels.instance }}: records are set aside, for the ledger takes none",
        "High-risk calls are refused meanwhile. /readyz says why.",
    ),
    Rule(
        "SpliceLedgerErrors", "sum by (instance) (increase(splice_ledger_errors_total[10m])) > 0",
        "5m", "warning", "{{ $labels.instance }}: writes to the ledger fail", "/readyz says why.",
    ),
    Rule(
        "SpliceEventsLate", "max by (integration) (splice_event_delay_seconds) > 600", "10m",
        "warning", "{{ $labels.integration }}: events are {{ $value | humanizeDuration }} behind",
        "Start more consumers, or look why they are slow.",
    ),
    Rule(
        "SpliceEventsDead",
        'sum by (integration) (increase(splice_events_total{ended="dead"}[1h])) > 0', "0m",
        "warning", "{{ $labels.integration }}: events could not be answered",
        "splice events list tells why.",
    ),
    Rule(
        "SpliceOutboxWaits", "max by (instance) (splice_outbox_waiting) > 1000", "15m", "warning",
        "{{ $labels.instance }}: {{ $value }} messages are still to be sent",
        "Where they go is away: splice events outbox list.",
    ),
    Rule(
        "SplicePoolRestarts",
        "sum by (model, reason) (increase(splice_pool_restarts_total[15m])) > 3", "0m", "warning",
        "Worker processes of {{ $labels.model }} are replaced again and again",
        "Reason: {{ $labels.reason }}.",
    ),
)  # fmt: skip


def rules_file() -> str:
    """The rules as YAML."""
    lines = [
        "# Made by `splice dashboard rules`. Bounds to begin with: set yours.",
        "groups:",
        "- name: splice",
        "  rules:",
    ]
    for one in RULES:
        lines += [
            f"  - alert: {one.alert}",
            f"    expr: {json.dumps(one.expr)}",
            f"    for: {one.lasts}",
            "    labels:",
            f"      severity: {one.severity}",
            "    annotations:",
            f"      summary: {json.dumps(one.summary)}",
            f"      description: {json.dumps(one.description)}",
        ]
    return "\n".join(lines) + "\n"
