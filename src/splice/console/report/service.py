"""Sections of a report: how much was answered and how fast, and what went wrong."""

from __future__ import annotations

from splice.console import units
from splice.console.report.blocks import Block, Chart, Column, Section, Table, Text
from splice.console.report.charts import bars, lines
from splice.console.report.words import change, plural, sentence
from splice.core.alerts import Alert
from splice.core.rollups import Part
from splice.monitor.reporting import MonthFigures, OnDay

_KINDS = ("answered", "fallback", "failed", "refused")
_SWITCHES = {
    "integration.stop": "Switched off",
    "integration.start": "Switched on again",
    "rollout.abort": "A rollout was taken back by its guards",
    "model.withdraw": "A model was withdrawn",
    "model.restore": "A withdrawn model was restored",
    "model.rollback": "A model was rolled back",
    "release.rollback": "A release was rolled back",
}


def traffic_section(found: MonthFigures) -> Section:
    """Volume and latency."""
    totals, before = found.totals, found.before
    if not totals.calls:
        return Section("Volume and latency", "There were no calls in this month.")
    trend = change(totals.calls, before.calls, found.month.before.name)
    lead = f"{plural(totals.calls, 'call')}" + (f" ({trend})" if trend else "")
    lead += (
        f", half of them within {units.duration(totals.latency_p50)}, "
        f"95 of 100 within {units.duration(totals.latency_p95)}."
        if totals.latency_p50 is not None
        else ", all of them refused."
    )
    rows = [
        ("Answered", units.count(totals.answered), units.share(totals.answered / totals.calls)),
        ("of these by a later route", units.count(totals.fallbacks),
         units.share(totals.fallbacks / totals.calls)),
        ("of these from a kept answer", units.count(totals.cached),
         units.share(totals.cached / totals.calls)),
        ("Failed", units.count(totals.failed), units.share(totals.failed / totals.calls)),
        ("Refused", units.count(totals.refused), units.share(totals.refused / totals.calls)),
    ]  # fmt: skip
    columns = (Column("How calls ended"), Column("Calls", right=True), Column("Share", right=True))
    blocks: list[Block] = [Table("Calls", columns, tuple(rows))]
    blocks += _volume_chart(found)
    blocks += _latency_chart(found)
    blocks += [_answered_by(found), _callers(found)]
    return Section("Volume and latency", lead, tuple(blocks))


def _volume_chart(found: MonthFigures) -> list[Block]:
    rows = [
        {"day": f"{one.date.day}", "kind": kind, "value": number}
        for one in found.days
        for kind, number in zip(_KINDS, _ended(one), strict=True)
    ]
    most = max(found.days, key=lambda one: one.totals.calls)
    told = f"Most on {most.date.isoformat()}: {plural(most.totals.calls, 'call')}."
    return [Chart("Calls by day", told, bars(rows, "", ",.3~s", _KINDS))]


def _ended(one: OnDay) -> tuple[int, int, int, int]:
    totals = one.totals
    first = totals.answered - totals.fallbacks
    return first, totals.fallbacks, totals.failed, totals.refused


def _latency_chart(found: MonthFigures) -> list[Block]:
    known = [one for one in found.days if one.totals.latency_p95 is not None]
    if not known:
        return []
    kinds = ("half within (p50)", "95 of 100 within (p95)")
    rows = [
        {"day": f"{one.date.day}", "kind": kind, "value": value if value is None else value * 1000}
        for one in found.days
        for kind, value in zip(
            kinds, (one.totals.latency_p50, one.totals.latency_p95), strict=True
        )
    ]  # fmt: skip
    slowest = max(known, key=lambda one: one.totals.latency_p95 or 0.0)
    told = (
        f"Slowest on {slowest.date.isoformat()}: 95 of 100 within "
        f"{units.duration(slowest.totals.latency_p95)}."
    )
    return [Chart("Latency by day, milliseconds", told, lines(rows, "", ",.3~g", kinds))]


