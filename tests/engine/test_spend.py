"""What may be spent: never more than there is, and never lost, whoever dies or goes away when."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest

from splice.adapters.meters.clock import ForwardClock
from splice.adapters.meters.memory import MemoryMeter
from splice.core.access import ANYONE, Budget, BudgetScope, Key, Period, Principal
from splice.core.errors import MeterAway, OverBudget, RateLimited, StoreError
from splice.engine.counters import slot_of
from splice.engine.spend import NO_RESERVATION, UNCHECKED, UNKNOWN_COST, Purse, Reservation
from splice.ports.keys import Spending
from splice.ports.meters import BegunAnew, Meter, Slot, Take
from splice.testing.contracts.meters import without_a_task

EUR = 1_000_000_000
SECOND = 1_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


class Clock:
    def __init__(self) -> None:
        self.now = at("2026-10-15T12:00:30")

    def __call__(self) -> int:
        return self.now


class FaultyMeter:
    """A meter in memory that can be away (`before` or `after` the change), slow, or wiped."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.away = ""
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.wiped = 0
        self._inner = MemoryMeter(clock)
        self._done: set[str] = set()

    def wipe(self) -> None:
        self.wiped += 1
        self._inner = MemoryMeter(self.clock)

    async def reserve(self, takes: list[Take], since: str = "") -> Take | None:
        await self._passes()
        if since not in {"", self.epoch()}:
            raise BegunAnew
        refused = await self._inner.reserve(takes)
        self._fails("after")
        return refused

    async def settle(self, changes: list[Take], once: str = "") -> None:
        await self._passes()
        if once not in self._done:
            await self._inner.settle(changes)
            self._done.add(once)
        self._fails("after")

    async def used(self, slots: list[Slot]) -> list[int]:
        await self._passes()
        return await self._inner.used(slots)

    async def raise_to(self, slot: Slot, amount: int) -> None:
        await self._passes()
        await self._inner.raise_to(slot, amount)

    def now_us(self) -> int:
        return self.clock()

    def epoch(self) -> str:
        return f"{self.wiped}"

    async def close(self) -> None:
        pass

    async def _passes(self) -> None:
        self._fails("before")
        if self.gate is not None:
            self.begun.set()
            await self.gate.wait()

    def _fails(self, when: str) -> None:
        if self.away == when:
            raise StoreError("meter", got="nothing: it is away")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> FaultyMeter:
    return FaultyMeter(clock)


def budget(
    amount: int, scope: BudgetScope = BudgetScope.KEY, of: str = "k", period: Period = Period.MONTH
) -> Budget:
    return Budget(scope, "" if scope is BudgetScope.ALL else of, period, amount)


def holder(team: str = "growth", **fields: object) -> Principal:
    return Principal("key:k", "t", team, Key("k", "ci", "digest", team=team, **fields))


WHO = holder()


async def used(meter: Meter, *budgets: Budget) -> list[int]:
    return await meter.used([slot_of(one, meter.now_us()) for one in budgets])


async def paid(purse: Purse) -> None:
    """Until the meter was told everything."""
    async with asyncio.timeout(20):
        while purse.owed:
            await asyncio.sleep(0.01)


async def test_two_hundred_callers_on_the_last_cent_spend_no_more_than_there_is(meter) -> None:
    of_key, of_all = budget(100 * EUR), budget(73 * EUR + 5, BudgetScope.ALL)
    purse = Purse(meter, [of_key, of_all])
    rng = random.Random(1)
    spent = 0

    async def call() -> bool:
        nonlocal spent
        try:
            reservation = await purse.reserve(WHO, "chat", (), EUR, 0)
        except OverBudget:
            return False
        await asyncio.sleep(0)  # the call itself
        cost = rng.randrange(EUR + 1)
        spent += cost
        await purse.settle(reservation, cost, None)
        return True

    while any(await asyncio.gather(*(call() for _ in range(200)))):
        assert spent <= of_all.amount_nano
        assert await used(meter, of_key, of_all) == [spent, spent]
    assert spent > 72 * EUR


