"""The portfolio: every integration in one table, with what it does, costs and is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from splice.console.desk import Visit
from splice.console.figures import courses, drift_report, figure_of, quality_of, worth_of
from splice.console.room import Member, Page, Room
from splice.core.alerts import Alert
from splice.core.profiles import DriftReport
from splice.core.quality import Measured
from splice.core.rollups import Totals, Wanted
from splice.core.studies import Worth
from splice.monitor import traffic
from splice.monitor.watch import open_alerts

_POINTS = 30


class Line(msgspec.Struct, frozen=True):
    """One integration; what is None is not known, or not known yet where `pending` says so."""

    member: Member
    totals: Totals
    course: list[float | None]
    alerts: list[Alert]
    drift: DriftReport | None
    accuracy: Measured | None
    worth: Worth | None
    cost_per_outcome: float | None
    pending: bool


def portfolio(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The page."""
    wanted = Wanted(visit.span.window)
    parts = {one.name: one.totals for one in traffic.breakdown(room.rollups, wanted, "integration")}
    course = courses(room.rollups, visit.span.window, _POINTS)
    alerts: dict[str, list[Alert]] = {}
    for alert in open_alerts(room.shelves.alerts):
        alerts.setdefault(alert.integration, []).append(alert)
    lines = [
        _line(room, visit, one, parts.get(one.name, Totals()), course.get(one.name, []),
              alerts.get(one.name, []))
        for one in room.members(visit)
    ]  # fmt: skip
    shown = {
        "lines": lines,
        "pending": any(one.pending for one in lines),
        "calls": sum(one.totals.calls for one in lines),
        "cost": _sum(one.totals.cost for one in lines),
        "moved": _sum(one.worth.value.net if one.worth else None for one in lines),
        "open": sum(len(one.alerts) for one in lines),
        "waiting": room.rollups.waiting(),
    }
    return Page("portfolio.html", "Portfolio", shown)


def _line(
    room: Room, visit: Visit, member: Member, totals: Totals, course: list[float | None],
    alerts: list[Alert],
) -> Line:  # fmt: skip
    name, span = member.name, visit.span
    key = (name, span.since_us // 60_000_000, span.until_us // 60_000_000)
    if span.name:  # the same question a minute later is answered by what is known
        key = (name, span.name)
    drift = room.drift.get(key, lambda: drift_report(room, name, span))
    quality = room.quality.get(key, lambda: quality_of(room, name, span, visit.now_us))
    worth = room.worth.get(key, lambda: worth_of(room, member, span))
    counts = None if quality is None else quality.counts
    per_outcome = None
    if counts is not None and counts.labelled and totals.cost_per_call is not None:
        per_outcome = totals.cost_per_call * counts.mature / counts.labelled
    return Line(
        member, totals, course, alerts, drift, figure_of(quality), worth, per_outcome,
        pending=drift is None or quality is None or worth is None,
    )  # fmt: skip


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
