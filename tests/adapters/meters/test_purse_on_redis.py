"""Budgets over a real Redis: shared by processes, and while it is killed and comes back."""

from __future__ import annotations

import asyncio
import random
import secrets

import pytest
from redis_server import OwnServer, until_it_works

from splice.adapters.meters.redis import RedisMeter
from splice.core.access import Budget, BudgetScope, Key, Period, Principal
from splice.core.errors import MeterAway, OverBudget
from splice.engine.counters import slot_of
from splice.engine.spend import UNCHECKED, Purse, Reservation
from splice.ports.keys import Spending

pytestmark = pytest.mark.redis

WHO = Principal("key:k", "t", "growth", Key("k", "ci", "digest", team="growth"))
TEAM = Budget(BudgetScope.TEAM, "growth", Period.TOTAL, 100_000)
SALES = Budget(BudgetScope.TEAM, "sales", Period.TOTAL, 100_000)
ALL = Budget(BudgetScope.ALL, "", Period.TOTAL, 10**17)


class Books:
    """What the ledger knows."""

    def __init__(self) -> None:
        self.spent = 0

    async def __call__(self, since_us: int) -> Spending:
        return Spending({}, {"growth": self.spent}, {}, self.spent)


async def test_two_hundred_callers_of_two_processes_spend_no_more_than_there_is(
    redis_server: str,
) -> None:
    prefix = f"test-{secrets.token_hex(6)}"
    meters = [RedisMeter(redis_server, prefix=prefix, timeout_s=10) for _ in range(2)]
    purses = [Purse(meter, [TEAM, ALL]) for meter in meters]
    rng = random.Random(1)
    spent = granted = 0

    async def call(purse: Purse) -> bool:
        nonlocal spent, granted
        try:
            reservation = await purse.reserve(WHO, "chat", (), 1000, 0)
        except OverBudget:
            return False
        cost = rng.randrange(1001)
        spent, granted = spent + cost, granted + 1
        await purse.settle(reservation, cost, None)
        return True

    while any(await asyncio.gather(*(call(purses[n % 2]) for n in range(200)))):
        assert spent <= TEAM.amount_nano

    assert await meters[0].used([slot_of(TEAM, 0), slot_of(ALL, 0)]) == [spent, spent]
    assert TEAM.amount_nano - 1000 < spent
    assert granted > 100
    for meter in meters:
        await meter.close()


async def test_a_redis_killed_under_calls_and_back_empty_forgets_no_money(
    own_server: OwnServer,
) -> None:
    own_server.start("--appendonly", "no")
    books, meter = Books(), RedisMeter(own_server.url, timeout_s=2)
    purse = Purse(meter, [TEAM], spent=books)
    await purse.restore()
    settled = [await purse.reserve(WHO, "chat", (), 1000, 0) for _ in range(60)]
    open_ones = [await purse.reserve(WHO, "chat", (), 1000, 0) for _ in range(5)]
    for reservation in settled:
        await purse.settle(reservation, 1000, None)
    books.spent = 60_000

    own_server.kill()
    with pytest.raises(MeterAway):
        await purse.reserve(WHO, "chat", (), 1, 0)
    for reservation in open_ones:  # these end while it is away
        await purse.settle(reservation, 900, None)
    assert purse.owed == 5
    own_server.start("--appendonly", "no")
    async with asyncio.timeout(20):
        while purse.owed:
            await asyncio.sleep(0.02)
    ended = await asyncio.gather(
        *(purse.reserve(WHO, "chat", (), 1000, 0) for _ in range(100)), return_exceptions=True
    )

    more = sum(isinstance(one, Reservation) for one in ended)
    assert all(isinstance(one, (Reservation, OverBudget)) for one in ended)
    # The five that were in flight are all that the counters may have lost.
    assert 60_000 + more * 1000 <= TEAM.amount_nano
    assert more >= 35
    await purse.close()
    await meter.close()


async def test_a_budget_that_is_new_after_the_loss_hides_it_from_no_other(
    own_server: OwnServer,
) -> None:
    own_server.start("--appendonly", "no")
    meter = RedisMeter(own_server.url, timeout_s=2)
    books = Books()
    books.spent = TEAM.amount_nano
    purse = Purse(meter, [TEAM], spent=books)
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)
    own_server.kill()
    own_server.start("--appendonly", "no")
    other = Principal("key:o", "t", "sales", Key("o", "ci", "digest", team="sales"))
    await until_it_works(meter)

    assert await purse.reserve(other, "chat", (SALES,), 1, 0)
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)
    await purse.close()
    await meter.close()


async def test_two_processes_find_the_loss_at_once_and_no_room_twice(
    own_server: OwnServer,
) -> None:
    own_server.start("--appendonly", "no")
    books = Books()
    meters = [RedisMeter(own_server.url, timeout_s=5) for _ in range(2)]
    purses = [Purse(meter, [TEAM], spent=books) for meter in meters]
    for round_ in range(3):
        for purse in purses:
            assert await purse.reserve(WHO, f"before {round_}", (), 0, 0)
        books.spent = 60_000
        own_server.kill()
        own_server.start("--appendonly", "no")
        for meter in meters:
            await until_it_works(meter)

        ended = await asyncio.gather(
            *(purses[n % 2].reserve(WHO, "chat", (), 1000, 0) for n in range(200)),
            return_exceptions=True,
        )

        assert sum(isinstance(one, Reservation) for one in ended) == 40
        assert sum(isinstance(one, OverBudget) for one in ended) == 160
    for purse, meter in zip(purses, meters, strict=True):
        await purse.close()
        await meter.close()


async def test_open_goes_on_without_redis_and_tells_it_all_later(own_server: OwnServer) -> None:
    own_server.start("--appendonly", "yes", "--appendfsync", "always")
    meter = RedisMeter(own_server.url, timeout_s=2)
    purse = Purse(meter, [TEAM], when_away="open")
    before = await purse.reserve(WHO, "chat", (), 1000, 0)
    own_server.kill()

    await purse.settle(before, 400, None)
    notes: set[str] = set()
    for _ in range(50):
        reservation = await purse.reserve(WHO, "chat", (), 1000, 0)
        notes.add(reservation.note)
        await purse.settle(reservation, 100, None)
    own_server.start("--appendonly", "yes", "--appendfsync", "always")
    async with asyncio.timeout(20):
        while purse.owed:
            await asyncio.sleep(0.02)

    assert notes == {UNCHECKED}
    assert await meter.used([slot_of(TEAM, 0)]) == [400 + 50 * 100]
    await purse.close()
    await meter.close()