@pytest.mark.parametrize("room", [0, 1, 7, 200])
async def test_exactly_those_get_through_for_whom_there_is_room(meter, room: int) -> None:
    purse = Purse(meter, [budget(room * 10 + 9)])
    meter.gate = asyncio.Event()

    calls = [asyncio.ensure_future(purse.reserve(WHO, "chat", (), 10, 0)) for _ in range(200)]
    await asyncio.sleep(0)
    meter.gate.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)

    assert sum(isinstance(one, Reservation) for one in ended) == room
    assert sum(isinstance(one, OverBudget) for one in ended) == 200 - room


async def test_a_call_that_cost_more_than_thought_is_counted_in_full(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])

    reservation = await purse.reserve(WHO, "chat", (), 60, 0)
    await purse.settle(reservation, 130, None)

    assert await used(meter, one) == [130]
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)


async def test_a_call_that_cost_less_gives_back_the_rest(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])
    reservation = await purse.reserve(WHO, "chat", (), 100, 0)
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)

    await purse.settle(reservation, 40, None)

    await purse.reserve(WHO, "chat", (), 60, 0)
    assert await used(meter, one) == [100]


async def test_a_call_is_settled_once_however_often_that_is_asked(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])
    await purse.reserve(WHO, "chat", (), 50, 0)
    reservation = await purse.reserve(WHO, "chat", (), 50, 0)

    for _ in range(3):
        await purse.settle(reservation, 0, 0)

    assert await used(meter, one) == [50]


async def test_a_call_whose_process_died_stays_counted(meter) -> None:
    one = budget(100)
    await Purse(meter, [one]).reserve(WHO, "chat", (), 70, 0)

    with pytest.raises(OverBudget):
        await Purse(meter, [one]).reserve(WHO, "chat", (), 40, 0)
    assert await used(meter, one) == [70]


async def test_what_a_call_cost_nobody_knows_counts_as_the_most_it_may_have(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])

    await purse.settle(await purse.reserve(WHO, "chat", (), 70, 0), None, None)

    assert await used(meter, one) == [70]


async def test_a_budget_that_is_refused_takes_nothing_from_the_others(meter) -> None:
    wide, narrow = budget(1000), budget(10, BudgetScope.TEAM, "growth")
    who = holder(requests_per_minute=5, tokens_per_minute=100)
    purse = Purse(meter, [wide, narrow])

    for _ in range(10):
        with pytest.raises(OverBudget, match="team growth"):
            await purse.reserve(who, "chat", (), 11, 50)

    assert await used(meter, wide, narrow) == [0, 0]
    assert await purse.reserve(who, "chat", (), 10, 100)


async def test_every_scope_is_counted_and_no_other(meter) -> None:
    mine = [
        budget(100),
        budget(100, BudgetScope.TEAM, "growth"),
        budget(100, BudgetScope.INTEGRATION, "chat"),
        budget(100, BudgetScope.ALL),
    ]
    others = [
        budget(0, of="other"),
        budget(0, BudgetScope.TEAM, "other"),
        budget(0, BudgetScope.TEAM, ""),
        budget(0, BudgetScope.INTEGRATION, "other"),
    ]
    purse = Purse(meter, [*mine, *others])

    await purse.settle(await purse.reserve(WHO, "chat", (), 50, 0), 7, None)
    await purse.settle(await purse.reserve(ANYONE, "chat", (), 50, 0), 2, None)

    assert await used(meter, *mine) == [7, 7, 9, 9]
    assert await used(meter, *others) == [0, 0, 0, 0]


async def test_a_declared_and_a_set_budget_of_the_same_count_once_and_the_lower_holds(
    meter,
) -> None:
    declared = (budget(50, BudgetScope.INTEGRATION, "chat"),)
    given = budget(80, BudgetScope.INTEGRATION, "chat")
    purse = Purse(meter, [given])

    await purse.reserve(WHO, "chat", declared, 30, 0)

    assert await used(meter, given) == [30]
    with pytest.raises(OverBudget, match=r"EUR 0\.00000005 a month"):
        await purse.reserve(WHO, "chat", declared, 21, 0)
    purse.replace([budget(25, BudgetScope.INTEGRATION, "chat")])
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", declared, 1, 0)


