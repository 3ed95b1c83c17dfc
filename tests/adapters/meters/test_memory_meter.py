"""The meter in memory: by its contract, and against a model of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_model import OPERATIONS, follow_a_model

from splice.adapters.meters.clock import ForwardClock
from splice.adapters.meters.memory import MemoryMeter
from splice.ports.meters import Meter, Slot, Take
from splice.testing.contracts.meters import MeterContract

SECOND = 1_000_000


@pytest.fixture
def meter() -> Meter:
    return MemoryMeter()


class TestMemoryMeter(MeterContract):
    pass


class Clocks:
    """A wall clock that a test sets, and a steady one that it cannot set back."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000 * SECOND
        self.steady = 5 * SECOND

    def passes(self, us: int) -> None:
        self.wall += us
        self.steady += us


def test_a_clock_that_is_set_back_goes_on_from_where_it_was() -> None:
    clocks = Clocks()
    clock = ForwardClock(lambda: clocks.wall, lambda: clocks.steady)
    before = clock.now_us()

    clocks.wall -= 3600 * SECOND
    set_back = clock.now_us()
    clocks.passes(7 * SECOND)
    later = clock.now_us()

    assert (set_back - before, later - before) == (0, 7 * SECOND)


def test_a_clock_follows_one_that_is_set_forward() -> None:
    clocks = Clocks()
    clock = ForwardClock(lambda: clocks.wall, lambda: clocks.steady)
    before = clock.now_us()

    clocks.wall += 60 * SECOND
    told = clock.at_least(before + 90 * SECOND)
    clocks.passes(SECOND)

    assert told - before == 90 * SECOND
    assert clock.now_us() - before == 91 * SECOND


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**6)), max_size=30))
def test_no_setting_of_the_clock_makes_time_run_backwards(steps: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    clock = ForwardClock(lambda: clocks.wall, lambda: clocks.steady)
    told = [clock.now_us()]

    for jump, passed in steps:
        clocks.wall += jump
        clocks.passes(passed)
        told.append(clock.now_us())
        assert told[-1] >= told[-2] + passed


async def test_a_counter_is_forgotten_when_its_time_has_come_and_not_before() -> None:
    now = [100]
    meter = MemoryMeter(lambda: now[0])
    one = Slot("one", 10, 200)
    await meter.reserve([Take(one, 9)])

    now[0] = 199
    assert await meter.used([one]) == [9]
    now[0] = 200
    assert await meter.used([one]) == [0]
    assert await meter.reserve([Take(Slot("one", 10, 300), 10)]) is None


async def test_a_million_minutes_leave_nothing_behind() -> None:
    now = [0]
    meter = MemoryMeter(lambda: now[0])

    for minute in range(10_000):
        now[0] = minute * 60
        await meter.reserve([Take(Slot(f"requests:{minute}", 5, now[0] + 120), 1)])
        await meter.settle([Take(Slot(f"tokens:{minute}", 5, now[0] + 120), 1)])

    assert len(meter._used) <= 4
    assert len(meter._ends) <= 4


@given(OPERATIONS)
async def test_it_counts_as_its_model_does(operations: list[tuple[str, object]]) -> None:
    await follow_a_model(MemoryMeter(), "", operations)
