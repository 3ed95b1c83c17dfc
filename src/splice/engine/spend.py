"""Spend: room in budgets and limits is reserved before a call, and settled to the truth after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from splice.core.access import Budget, Principal
from splice.core.errors import OverBudget, RateLimited, StoreError
from splice.engine.counters import Counters, Plan
from splice.engine.owed import Owed
from splice.engine.refusals import Refusals, away, limited
from splice.engine.restoring import Restoring, Spent
from splice.ports.meters import BegunAnew, Meter, Slot, Take

UNCHECKED = "budgets and limits not checked: what counts them could not be reached"
UNKNOWN_COST = "cost unknown: the model has no price, so its budgets count nothing for this call"

_MOST_PLANS = 10_000
_TRIES = 3
"""For a call that finds what counts begun anew each time; then it counts as away."""

_PROBE = 1
"""A call of unknown cost asks for a billionth: a budget that is spent has no room for it."""


class Reservation(msgspec.Struct, gc=False):
    """Room that a call has in its budgets and limits. `note` belongs into its record."""

    note: str = ""
    slots: tuple[Slot, ...] = ()
    budgets: tuple[Budget, ...] = ()  # those of the slots
    amount_nano: int = 0  # reserved in each of them
    priced: bool = True
    tokens_slot: Slot | None = None
    tokens: int = 0
    settled: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to settle."""
        return bool(self.slots) or self.tokens_slot is not None


NO_RESERVATION = Reservation()
"""Of a call that no budget and no limit applies to."""