async def test_a_budget_that_is_raised_keeps_what_was_spent(meter) -> None:
    purse = Purse(meter, [budget(10)])
    await purse.reserve(WHO, "chat", (), 10, 0)
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)

    purse.replace([budget(15)])

    assert await purse.reserve(WHO, "chat", (), 5, 0)
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)
    purse.replace([])
    assert await purse.reserve(WHO, "chat", (), 10**15, 0) is NO_RESERVATION


async def test_without_budgets_and_limits_the_meter_is_not_asked(meter) -> None:
    meter.away = "before"
    purse = Purse(meter, [budget(0, of="other")])

    for who in (WHO, ANYONE):
        reservation = await purse.reserve(who, "chat", (), None, 10)
        await purse.settle(reservation, 5, 5)
        assert reservation is NO_RESERVATION
    assert not NO_RESERVATION
    assert not NO_RESERVATION.settled


async def test_a_refusal_says_whose_budget_how_much_and_when_it_renews(meter) -> None:
    purse = Purse(meter, [budget(2 * EUR + EUR // 2, BudgetScope.TEAM, "growth")], currency="CHF")

    with pytest.raises(OverBudget) as caught:
        await purse.reserve(WHO, "chat", (), 3 * EUR, 0)

    assert str(caught.value) == (
        "budget of team growth: got a call that may cost CHF 3.00, expected room in CHF 2.50 a "
        "month. It renews at 2026-11-01 00:00 UTC; or ask for a larger one [over_budget]"
    )


@pytest.mark.parametrize(
    ("period", "inside", "after"),
    [
        (Period.HOUR, "2026-10-15T12:59:59", "2026-10-15T13:00:00"),
        (Period.DAY, "2026-10-15T23:59:59", "2026-10-16T00:00:00"),
        (Period.WEEK, "2026-10-18T23:59:59", "2026-10-19T00:00:00"),
        (Period.MONTH, "2026-10-31T23:59:59", "2026-11-01T00:00:00"),
        (Period.TOTAL, "2999-12-31T23:59:59", None),
    ],
)
async def test_a_period_begins_anew_at_its_boundary_of_utc(
    meter, clock, period: Period, inside: str, after: str | None
) -> None:
    purse = Purse(meter, [budget(10, period=period)])
    await purse.reserve(WHO, "chat", (), 10, 0)

    clock.now = at(inside)
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)
    if after is not None:
        clock.now = at(after)
        assert await purse.reserve(WHO, "chat", (), 10, 0)


async def test_a_call_that_ends_after_its_period_is_counted_in_that_in_which_it_began(
    meter, clock
) -> None:
    one = budget(100)
    purse = Purse(meter, [one])
    october = clock.now = at("2026-10-31T23:59:59")
    reservation = await purse.reserve(WHO, "chat", (), 50, 0)

    clock.now = at("2026-11-01T00:00:05")
    await purse.settle(reservation, 20, None)

    (of_october,) = await meter.used([slot_of(one, october)])
    assert of_october == 20
    assert await used(meter, one) == [0]


async def test_a_clock_that_is_set_back_opens_no_new_period() -> None:
    wall = [at("2026-11-01T00:00:10")]
    meter = MemoryMeter(ForwardClock(lambda: wall[0], lambda: 0).now_us)
    purse = Purse(meter, [budget(10)])
    await purse.reserve(WHO, "chat", (), 10, 0)

    wall[0] = at("2026-10-31T23:00:00")

    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 1, 0)


async def test_requests_in_a_minute_are_limited(meter, clock) -> None:
    who = holder(requests_per_minute=3)
    purse = Purse(meter)
    for _ in range(3):
        await purse.settle(await purse.reserve(who, "chat", (), None, 0), 0, 0)

    with pytest.raises(RateLimited) as caught:
        await purse.reserve(who, "chat", (), None, 0)

    assert caught.value.retry_after == 30
    assert "at most 3 requests a minute" in str(caught.value)
    clock.now += 29 * SECOND
    with pytest.raises(RateLimited):
        await purse.reserve(who, "other", (), None, 0)
    clock.now += SECOND
    assert isinstance(await purse.reserve(who, "chat", (), None, 0), Reservation)


async def test_tokens_in_a_minute_are_limited_by_what_they_really_were(meter) -> None:
    who = holder(tokens_per_minute=1000)
    purse = Purse(meter)
    first = await purse.reserve(who, "chat", (), None, 900)
    with pytest.raises(RateLimited, match="at most 1000 tokens a minute"):
        await purse.reserve(who, "chat", (), None, 101)

    await purse.settle(first, 0, 100)

    second = await purse.reserve(who, "chat", (), None, 900)
    await purse.settle(second, 0, 2000)
    with pytest.raises(RateLimited):
        await purse.reserve(who, "chat", (), None, 1)


async def test_a_call_that_fits_into_no_minute_is_not_told_to_wait(meter) -> None:
    purse = Purse(meter)

    with pytest.raises(RateLimited, match="lower max_tokens") as caught:
        await purse.reserve(holder(tokens_per_minute=1000), "chat", (), None, 1001)

    assert not caught.value.retryable
    assert "minute is over" not in str(caught.value)


async def test_a_limit_is_told_before_a_budget_and_takes_nothing_from_it(meter) -> None:
    one = budget(10)
    purse = Purse(meter, [one])
    who = holder(requests_per_minute=1)
    await purse.reserve(who, "chat", (), 4, 0)

    with pytest.raises(RateLimited):
        await purse.reserve(who, "chat", (), 100, 0)
    assert await used(meter, one) == [4]


async def test_an_unknown_price_is_said_and_counts_nothing(meter) -> None:
    one = budget(10)
    purse = Purse(meter, [one])

    reservation = await purse.reserve(WHO, "chat", (), None, 0)
    await purse.settle(reservation, None, None)

    assert reservation.note == UNKNOWN_COST
    assert await used(meter, one) == [0]
    known = await purse.reserve(WHO, "chat", (), None, 0)
    await purse.settle(known, 10, None)
    assert await used(meter, one) == [10]
    with pytest.raises(OverBudget, match="a call of unknown cost"):
        await purse.reserve(WHO, "chat", (), None, 0)


async def test_an_unknown_price_can_be_refused(meter) -> None:
    purse = Purse(meter, [budget(10)], unknown_price="refuse")

    with pytest.raises(OverBudget, match="unknown price"):
        await purse.reserve(WHO, "chat", (), None, 0)
    assert await purse.reserve(WHO, "chat", (), 0, 0)
    assert await purse.reserve(ANYONE, "chat", (), None, 0) is NO_RESERVATION


async def test_a_stream_that_goes_on_asks_for_more_and_gives_back_the_rest(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])
    who = holder(requests_per_minute=1)
    reservation = await purse.reserve(who, "chat", (), 40, 10)

    await purse.extend(reservation, 60)
    with pytest.raises(OverBudget):
        await purse.extend(reservation, 1)
    assert await used(meter, one) == [100]
    await purse.settle(reservation, 55, 10)

    assert await used(meter, one) == [55]


