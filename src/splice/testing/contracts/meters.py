"""What every Meter must hold to.

Inherit `MeterContract` and give it a fixture `meter`: a meter whose counters nobody used. Names are
made anew for each test, so that a server may be shared.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from splice.core.access import NEVER_US
from splice.ports.meters import BegunAnew, Meter, Slot, Take

BIG = 10**17
"""Above 2**53: a meter that counts in floating point gets it wrong."""


def slot(limit: int, *, until_us: int = NEVER_US, name: str = "") -> Slot:
    """A counter of its own."""
    return Slot(name or f"test:{secrets.token_hex(8)}", limit, until_us)


def in_an_hour() -> int:
    """Unix microseconds."""
    return time.time_ns() // 1000 + 3_600_000_000


class MeterContract:
    """Counters that grow only as far as their bounds, exactly."""

    async def test_a_counter_begins_at_nothing(self, meter: Meter) -> None:
        assert await meter.used([slot(1), slot(2)]) == [0, 0]
        assert await meter.used([]) == []

    async def test_what_is_reserved_counts_at_once(self, meter: Meter) -> None:
        one, two = slot(10), slot(10)

        assert await meter.reserve([Take(one, 3), Take(two, 4)]) is None
        assert await meter.reserve([Take(one, 2)]) is None

        assert await meter.used([two, one]) == [4, 5]

    async def test_a_bound_is_reached_but_not_passed(self, meter: Meter) -> None:
        one = slot(10)
        await meter.reserve([Take(one, 9)])
        too_much = Take(one, 2)

        assert await meter.reserve([too_much]) is too_much
        assert await meter.reserve([Take(one, 1)]) is None
        assert await meter.used([one]) == [10]

    async def test_all_have_room_or_none_is_taken(self, meter: Meter) -> None:
        free, full, also_full = slot(10), slot(1), slot(0)
        takes = [Take(free, 1), Take(full, 2), Take(also_full, 1)]

        assert await meter.reserve(takes) is takes[1]
        assert await meter.used([free, full, also_full]) == [0, 0, 0]

    async def test_one_counter_named_twice_is_counted_twice(self, meter: Meter) -> None:
        one = slot(10)
        second = Take(one, 6)

        refused = await meter.reserve([Take(one, 5), second])
        taken = await meter.reserve([Take(one, 5), Take(one, 5)])

        assert refused is second
        assert taken is None
        assert await meter.used([one]) == [10]

    async def test_nothing_always_has_room(self, meter: Meter) -> None:
        one = slot(5)
        await meter.settle([Take(one, 7)])

        assert await meter.reserve([Take(one, 0), Take(slot(0), 0)]) is None
        assert await meter.used([one]) == [7]

    async def test_a_negative_amount_cannot_be_reserved(self, meter: Meter) -> None:
        one = slot(5)

        with pytest.raises(ValueError, match="-1"):
            await meter.reserve([Take(one, 1), Take(one, -1)])
        assert await meter.used([one]) == [0]

    async def test_a_lower_bound_holds_from_the_next_call_on(self, meter: Meter) -> None:
        wide = slot(10)
        await meter.reserve([Take(wide, 5)])
        narrow = Slot(wide.name, 4, wide.until_us)

        assert await meter.reserve([Take(narrow, 1)]) is not None
        assert await meter.reserve([Take(wide, 1)]) is None

    async def test_settling_goes_up_and_down_whatever_the_bound(self, meter: Meter) -> None:
        one, two = slot(10), slot(10)
        await meter.reserve([Take(one, 8), Take(two, 8)])

        await meter.settle([Take(one, 5), Take(two, -6)])

        assert await meter.used([one, two]) == [13, 2]

    async def test_no_counter_goes_below_nothing(self, meter: Meter) -> None:
        one, new = slot(10), slot(10)
        await meter.reserve([Take(one, 3)])

        await meter.settle([Take(one, -4), Take(new, -1)])

        assert await meter.used([one, new]) == [0, 0]
        assert await meter.reserve([Take(one, 10)]) is None

    async def test_large_amounts_are_exact(self, meter: Meter) -> None:
        one = slot(BIG + 1)

        assert await meter.reserve([Take(one, BIG)]) is None
        assert await meter.reserve([Take(one, 1)]) is None
        assert await meter.reserve([Take(one, 1)]) is not None
        assert await meter.used([one]) == [BIG + 1]
        await meter.settle([Take(one, -1)])
        assert await meter.used([one]) == [BIG]
        await meter.settle([Take(one, -BIG + 1)])
        assert await meter.used([one]) == [1]
        await meter.raise_to(one, BIG + 3)
        assert await meter.used([one]) == [BIG + 3]

    async def test_a_counter_is_raised_but_never_lowered(self, meter: Meter) -> None:
        one = slot(10)

        await meter.raise_to(one, 7)
        assert await meter.used([one]) == [7]
        await meter.raise_to(one, 5)
        assert await meter.used([one]) == [7]
        await meter.raise_to(one, 12)
        assert await meter.reserve([Take(one, 1)]) is not None

    async def test_what_is_past_is_forgotten(self, meter: Meter) -> None:
        past = slot(10, until_us=meter.now_us() - 1_000_000)

        await meter.reserve([Take(past, 9)])
        await meter.settle([Take(past, 9)])
        await meter.raise_to(past, 9)

        assert await meter.used([past]) == [0]

    async def test_what_lasts_is_kept(self, meter: Meter) -> None:
        lasting = slot(10, until_us=in_an_hour())
        await meter.reserve([Take(lasting, 9)])
        await meter.settle([Take(lasting, -1)])

        assert await meter.used([lasting]) == [8]

    @pytest.mark.parametrize("room", [0, 1, 37, 200])
    async def test_of_two_hundred_at_once_exactly_those_that_fit_get_through(
        self, meter: Meter, room: int
    ) -> None:
        last_cent, wide = slot(room * 7 + 6), slot(BIG)
        takes = [Take(last_cent, 7), Take(wide, 1)]

        refused = await asyncio.gather(*(meter.reserve(takes) for _ in range(200)))

        assert [one for one in refused if one is not None] == [takes[0]] * (200 - room)
        assert await meter.used([last_cent, wide]) == [room * 7, room]

    async def test_reserving_and_settling_at_once_loses_nothing(self, meter: Meter) -> None:
        one = slot(BIG)

        async def call(number: int) -> None:
            assert await meter.reserve([Take(one, 100)]) is None
            await meter.settle([Take(one, number - 100)])

        await asyncio.gather(*(call(number) for number in range(200)))

        assert await meter.used([one]) == [sum(range(200))]

    async def test_a_caller_who_is_cancelled_has_reserved_nothing(self, meter: Meter) -> None:
        one, kept = slot(1000), 0

        for steps in range(6):
            calls = [asyncio.ensure_future(meter.reserve([Take(one, 1)])) for _ in range(10)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in calls:
                task.cancel()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            kept += sum(answer is None for answer in ended)

        async with asyncio.timeout(10):
            while await meter.used([one]) != [kept]:  # given back in the background
                await asyncio.sleep(0.01)

    async def test_time_goes_forward(self, meter: Meter) -> None:
        before = time.time_ns() // 1000
        told = [meter.now_us() for _ in range(100)]
        await meter.used([])
        told.append(meter.now_us())

        assert told == sorted(told)
        assert told[-1] >= before

    async def test_nothing_is_lost_while_the_epoch_stays(self, meter: Meter) -> None:
        one = slot(10)
        await meter.reserve([Take(one, 3)])
        epoch = meter.epoch()

        await meter.settle([Take(one, 1)])

        assert epoch
        assert meter.epoch() == epoch
        assert await meter.used([one]) == [4]

    async def test_who_knows_another_epoch_reserves_nothing(self, meter: Meter) -> None:
        one = slot(10)
        assert await meter.reserve([Take(one, 3)], "") is None
        assert await meter.reserve([Take(one, 2)], meter.epoch()) is None

        with pytest.raises(BegunAnew):
            await meter.reserve([Take(one, 1), Take(slot(0), 1)], meter.epoch() + "0")

        assert await meter.used([one]) == [5]

    async def test_it_can_be_used_where_there_is_no_task(self, meter: Meter) -> None:
        one = slot(10)
        told: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

        async def call() -> None:
            await meter.reserve([Take(one, 3)])
            await meter.settle([Take(one, -1)])
            told.set_result(await meter.used([one]))

        without_a_task(call())

        assert await asyncio.wait_for(told, 10) == [2]


def without_a_task(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine by the callbacks of what it waits for, as the quick HTTP lane does."""
    loop = asyncio.get_running_loop()

    def step(_: object = None) -> None:
        try:
            waited = coroutine.send(None)
        except StopIteration:
            return
        if waited is None:
            loop.call_soon(step)
            return
        waited._asyncio_future_blocking = False
        waited.add_done_callback(step)

    loop.call_soon(step)