class Purse:
    """Budgets and rate limits of every caller and integration.

    Args:
        meter: Counts what is spent.
        budgets: Those that an operator set; `replace` changes them.
        when_away: What happens to a call under a budget or limit while the meter cannot be
            reached: refused (`closed`), or answered and said in its record (`open`).
        unknown_price: What happens to a call under a budget whose price nobody knows.
        currency: Of the account.
        spent: The ledger, which knows what was spent before the meter did. Without it every
            counter begins at 0.
    """

    def __init__(
        self,
        meter: Meter,
        budgets: Sequence[Budget] = (),
        *,
        when_away: Literal["closed", "open"] = "closed",
        unknown_price: Literal["allow", "refuse"] = "allow",
        currency: str = "EUR",
        spent: Spent | None = None,
    ) -> None:
        self._meter = meter
        self._when_away = when_away
        self._unknown_price = unknown_price
        self._owed = Owed(meter)
        self._restoring = Restoring(meter, spent)
        self._refusals = Refusals(currency)
        self._plans: dict[tuple[str, str], Plan] = {}
        self._given = tuple(budgets)

    @property
    def owed(self) -> int:
        """How many changes the meter must still be told."""
        return len(self._owed)

    def replace(self, budgets: Sequence[Budget]) -> None:
        """These are all budgets that operators set from now on; declared ones stay."""
        given = tuple(budgets)
        if given != self._given:
            self._given = given
            self._plans.clear()

    async def reserve(
        self,
        principal: Principal,
        integration: str,
        declared: Sequence[Budget],
        estimate_nano: int | None,
        tokens: int,
    ) -> Reservation:
        """Room for one call, in every budget and limit that it falls under, or in none.

        Args:
            principal: Who asks.
            integration: What he asks.
            declared: Budgets of the integration's own.
            estimate_nano: The most that it may cost; None where the price is unknown.
            tokens: The most that it may read and write.

        Raises:
            OverBudget: A budget has no room for it.
            RateLimited: The key asked too much in this minute.
            MeterAway: Nobody can tell, and this process answers nothing unchecked.
        """
        plan = self._plan_of(principal, integration, declared)
        if plan.empty:
            return NO_RESERVATION
        try:
            return await self._reserve(plan, estimate_nano, tokens)
        except (StoreError, TimeoutError) as error:
            if self._when_away == "closed":
                raise away() from error
            # Nothing is reserved: what the call costs is told to the meter when it is back.
            counters = plan.counters(self._meter.now_us())
            return Reservation(UNCHECKED, counters.slots, plan.budgets, 0, True, counters.tokens, 0)

    async def extend(self, reservation: Reservation, more_nano: int) -> None:
        """More room in the same budgets, for a stream that goes on beyond what was reserved.

        Raises:
            OverBudget: There is none.
            MeterAway: Nobody can tell, and this process answers nothing unchecked.
        """
        if not reservation.slots or not reservation.priced or more_nano <= 0:
            return
        takes = [Take(slot, more_nano) for slot in reservation.slots]
        try:
            refused = await self._meter.reserve(takes)
        except StoreError as error:
            if self._when_away == "closed":
                raise away() from error
            reservation.note = UNCHECKED
            return
        if refused is not None:
            budget = reservation.budgets[_place(refused, takes)]
            raise self._refusals.over(budget, more_nano, self._meter.now_us())
        if reservation.settled:  # meanwhile the call ended
            await self._settle([Take(slot, -more_nano) for slot in reservation.slots])
        else:
            reservation.amount_nano += more_nano

    async def settle(
        self, reservation: Reservation, cost_nano: int | None, tokens: int | None
    ) -> None:
        """Put the truth in the place of what was reserved; the first time counts.

        Where the truth is unknown (None) what was reserved stays. Never raises: a meter that is
        away is told later.
        """
        if reservation.settled or not reservation:
            return
        reservation.settled = True
        if cost_nano is not None:
            delta = max(0, cost_nano) - reservation.amount_nano
        else:
            delta = 0 if reservation.priced else -reservation.amount_nano
        changes = [Take(slot, delta) for slot in reservation.slots] if delta else []
        slot = reservation.tokens_slot
        if slot is not None and tokens is not None and tokens != reservation.tokens:
            changes.append(Take(slot, max(0, tokens) - reservation.tokens))
        if changes:
            await self._settle(changes)

    async def restore(self, declared: Iterable[Budget] = ()) -> None:
        """Raise the counters of all budgets to what the ledger says was spent in their periods.

        Called at the start, with the budgets of all declarations; a budget that appears later is
        restored by the first call that it applies to.

        Raises:
            StoreError: The ledger or the meter cannot be reached.
        """
        await self._restoring.now((*self._given, *declared))

    async def close(self) -> None:
        """Tell the meter what is owed, as far as it can be reached now."""
        await self._restoring.close()
        await self._owed.close()

    def counts(self, principal: Principal, integration: str, declared: Sequence[Budget]) -> bool:
        """Whether any budget or limit applies: else nobody need estimate what a call may cost."""
        return not self._plan_of(principal, integration, declared).empty

    def _plan_of(self, principal: Principal, integration: str, declared: Sequence[Budget]) -> Plan:
        plan = self._plans.get((principal.caller, integration))
        if (
            plan is None
            or (plan.principal is not principal and plan.principal != principal)
            or (plan.declared is not declared and plan.declared != declared)
        ):
            return self._plan(principal, integration, declared)
        return plan

    def _plan(self, principal: Principal, integration: str, declared: Sequence[Budget]) -> Plan:
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = Plan(principal, integration, self._given, declared)
        self._plans[principal.caller, integration] = plan
        return plan

    async def _reserve(self, plan: Plan, estimate_nano: int | None, tokens: int) -> Reservation:
        amount, tokens = _PROBE, max(0, tokens)
        if estimate_nano is not None:
            amount = max(0, estimate_nano)
        elif plan.budgets and self._unknown_price == "refuse":
            raise self._refusals.unpriced(plan.budgets[0])
        for _ in range(_TRIES):
            if plan.restored != self._restoring.epoch:
                await self._restoring.soon(plan.budgets)
                plan.restored = self._restoring.epoch
            since = self._restoring.epoch if plan.budgets else ""
            counters = plan.counters(self._meter.now_us())
            takes = counters.takes(amount, tokens)
            try:
                refused = await self._meter.reserve(takes, since)
            except BegunAnew:
                self._restoring.look()
            else:
                break
        else:
            raise TimeoutError
        if refused is not None:
            asked = estimate_nano if refused.slot is not counters.tokens else tokens
            raise self._refusal(plan, counters, _place(refused, takes), asked)
        return Reservation(
            UNKNOWN_COST if estimate_nano is None and plan.budgets else "",
            counters.slots,
            plan.budgets,
            amount,
            estimate_nano is not None,
            counters.tokens,
            tokens,
        )

    def _refusal(
        self, plan: Plan, counters: Counters, place: int, asked: int | None
    ) -> OverBudget | RateLimited:
        now, key = self._meter.now_us(), plan.principal.key
        limits = [one for one in (counters.requests, counters.tokens) if one is not None]
        if place >= len(limits) or key is None:
            return self._refusals.over(plan.budgets[place - len(limits)], asked, now)
        wait_us = counters.minute_end_us - now
        if limits[place] is counters.requests:
            return limited(key.id, "requests", 1, key.requests_per_minute or 0, wait_us)
        return limited(key.id, "tokens", asked or 0, key.tokens_per_minute or 0, wait_us)

    async def _settle(self, changes: Sequence[Take]) -> None:
        once = self._owed.new_id()
        try:
            await self._meter.settle(changes, once)
        except StoreError:
            self._owed.add(once, changes)
        except asyncio.CancelledError:
            # Whether it worked nobody knows; trying it again under the same id is harmless.
            self._owed.add(once, changes)
            raise


def _place(refused: Take, takes: Sequence[Take]) -> int:
    return next(place for place, one in enumerate(takes) if one is refused)