async def test_room_that_comes_after_the_end_is_given_back(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])
    reservation = await purse.reserve(WHO, "chat", (), 40, 0)
    meter.gate = asyncio.Event()
    more = asyncio.ensure_future(purse.extend(reservation, 60))
    await meter.begun.wait()

    end = asyncio.ensure_future(purse.settle(reservation, 10, None))
    await asyncio.sleep(0)
    meter.gate.set()
    await asyncio.gather(more, end)

    assert await used(meter, one) == [10]


async def test_closed_means_that_nothing_is_answered_unchecked(meter) -> None:
    purse = Purse(meter, [budget(10)])
    reservation = await purse.reserve(WHO, "chat", (), 5, 0)
    meter.away = "before"

    with pytest.raises(MeterAway):
        await purse.reserve(WHO, "chat", (), 1, 0)
    with pytest.raises(MeterAway):
        await purse.extend(reservation, 1)
    with pytest.raises(MeterAway):
        await purse.reserve(holder(requests_per_minute=9), "chat", (), 1, 0)


async def test_open_answers_says_so_and_counts_it_when_the_meter_is_back(meter) -> None:
    one = budget(10)
    purse = Purse(meter, [one], when_away="open")
    meter.away = "before"

    reservation = await purse.reserve(WHO, "chat", (), 5, 0)
    await purse.extend(reservation, 1)
    await purse.settle(reservation, 8, None)

    assert reservation.note == UNCHECKED
    assert purse.owed == 1
    meter.away = ""
    await paid(purse)
    assert await used(meter, one) == [8]
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 3, 0)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_could_not_be_settled_is_settled_once_when_the_meter_is_back(
    meter, when: str
) -> None:
    one = budget(1000)
    purse = Purse(meter, [one])
    reservations = [await purse.reserve(WHO, "chat", (), 10, 0) for _ in range(20)]
    meter.away = when

    for reservation in reservations:
        await purse.settle(reservation, 3, None)

    assert purse.owed == 20
    meter.away = ""
    await paid(purse)
    assert await used(meter, one) == [60]
    await purse.close()


