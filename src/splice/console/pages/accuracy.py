"""Accuracy: how right an integration was by outcomes, and by estimate before they come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from splice.console.desk import Visit
from splice.console.figures import figure_of, quality_of
from splice.console.pages.integration import marks
from splice.console.room import Figures, Page, Room
from splice.core.quality import MEASURES, QualityWanted
from splice.monitor.accuracy import over_time


def accuracy(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The page."""
    member = room.member(visit, named["name"])
    found = quality_of(room, member.name, visit.span, visit.now_us)
    splits = (
        [
            (by, quality_of(room, member.name, visit.span, visit.now_us, by))
            for by in ("release", "variant", "segment")
        ]
        if found.outcome
        else []
    )
    shown = {
        "member": member, "here": "accuracy", "quality": found, "accuracy": figure_of(found),
        "splits": splits, "measures": MEASURES,
        "figures": visit.link(f"/integrations/{member.name}/accuracy.json"),
    }  # fmt: skip
    return Page("accuracy.html", f"Accuracy of {member.name}", shown)


def figures(room: Room, visit: Visit, named: Mapping[str, str]) -> Figures:
    """The course of the figure that stands for an integration's quality, a point a day."""
    member = room.member(visit, named["name"])
    span = visit.span
    wanted = QualityWanted(member.name, span.window, visit.now_us)
    days = over_time(room.shelves.labels, room.shelves.releases, wanted)
    whole = figure_of(quality_of(room, member.name, span, visit.now_us))
    points: list[dict[str, float | int | None]] = []
    for day in days:
        one = day.figure(whole.name) if whole is not None else None
        if one is not None and one.value is not None:
            points.append(
                {"t": _noon_ms(day.of), "value": one.value, "low": one.low, "high": one.high,
                 "count": one.count}
            )  # fmt: skip
    return Figures(
        {
            "span": [span.since_us // 1000, span.until_us // 1000],
            "points": points,
            "marks": marks(room, member.name, span),
        }
    )


def _noon_ms(day: str) -> int:
    """The middle of a day, in Unix milliseconds."""
    return round(datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp() * 1000)