def _answered_by(found: MonthFigures) -> Table:
    columns = (
        Column("Answered by", wide=True), Column("Calls", right=True), Column("p50", right=True),
        Column("p95", right=True), Column("p99", right=True),
    )  # fmt: skip
    rows = tuple(_part_row(one, one.name or "nobody") for one in found.routes)
    return Table("By route that answered", columns, rows)


def _part_row(one: Part, name: str) -> tuple[str, ...]:
    totals = one.totals
    times = (totals.latency_p50, totals.latency_p95, totals.latency_p99)
    return (name, units.count(totals.calls), *(units.duration(value) for value in times))


def _callers(found: MonthFigures) -> Table:
    most = 10
    columns = (Column("Caller"), Column("Calls", right=True))
    rows = [(one.caller or "without a key", units.count(one.calls)) for one in found.callers[:most]]
    rest = found.callers[most:]
    if rest:
        rows.append((f"{len(rest)} others", units.count(sum(one.calls for one in rest))))
    return Table("Who asked", columns, tuple(rows), "Nobody.")


def incident_section(found: MonthFigures) -> Section:
    """Alerts, stops, rollbacks and failures."""
    switches = [one for one in found.changes if one.action in _SWITCHES]
    failed = found.totals.failed
    if not found.alerts and not switches and not failed:
        return Section("Incidents", "None: no alert, no stop, no failed call.")
    said = [
        plural(len(found.alerts), "alert") if found.alerts else "no alert",
        plural(len(switches), "stop, start or rollback", "stops, starts and rollbacks")
        if switches
        else "no stop",
        plural(failed, "failed call") if failed else "no failed call",
    ]
    month = found.month
    alerts = Table(
        "Alerts",
        (Column("Opened"), Column("Ended"), Column("Monitor"), Column("Severity"),
         Column("What it saw, and what was done", wide=True)),
        tuple(
            (
                month.time_of(one.opened_us), _ended_text(found, one), one.monitor, one.severity,
                _what(one),
            )
            for one in reversed(found.alerts)
        ),
        "No monitor fired.",
    )  # fmt: skip
    stops = Table(
        "Stops and rollbacks",
        (Column("When"), Column("What"), Column("By"), Column("Why", wide=True)),
        tuple(
            (month.time_of(one.at_us), f"{_SWITCHES[one.action]}: {one.subject}", one.by, one.why)
            for one in switches
        ),
        "None.",
    )
    blocks: list[Block] = [alerts, stops, _failures(found)]
    return Section("Incidents", sentence(", ".join(said)), tuple(blocks))


def _ended_text(found: MonthFigures, alert: Alert) -> str:
    return found.month.time_of(alert.resolved_us) if alert.resolved_us else "still open"


def _what(alert: Alert) -> str:
    deeds = "; ".join(
        f"{one.action} {one.state}" + (f" ({one.detail})" if one.detail else "")
        for one in alert.deeds
    )
    seen = sentence(alert.why)
    if alert.acknowledged_us:
        why = f", {alert.acknowledged_why}" if alert.acknowledged_why else ""
        seen += f" Seen by {alert.acknowledged_by}{why}."
    return f"{seen} {sentence(deeds)}".strip()


def _failures(found: MonthFigures) -> Block:
    totals = found.totals
    reasons = [
        *((f"failed: {name.replace('_', ' ')}", number) for name, number in totals.errors.items()),
        *((f"refused: {name.replace('_', ' ')}", n) for name, n in totals.refusals.items()),
    ]
    if not reasons:
        return Text("No call failed, and none was refused.")
    reasons.sort(key=lambda one: (-one[1], one[0]))
    columns = (Column("Why", wide=True), Column("Calls", right=True), Column("Share", right=True))
    rows = tuple(
        (name, units.count(number), units.share(number / totals.calls)) for name, number in reasons
    )
    return Table("Calls without an answer", columns, rows)
