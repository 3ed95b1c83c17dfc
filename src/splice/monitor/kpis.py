"""Kpis: the objective's figure, counted as calls become mature, and read for any window."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from splice.core.kpis import Cell, Counting, Kpi, Mean, mean_of
from splice.core.release import Release
from splice.core.rollups import DAY_S, Window
from splice.monitor.spans import objective_outcome, sought
from splice.ports.studies import StudyStore

LIMIT = 10_000
"""Outcomes that are looked at before how far that was is stored."""

_AT_ONCE = 10_000
"""Mature calls, about, that are counted before their cells are stored."""

_MOST = 500  # cells, of which many may be empty

_REST = 24
"""A cell that is not over is counted anew so many times in its length: others need not wait."""

_LATE_US = 60_000_000


def kpi_of(live: Release, since_us: int) -> Kpi | None:
    """The figure of a release's objective; None where it names no outcome.

    `since_us` is when the integration's first release was made.
    """
    name = objective_outcome(live.manifest)
    if not name:
        return None
    truth = next((one for one in live.manifest.truths if one.outcome == name), None)
    lag_us = round(live.manifest.deadline_s * 1e6) + _LATE_US
    span_s = DAY_S if truth is None else truth.bucket_s
    return Kpi(live.integration, sought(name, truth), span_s, since_us, lag_us)


def step(
    store: StudyStore, kpi: Kpi, now_us: int, moved_us: int = 0, *, at_once: bool = False
) -> bool:
    """Count cells that have something new; whether there is more to do at once.

    Cells that are not over are left alone for a while after they were counted, unless `at_once`.
    Those with calls that were moved out of the ledger (until `moved_us`) stay as they are.
    """
    counting = store.counting(kpi)
    seen = store.soiled(kpi, counting, now_us, LIMIT)
    more = seen.looked_us == counting.looked_us and seen.outcome != counting.outcome
    rest_us = 1 if at_once else kpi.span_s * 1_000_000 // _REST
    if now_us - counting.at_us < rest_us:
        if seen.outcome != counting.outcome:  # what it is about waits with the others
            more = store.keep_cells(kpi, (), _with(seen, counting.at_us)) is not None and more
        return more
    cells: list[Cell] = []
    left = [one for one in seen.dirty if one * 1_000_000 > moved_us]
    while left and sum(sum(one.calls) for one in cells) < _AT_ONCE and len(cells) < _MOST:
        cells.append(store.cell(kpi, left.pop(0), now_us))
    after = msgspec.structs.replace(seen, dirty=tuple(left))
    kept = store.keep_cells(kpi, cells, _with(after, counting.at_us if left else now_us))
    return kept is not None and (bool(left) or more)


def _with(counting: Counting, at_us: int) -> Counting:
    return msgspec.structs.replace(counting, at_us=at_us)


def asked_in(kpi: Kpi, window: Window) -> Window:
    """When the calls were asked whose outcome became due within a window, in whole cells."""
    matures = kpi.sought.matures_us or 0
    length = kpi.span_s * 1_000_000
    since = (window.since_us - matures) // length * length
    return Window(max(0, since), max(0, window.until_us - matures))


def mean_in(store: StudyStore, kpi: Kpi, window: Window) -> Mean | None:
    """The mean of the calls whose outcome became due within a window; None without any."""
    asked = asked_in(kpi, window)
    return mean_of(store.cells(kpi, *_seconds(asked)))


def series(
    store: StudyStore, kpi: Kpi, window: Window, points: int = 60
) -> list[tuple[Window, Mean | None]]:
    """The figure over time, by when the calls were asked, oldest first; None without calls."""
    length = kpi.span_s * 1_000_000
    first, last = window.since_us // length, -(-window.until_us // length)
    width = max(1, -(-(last - first) // points)) * length
    cells = store.cells(kpi, first * kpi.span_s, last * kpi.span_s)
    found: list[tuple[Window, Mean | None]] = []
    for start in range(first * length, last * length, width):
        part = Window(start, start + width)
        inside = [one for one in cells if start <= one.start_s * 1_000_000 < start + width]
        found.append((part, mean_of(inside)))
    return found


def since_of(releases: Sequence[Release]) -> int:
    """When the first release was made, Unix microseconds; 0 without any."""
    return min((one.created_us for one in releases), default=0)


def _seconds(window: Window) -> tuple[int, int]:
    return window.since_us // 1_000_000, -(-window.until_us // 1_000_000)
