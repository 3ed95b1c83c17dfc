"""What was read ahead of the event loop keeps its order, whatever is paused meanwhile."""

from __future__ import annotations

from splice.adapters.buses.kafka_buffer import Buffer
from splice.core.events import Event, Origin

A, B = ("kafka:t", 0), ("kafka:t", 1)


def event(partition: tuple[str, int], offset: int) -> Event:
    return Event(Origin(*partition, offset), None, b"")


def offsets(events: list[Event]) -> list[tuple[int, int]]:
    return [(one.origin.partition, one.origin.offset) for one in events]


def test_what_was_held_back_comes_before_what_came_after_it() -> None:
    buffer = Buffer()
    buffer.put([event(A, 1), event(B, 1), event(A, 2), event(B, 2)])
    buffer.pause([A])

    first = buffer.take(1)
    buffer.put([event(A, 3)])
    buffer.resume([A])

    assert offsets(first) == [(1, 1)]
    assert offsets(buffer.take(10)) == [(0, 1), (0, 2), (1, 2)]
    assert offsets(buffer.take(10)) == [(0, 3)]


def test_a_paused_partition_does_not_hide_the_next_batch_of_others() -> None:
    buffer = Buffer()
    buffer.pause([A])
    buffer.put([event(A, 1)])
    assert buffer.take(10) == []
    buffer.put([event(B, 1)])

    assert offsets(buffer.take(10)) == [(1, 1)]


def test_nothing_of_a_partition_that_went_is_left() -> None:
    buffer = Buffer()
    buffer.put([event(A, 1), event(B, 1), event(A, 2), event(B, 2)])
    buffer.pause([A])
    buffer.take(1)
    buffer.put([event(A, 3), event(B, 3)])

    buffer.drop([A])
    came = [*buffer.take(10), *buffer.take(10)]

    assert offsets(came) == [(1, 2), (1, 3)]
    assert buffer.paused == set()


def test_there_is_room_when_the_batch_before_is_being_taken() -> None:
    buffer = Buffer()
    buffer.put([event(A, 1), event(A, 2)])
    full = buffer.has_room
    buffer.take(1)

    assert not full
    assert buffer.has_room
