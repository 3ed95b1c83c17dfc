"""Spans that make up a window: whole, without overlap, as few as there can be."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from splice.core.rollups import DAY_S, HOUR_S, MINUTE_S, Window
from splice.monitor.covering import cover, steps
from splice.ports.rollups import Piece

NOW_S = 1_793_880_000
KEPT = {"minutes": NOW_S - 48 * HOUR_S}
_S = 1_000_000


def edges(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    return [(piece.since_s, piece.until_s) for piece in pieces]


def test_pieces_follow_each_other_and_start_at_multiples_of_their_span() -> None:
    rng = random.Random(1)
    for _ in range(500):
        since = NOW_S - rng.randrange(90 * DAY_S)
        until = since + rng.randrange(1, rng.choice((120, HOUR_S, DAY_S, 60 * DAY_S)))
        window = Window(since * _S + rng.randrange(_S), until * _S + rng.randrange(_S))

        found = cover(window, KEPT)

        joined = edges(found.pieces)
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(joined))
        for piece in found.pieces:
            assert piece.since_s % piece.span_s == piece.until_s % piece.span_s == 0
            assert piece.span_s > MINUTE_S or piece.since_s >= KEPT["minutes"]
        assert found.window == Window(joined[0][0] * _S, joined[-1][1] * _S)
        assert found.window.since_us <= window.since_us
        assert found.window.until_us >= window.until_us
        assert window.since_us - found.window.since_us < found.granularity_s * _S
        assert found.window.until_us - window.until_us < found.granularity_s * _S
        assert len(found.pieces) <= 5


def test_the_longest_spans_are_in_the_middle() -> None:
    since = (NOW_S - 40 * DAY_S) // DAY_S * DAY_S - HOUR_S
    found = cover(Window(since * _S, (NOW_S - 60) * _S), KEPT)

    assert [piece.span_s for piece in found.pieces] == [HOUR_S, DAY_S, HOUR_S, MINUTE_S]
    assert found.granularity_s == HOUR_S


def test_an_empty_window_has_no_pieces() -> None:
    for window in (Window(5, 5), Window(9, 3)):
        assert cover(window, {}).pieces == ()
        assert len(steps(window, 10, {})[0]) == 0


def test_a_window_without_ends_is_covered_too() -> None:
    found = cover(Window(-(1 << 62), 1 << 62), KEPT)

    assert len(found.pieces) <= 5
    assert len(steps(Window(0, 1 << 62), 100, KEPT)[0]) <= 100


def test_steps_reach_over_the_window_in_lengths_that_spans_divide() -> None:
    rng = random.Random(2)
    for _ in range(300):
        since = NOW_S - rng.randrange(90 * DAY_S)
        until = since + rng.randrange(1, rng.choice((120, HOUR_S, DAY_S, 900 * DAY_S)))
        points = rng.choice((2, 7, 60, 300))

        starts, span = steps(Window(since * _S, until * _S), points, KEPT)

        assert 0 < len(starts) <= points
        assert starts[0] <= since
        assert starts[-1] + starts.step >= until
        assert starts.step % span == starts[0] % starts.step == 0
        assert span > MINUTE_S or starts[0] >= KEPT["minutes"]
