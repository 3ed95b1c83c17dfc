"""Covering: which spans of the rollups make up a window, and steps for a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from splice.core.rollups import DAY_S, HOUR_S, MINUTE_S, Window
from splice.ports.rollups import Piece

_STEPS_S = (
    60, 120, 300, 600, 900, 1800, HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S,
    2 * DAY_S, 4 * DAY_S, 7 * DAY_S, 14 * DAY_S, 28 * DAY_S,
)  # fmt: skip
_MOST_S = 1 << 40  # seconds; beyond any time that a window means


class Cover(msgspec.Struct, frozen=True):
    """The spans that make up a window, and the window that they make up."""

    pieces: tuple[Piece, ...]
    window: Window
    granularity_s: int


def cover(window: Window, kept: Mapping[str, int], least_s: int = MINUTE_S) -> Cover:
    """As few spans as there can be that make up the window, or a little more at its edges.

    Args:
        window: What is wanted.
        kept: Since when spans are whole, as the store says.
        least_s: The shortest spans to be used: a minute, an hour or a day.
    """
    since_s, until_s = _seconds(window)

    def edge(at_s: int) -> int:
        if least_s <= MINUTE_S and at_s >= kept.get("minutes", 0):
            return MINUTE_S
        return HOUR_S if least_s <= HOUR_S and at_s >= kept.get("hours", 0) else DAY_S

    first, last = edge(since_s), edge(until_s - 1)
    low, high = since_s // first * first, -(-until_s // last) * last
    spans = [span for span in (DAY_S, HOUR_S, MINUTE_S) if span >= min(first, last)]
    pieces = tuple(_pieces(low, high, spans)) if window.until_us > window.since_us else ()
    covered = Window(low * 1_000_000, high * 1_000_000)
    return Cover(pieces, covered if pieces else window, max(first, last))


def steps(window: Window, points: int, kept: Mapping[str, int]) -> tuple[range, int]:
    """Starts of at most so many steps that reach over a window, and the spans they are made of.

    The steps are of a length that people read easily, and start at multiples of it.
    """
    since_s, until_s = _seconds(window)
    if window.until_us <= window.since_us:
        return range(0), MINUTE_S
    least = MINUTE_S if since_s >= kept.get("minutes", 0) else HOUR_S
    longest = _STEPS_S[-1]
    many = range(2 * longest, (until_s - since_s) + 2 * longest, longest)
    found = range(0)
    for step in (*(step for step in _STEPS_S if step >= least), *many):
        found = range(since_s // step * step, -(-until_s // step) * step, step)
        if len(found) <= max(2, points):
            break
    return found, next(span for span in (DAY_S, HOUR_S, MINUTE_S) if found.step % span == 0)


def _seconds(window: Window) -> tuple[int, int]:
    since_s, until_s = window.since_us // 1_000_000, -(-window.until_us // 1_000_000)
    return max(-_MOST_S, min(_MOST_S, since_s)), max(-_MOST_S, min(_MOST_S, until_s))


def _pieces(low: int, high: int, spans: Sequence[int]) -> list[Piece]:
    """The longest spans in the middle, shorter ones on both sides."""
    if low >= high or not spans:
        return []
    span, shorter = spans[0], spans[1:]
    first, last = -(-low // span) * span, high // span * span
    if first >= last:
        return _pieces(low, high, shorter)
    return [*_pieces(low, first, shorter), Piece(span, first, last), *_pieces(last, high, shorter)]
