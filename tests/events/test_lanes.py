"""Events of one key run in their order; keys run side by side; doubles wait for the first."""

from __future__ import annotations

from splice.core.events import Event, Inbox, Origin, Settled
from splice.serve.events.flight import Flight
from splice.serve.events.lanes import Taken

ORDERS = ("kafka:orders", 0)
OTHERS = ("kafka:orders", 1)


def taken(offset: int, key: bytes | None, partition: tuple[str, int] = ORDERS) -> Taken:
    event = Event(Origin(*partition, offset), key, b"{}")
    return Taken(event, partition, id=f"{partition[1]}-{offset}".encode())


async def test_the_second_of_a_key_runs_after_the_first_and_before_the_third() -> None:
    flight = Flight()
    first, second, third = (taken(n, b"k") for n in range(3))
    for one in (first, second, third):
        assert flight.take([one]) == [one]

    may = [flight.enter(one) for one in (first, second, third)]

    assert may == [True, False, False]
    assert flight.ran([first]) == [second]
    assert flight.ran([second]) == [third]
    assert flight.ran([third]) == []
    assert flight.enter(taken(3, b"k"))


async def test_other_keys_and_events_without_a_key_wait_for_nobody() -> None:
    flight = Flight()

    assert flight.enter(taken(0, b"a"))
    assert flight.enter(taken(1, b"b"))
    assert flight.enter(taken(2, None))
    assert flight.enter(taken(3, None))


async def test_a_double_waits_for_the_first_and_is_then_looked_up_again() -> None:
    flight = Flight()
    first, double = taken(0, b"k"), taken(1, b"other")
    double.id = first.id
    for one in (first, double):
        flight.take([one])

    assert flight.enter(first)
    assert not flight.enter(double)
    first.settled = Settled(first.event, inbox=Inbox(first.id, b"", ""))
    assert flight.settled([first]) == [double]
    assert flight.taken == 1


async def test_what_waits_is_not_run_once_its_partition_is_gone_and_others_are() -> None:
    flight = Flight()
    first, here, there = taken(0, b"k"), taken(1, b"k"), taken(0, b"k", OTHERS)
    for one in (first, here, there):
        flight.take([one])
        flight.enter(one)

    flight.gone([ORDERS])

    assert here.dropped
    assert not there.dropped
    assert flight.ran([first]) == [there]
    assert flight.of([ORDERS]) == 1
    assert not flight.runs(first)
    assert not flight.take([taken(2, b"k")])


async def test_a_double_of_what_was_dropped_is_dropped_too() -> None:
    flight = Flight()
    head, waits, double = taken(0, b"k"), taken(1, b"k"), taken(2, b"x")
    double.id = waits.id
    for one in (head, waits, double):
        flight.take([one])
        flight.enter(one)

    flight.drop(None)

    assert waits.dropped
    assert double.dropped
    assert flight.taken == 1


async def test_a_double_of_another_partition_outlives_what_was_dropped() -> None:
    flight = Flight()
    head, waits, double = taken(0, b"k"), taken(1, b"k"), taken(2, b"x", OTHERS)
    double.id = waits.id
    for one in (head, waits, double):
        flight.take([one])
        flight.enter(one)

    again = flight.gone([ORDERS])

    assert again == [double]
    assert not double.dropped
    assert flight.of([OTHERS]) == 1


async def test_an_id_that_was_settled_since_it_was_looked_up_is_looked_up_again() -> None:
    flight = Flight()
    first, second, other = taken(0, None), taken(1, None), taken(2, None)
    second.id = first.id
    for one in (first, second, other):
        flight.take([one])

    assert flight.enter(first)
    assert not flight.is_stale(second)
    first.settled = Settled(first.event, inbox=Inbox(first.id, b"", ""))
    flight.settled([first])

    assert flight.is_stale(second)
    assert not flight.is_stale(other)


async def test_what_is_behind_an_event_that_went_back_to_its_queue_goes_back_too() -> None:
    flight = Flight()
    first, behind, other, later = (taken(n, key) for n, key in enumerate([b"k", b"k", b"o", b"k"]))
    for one in (first, behind, other):
        flight.take([one])
    flight.enter(first)

    flight.give_back(first.event.key)
    flight.take([later])

    assert flight.goes_back(behind)
    assert not flight.goes_back(other)
    assert not flight.goes_back(later)