async def test_what_waits_for_a_meter_is_bounded_and_what_was_spent_is_not_forgotten(
    meter,
) -> None:
    one = budget(10**12)
    purse = Purse(meter, [one], when_away="open")
    meter.away = "before"

    for _ in range(12_000):
        await purse.settle(await purse.reserve(WHO, "chat", (), 5, 0), 3, None)

    assert purse.owed <= 10_001
    meter.away = ""
    await purse.close()
    assert purse.owed == 0
    assert await used(meter, one) == [36_000]


async def test_a_caller_who_goes_while_his_call_is_settled_is_settled_all_the_same(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one])
    reservation = await purse.reserve(WHO, "chat", (), 50, 0)
    meter.gate = asyncio.Event()
    settling = asyncio.ensure_future(purse.settle(reservation, 20, None))
    await meter.begun.wait()

    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    meter.gate.set()
    await paid(purse)

    assert await used(meter, one) == [20]


class Books:
    """A ledger that knows what was spent, and can be away or slow."""

    def __init__(self, **by_key: int) -> None:
        self.by_key = by_key
        self.asked: list[int] = []
        self.away = False
        self.gate: asyncio.Event | None = None

    async def __call__(self, since_us: int) -> Spending:
        self.asked.append(since_us)
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise StoreError("ledger", got="nothing")
        return Spending(self.by_key, {}, {}, sum(self.by_key.values()))


async def test_counters_begin_with_what_the_ledger_says_was_spent(meter) -> None:
    books = Books(k=70)
    mine, of_day, declared = budget(100), budget(80, period=Period.DAY), budget(90, BudgetScope.ALL)
    purse = Purse(meter, [mine, of_day], spent=books)

    await purse.restore([declared])

    assert books.asked == [at("2026-10-01T00:00:00"), at("2026-10-15T00:00:00")]
    assert await used(meter, mine, of_day, declared) == [70, 70, 70]
    with pytest.raises(OverBudget):
        await purse.reserve(WHO, "chat", (), 11, 0)
    assert await purse.reserve(WHO, "chat", [declared], 10, 0)
    assert len(books.asked) == 2


