"""One integration: its objective, its figures on one axis of time, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splice.console.desk import Visit
from splice.console.figures import (
    chart_points,
    cost_per_outcome,
    figure_of,
    quality_of,
    worth_of,
)
from splice.console.room import Figures, Page, Room
from splice.console.span import Span
from splice.core.release import Manifest
from splice.core.rollups import By, Caller, Part, Wanted
from splice.monitor import traffic
from splice.monitor.watch import findings, open_alerts

_POINTS, _ROWS = 120, 30
_PARTS: tuple[tuple[By, str], ...] = (
    ("route", "Route"), ("release", "Release"), ("variant", "Variant"), ("reason", "How"),
    ("surface", "Surface"),
)  # fmt: skip


class Breakdown(msgspec.Struct, frozen=True):
    """The figures of the parts of an integration, by one thing."""

    by: By
    title: str
    parts: Sequence[Part]

    @property
    def timed(self) -> bool:
        """Whether latencies are known by it."""
        return self.by in ("route", "release", "variant")

    def query(self, name: str) -> dict[str, str]:
        """What finds the calls of a part in the explorer."""
        return {self.by: name} if name else {}


def integration(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The page."""
    member = room.member(visit, named["name"])
    wanted = Wanted(visit.span.window, member.name)
    totals = traffic.totals(room.rollups, wanted)
    before = traffic.totals(room.rollups, Wanted(visit.span.before.window, member.name))
    quality = quality_of(room, member.name, visit.span, visit.now_us)
    breakdowns = [
        Breakdown(by, title, traffic.breakdown(room.rollups, wanted, by)) for by, title in _PARTS
    ]
    callers, others = _callers(room, visit, wanted)
    shown = {
        "member": member, "here": "overview", "totals": totals, "before": before,
        "worth": worth_of(room, member, visit.span), "quality": quality,
        "accuracy": figure_of(quality),
        "per_outcome": cost_per_outcome(quality, totals.cost_per_call),
        "breakdowns": [one for one in breakdowns if len(one.parts) > 1 or one.by == "route"],
        "callers": callers, "others": others,
        "tried": traffic.tried(room.rollups, wanted),
        "alerts": open_alerts(room.shelves.alerts, member.name),
        "findings": findings(room.shelves.alerts, member.name),
        "studies": room.shelves.studies.studies(member.name)[:5],
        "changes": room.history.of(member.name, visit.span.since_us, visit.span.until_us)[::-1],
        "objective": _objective(member.manifest),
        "points": traffic.series(room.rollups, wanted, _ROWS),
        "numbers": [one.number for one in room.shelves.releases.releases(member.name)][:_ROWS],
        "figures": visit.link(f"/integrations/{member.name}/figures.json"),
    }  # fmt: skip
    return Page("integration.html", member.name, shown)


def figures(room: Room, visit: Visit, named: Mapping[str, str]) -> Figures:
    """What the charts of an integration are drawn from."""
    member = room.member(visit, named["name"])
    span = visit.span
    points = traffic.series(room.rollups, Wanted(span.window, member.name), _POINTS)
    return Figures(
        {
            "span": [span.since_us // 1000, span.until_us // 1000],
            "points": chart_points(points),
            "marks": marks(room, member.name, span),
        }
    )


def marks(room: Room, name: str, span: Span) -> list[dict[str, Any]]:  # texts and a number
    """What people changed, for the axis of time."""
    return [
        {"t": one.at_us // 1000, "label": one.label, "text": one.text, "by": one.by, "why": one.why}
        for one in room.history.of(name, span.since_us, span.until_us)
    ]


def _callers(room: Room, visit: Visit, wanted: Wanted) -> tuple[list[Caller], int]:
    """The callers that a visitor may know of, and how many others there are."""
    found = traffic.callers(room.rollups, wanted)
    name = wanted.integration or ""
    known = [one for one in found if room.may_read(visit.principal, name, one.caller)]
    return known, len(found) - len(known)


def _objective(manifest: Manifest | None) -> dict[str, Any]:  # of the declaration
    return {} if manifest is None else manifest.objective
