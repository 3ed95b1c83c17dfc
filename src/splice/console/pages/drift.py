"""Drift: which columns are no longer what they were, with what they were like then and now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from splice.console.desk import Visit
from splice.console.distributions import Bars, Side, bars_of, side_of
from splice.console.figures import before, drift_report, steps
from splice.console.room import Figures, Page, Room
from splice.console.span import Span
from splice.core.errors import InputMismatch
from splice.core.profiles import Against, ColumnDrift, DriftQuestion, DriftReport, Profile
from splice.core.rollups import Window
from splice.monitor.references import drift_of, profiles_of

_STEPS = 14
_DRAWN = 40


class Row(msgspec.Struct, frozen=True):
    """A column: how far it is, and what it was like."""

    drift: ColumnDrift
    bars: Bars | None
    now: Side | None
    then: Side | None


def drift(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The page."""
    member = room.member(visit, named["name"])
    segment = visit.query.get("segment", "")[:200]
    against, chosen = _against(visit)
    question = DriftQuestion(member.name, visit.span.window, against, segment=segment)
    report = drift_of(room.rollups, question)
    now = profiles_of(room.rollups, question, visit.span.window)
    then = _then(room, question)
    rows = [
        Row(
            one,
            bars_of(now.get(one.column), then.get(one.column)) if place < _DRAWN else None,
            side_of(now.get(one.column)),
            side_of(then.get(one.column)),
        )
        for place, one in enumerate(report.columns)
    ]
    releases = [one.number for one in room.shelves.releases.releases(member.name)[:30]]
    shown = {
        "member": member, "here": "drift", "report": report, "rows": rows, "chosen": chosen,
        "segment": segment, "releases": releases,
    }  # fmt: skip
    return Page("drift.html", f"Drift of {member.name}", shown)


def figures(room: Room, visit: Visit, named: Mapping[str, str]) -> Figures:
    """The course of the drift: the worst column of each step against the time before them all."""
    member = room.member(visit, named["name"])
    span = visit.span
    against = Against("window", before(span.window))
    found: list[dict[str, Any]] = []  # numbers
    for window in steps(span.window, _STEPS).windows:
        report = _step(room, member.name, window, against)
        if report is None or report.why:
            continue
        psi = [m.value for c in report.columns if (m := c.measured("psi")) is not None]
        found.append(
            {
                "t": window.since_us // 1000, "end": window.until_us // 1000,
                "worst": max(psi, default=None), "alarms": len(report.alarms),
            }
        )  # fmt: skip
    return Figures({"points": found})


def _step(room: Room, name: str, window: Window, against: Against) -> DriftReport | None:
    span = Span(window.since_us, window.until_us)
    key = ("course", name, window, against)
    return room.drift.get(key, lambda: drift_report(room, name, span, against), now=True)


def _against(visit: Visit) -> tuple[Against, str]:
    """What the address says to compare with: the time before, a week earlier, or a release."""
    chosen = visit.query.get("against", "") or "before"
    if chosen == "before":
        return Against("window", before(visit.span.window)), chosen
    if chosen == "week":
        week_us = 7 * 86_400_000_000
        window = visit.span.window
        return Against(
            "window", Window(window.since_us - week_us, window.until_us - week_us)
        ), chosen
    if chosen.isascii() and chosen.isdigit() and len(chosen) < 10:
        return Against("release", release=int(chosen)), chosen
    raise InputMismatch(
        "against", got=chosen[:40], promised="before, week, or the number of a release"
    )


def _then(room: Room, question: DriftQuestion) -> dict[str, Profile]:
    against = question.against
    if against.kind == "window":
        return profiles_of(room.rollups, question, against.window)
    of_release = msgspec.structs.replace(question, release=against.release)
    return profiles_of(room.rollups, of_release, Window(0, question.window.since_us))