async def test_a_budget_set_later_knows_what_was_spent_before_it(meter) -> None:
    books = Books(k=70)
    purse = Purse(meter, spent=books)
    await purse.restore()
    purse.replace([budget(75)])

    ended = await asyncio.gather(
        *(purse.reserve(WHO, "chat", (), 1, 0) for _ in range(50)), return_exceptions=True
    )

    assert sum(isinstance(one, Reservation) for one in ended) == 5
    assert len(books.asked) == 1


async def test_a_ledger_that_is_away_closes_or_opens_as_the_meter_does(meter) -> None:
    books = Books(k=70)
    books.away = True
    closed = Purse(meter, [budget(75)], spent=books)
    opened = Purse(meter, [budget(75)], spent=books, when_away="open")

    with pytest.raises(StoreError):
        await closed.restore()
    with pytest.raises(MeterAway):
        await closed.reserve(WHO, "chat", (), 1, 0)
    assert (await opened.reserve(WHO, "chat", (), 1, 0)).note == UNCHECKED
    books.away = False
    assert not (await closed.reserve(WHO, "chat", (), 1, 0)).note
    with pytest.raises(OverBudget):
        await opened.reserve(WHO, "chat", (), 5, 0)


async def test_a_meter_that_lost_its_counters_is_told_what_was_spent(meter) -> None:
    books, one = Books(k=0), budget(100)
    purse = Purse(meter, [one], spent=books)
    for _ in range(9):
        await purse.settle(await purse.reserve(WHO, "chat", (), 10, 0), 10, None)
    books.by_key["k"] = 90

    meter.wipe()
    ended = await asyncio.gather(
        *(purse.reserve(WHO, "chat", (), 2, 0) for _ in range(200)), return_exceptions=True
    )

    assert sum(isinstance(one, Reservation) for one in ended) == 5
    assert await used(meter, one) == [100]


async def test_the_call_that_finds_the_counters_lost_is_counted_once(meter) -> None:
    one = budget(100)
    purse = Purse(meter, [one], spent=Books())
    await purse.restore()
    who = holder(requests_per_minute=1)
    meter.wipe()

    await purse.reserve(who, "chat", (), 60, 0)

    assert await used(meter, one) == [60]


async def test_calls_in_flight_while_counters_are_lost_are_all_that_can_be_overspent(
    meter,
) -> None:
    books, one = Books(k=0), budget(100)
    purse = Purse(meter, [one], spent=books)
    in_flight = [await purse.reserve(WHO, "chat", (), 10, 0) for _ in range(3)]
    await purse.settle(await purse.reserve(WHO, "chat", (), 60, 0), 60, None)
    books.by_key["k"] = 60

    meter.wipe()
    spent = 60 + sum(10 for _ in in_flight)
    for reservation in in_flight:
        await purse.settle(reservation, 10, None)
    while True:
        try:
            reservation = await purse.reserve(WHO, "chat", (), 1, 0)
        except OverBudget:
            break
        spent += 1
        await purse.settle(reservation, 1, None)

    assert 100 < spent <= 100 + 30


async def test_a_purse_works_where_there_is_no_task(meter) -> None:
    books = Books(k=5)
    purse = Purse(meter, [budget(10)], spent=books)
    told: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def call() -> None:
        reservation = await purse.reserve(WHO, "chat", (), 5, 0)
        await purse.settle(reservation, 3, None)
        told.set_result(await used(meter, budget(10)))

    without_a_task(call())

    assert await asyncio.wait_for(told, 10) == [8]


async def test_a_change_of_the_key_is_seen_by_its_next_call(meter) -> None:
    purse = Purse(meter)
    assert await purse.reserve(holder(), "chat", (), 1, 0) is NO_RESERVATION

    with pytest.raises(RateLimited):
        await purse.reserve(holder(tokens_per_minute=5), "chat", (), 1, 6)
    moved = [budget(0, BudgetScope.TEAM, "ops")]
    purse.replace(moved)
    with pytest.raises(OverBudget, match="team ops"):
        await purse.reserve(holder("ops"), "chat", (), 1, 0)
    assert await purse.reserve(holder("growth"), "chat", (), 1, 0) is NO_RESERVATION
