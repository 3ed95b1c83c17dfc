"""The position of a partition is the highest contiguous finished offset, and never further."""

from __future__ import annotations

import random

from splice.serve.events.progress import Progress

STREAM = ("kafka:orders", 0)


def begun(*offsets: int) -> Progress:
    progress = Progress()
    for offset in offsets:
        assert progress.begin(STREAM, [offset]) == [True]
    return progress


def test_a_position_does_not_pass_an_offset_that_is_not_finished() -> None:
    progress = begun(3, 4, 5)

    progress.done(STREAM, [4])
    progress.done(STREAM, [5])
    before = progress.moved()
    progress.done(STREAM, [3])

    assert before == {}
    assert progress.moved() == {STREAM: 6}


def test_offsets_that_a_topic_leaves_out_do_not_hold_it_up() -> None:
    progress = begun(3, 7, 20)

    for offset in (20, 3, 7):
        progress.done(STREAM, [offset])

    assert progress.moved() == {STREAM: 21}


def test_what_was_told_is_not_told_again() -> None:
    progress = begun(0, 1)
    progress.done(STREAM, [0])

    progress.told(progress.moved())
    again = progress.moved()
    progress.done(STREAM, [1])

    assert again == {}
    assert progress.moved() == {STREAM: 2}


def test_an_offset_that_comes_twice_is_taken_up_once() -> None:
    progress = begun(8)

    assert progress.begin(STREAM, [8, 7, 9]) == [False, False, True]


def test_what_ends_after_its_partition_was_taken_away_moves_nothing() -> None:
    progress = begun(0, 1)
    progress.done(STREAM, [0])

    positions = progress.forget([STREAM])
    progress.done(STREAM, [1])

    assert positions == {STREAM: 1}
    assert progress.moved() == {}


def test_in_any_order_of_ends_a_position_is_below_everything_unfinished() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        offsets = sorted(chance.sample(range(60), 20))
        progress = begun(*offsets)
        left = set(offsets)
        for offset in chance.sample(offsets, 20):
            progress.done(STREAM, [offset])
            left.discard(offset)
            position = progress.moved().get(STREAM, 0)
            assert not [one for one in left if one < position]
            finished = [one for one in offsets if one not in left]
            first = min(left, default=offsets[-1] + 1)
            assert position >= max((one + 1 for one in finished if one < first), default=0)
        assert progress.moved() == {STREAM: offsets[-1] + 1}
