"""Figures that several pages show, of rollups, profiles, labels and studies; never of calls."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from splice.console.room import Member, Room
from splice.console.span import Span
from splice.core.profiles import Against, DriftQuestion, DriftReport
from splice.core.quality import By, Measured, Quality, QualityWanted
from splice.core.rollout import SHADOW
from splice.core.rollups import DAY_S, HOUR_S, MINUTE_S, Point, Wanted, Window
from splice.core.studies import Value, Worth
from splice.monitor.accuracy import quality
from splice.monitor.references import drift_of
from splice.monitor.value import worth
from splice.ports.rollups import Piece, RollupStore

_FIRST = ("auc", "accuracy", "f1", "mae", "ndcg", "rating")
"""Of a task's figures, the one that stands where there is room for one."""

_MOST_SPANS = 800
"""Spans that one course is added up from; a longer window takes longer ones."""

_HOUR_US = 3600 * 1_000_000


def courses(store: RollupStore, window: Window, points: int) -> dict[str, list[float | None]]:
    """How many calls each integration had, in at most so many steps of a window; one look for all.

    Shadows are left out. The first step may reach beyond the window; a last one that is not over
    is left out, for it would look like a fall.
    """
    seconds = (window.until_us - window.since_us) // 1_000_000
    least = next(one for one in (MINUTE_S, HOUR_S, DAY_S) if seconds <= _MOST_SPANS * one)
    if window.since_us // 1_000_000 < store.kept_since().get("minutes", 0):
        least = max(least, HOUR_S)
    step = max(-(-seconds // points // least), 1) * least
    first = window.since_us // 1_000_000 // step * step
    last = -(-window.until_us // 1_000_000 // step) * step
    size = max((window.until_us // 1_000_000 - first) // step, 2)
    found: dict[str, list[float | None]] = {}
    for one in store.counted(Wanted(window), [Piece(least, first, last)], step):
        if one.kind.variant != SHADOW:
            course = found.setdefault(one.kind.integration, [0.0] * size)
            place = (one.start_s - first) // step
            if 0 <= place < size:
                course[place] = (course[place] or 0.0) + one.calls
    return found


def before(window: Window) -> Window:
    """The window of the same length just before; of whole hours, as profiles are kept."""
    length = max(window.until_us - window.since_us, _HOUR_US)
    return Window(window.since_us - length, window.since_us)


def drift_report(
    room: Room, name: str, span: Span, against: Against | None = None,
    columns: Sequence[str] = (), segment: str = "",
) -> DriftReport:  # fmt: skip
    """How an integration's columns have drifted; against the time before, where not said."""
    against = against or Against("window", before(span.window))
    question = DriftQuestion(name, span.window, against, segment=segment, columns=tuple(columns))
    return drift_of(room.rollups, question)


def quality_of(room: Room, name: str, span: Span, now_us: int, by: By = "") -> Quality:
    """How right an integration was."""
    wanted = QualityWanted(name, span.window, now_us, by=by)
    return quality(room.shelves.labels, room.shelves.releases, wanted)


def figure_of(found: Quality | None) -> Measured | None:
    """The figure of a quality that stands for it; None where none is known."""
    if found is None:
        return None
    known = {one.name: one for one in found.figures if one.value is not None}
    first = next((known[name] for name in _FIRST if name in known), None)
    return first or next(iter(known.values()), None)


def worth_of(room: Room, member: Member, span: Span) -> Worth:
    """What an integration is worth, and where its objective stands."""
    if member.release is None:
        value = Value(
            member.name, span.window, room.options.currency, "none", False, "no release is live"
        )
        return Worth(value)
    return worth(room.shelves, member.release, span.window, room.options.currency)


def cost_per_outcome(found: Quality | None, per_call: float | None) -> float | None:
    """What the calls cost whose outcome is due, for each outcome that came; None where unknown."""
    if found is None or per_call is None or not found.counts.labelled:
        return None
    return per_call * found.counts.mature / found.counts.labelled


def chart_points(points: Sequence[Point]) -> list[dict[str, float | int | None]]:
    """A course of figures as a chart reads it; times in Unix milliseconds."""
    return [_point(one) for one in points]


def _point(one: Point) -> dict[str, float | int | None]:
    t = one.totals
    first = t.answered - t.fallbacks - t.cached
    return {
        "t": one.window.since_us // 1000,
        "end": one.window.until_us // 1000,
        "all": t.calls,
        "answered": max(first, 0),
        "cached": t.cached,
        "fallback": t.fallbacks,
        "refused": t.refused,
        "failed": t.failed,
        "errors": t.error_share,
        "fallbacks": t.fallback_share,
        "p50": t.latency_p50,
        "p95": t.latency_p95,
        "p99": t.latency_p99,
        "cost": t.cost,
        "cost_per_call": t.cost_per_call,
        "unpriced": t.calls - t.costed,
    }


class Steps(msgspec.Struct, frozen=True):
    """A window in steps of equal length, the last one cut where it ends."""

    windows: tuple[Window, ...]


def steps(window: Window, most: int) -> Steps:
    """At most so many steps of whole hours."""
    length = window.until_us - window.since_us
    step = max(_HOUR_US, -(-length // most // _HOUR_US) * _HOUR_US)
    begin = window.since_us // step * step
    ends = range(begin, window.until_us, step)
    return Steps(tuple(Window(at, min(at + step, window.until_us)) for at in ends))
