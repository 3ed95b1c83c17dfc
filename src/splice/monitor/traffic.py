"""Traffic: totals, series and breakdowns of recorded calls, from rollups in milliseconds."""

from __future__ import annotations

from splice.core.rollups import By, Caller, Part, Point, Totals, Tried, Wanted
from splice.ports.rollups import RollupStore


def totals(store: RollupStore, wanted: Wanted) -> Totals:
    """What the calls of a window came to.

    The edges are exact to the minute within the last 48 hours, to the hour before; `window` and
    `granularity_s` of the result say what was counted. A window is never counted short: where an
    edge is not exact it reaches a little further out.
    """
    raise NotImplementedError


def series(store: RollupStore, wanted: Wanted, points: int = 120) -> list[Point]:
    """The same in at most so many steps of equal length (a multiple of a span), oldest first.

    Steps without calls are there, with zero calls. The last step may reach beyond the window.
    """
    raise NotImplementedError


def breakdown(store: RollupStore, wanted: Wanted, by: By) -> list[Part]:
    """The same for each release, route, variant …; most calls first.

    By variant, the shadow is one of the parts, with totals of its own; else it is apart. Latencies
    are not known by version, surface, status and reason: None there. Tokens and attempts are not
    known by surface, status and reason: 0 there.
    """
    raise NotImplementedError


def callers(store: RollupStore, wanted: Wanted) -> list[Caller]:
    """What each caller's calls came to, most calls first; exact to the hour."""
    raise NotImplementedError


def tried(store: RollupStore, wanted: Wanted) -> list[Tried]:
    """Attempts by route and version with how they ended, most attempts first."""
    raise NotImplementedError
