"""Counters: which budgets and limits a call falls under, and the names they are counted by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from splice.core.access import NEVER_US, Budget, BudgetScope, Key, Period, Principal
from splice.ports.meters import Slot, Take

Counter: TypeAlias = tuple[BudgetScope, str, Period]
"""What budgets have in common that count the same spending."""

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_LATE = 86_400 * _SECOND
"""A counter outlives its period: a call may end after it, and Redis' clock may be ahead."""

_LATE_MINUTE = 15 * _MINUTE


class Counters(msgspec.Struct, frozen=True, gc=False):
    """Those of the periods that are now, until `until_us`: one slot a budget, in their order."""

    slots: tuple[Slot, ...]
    until_us: int
    requests: Take | None = None
    tokens: Slot | None = None
    minute_end_us: int = 0

    def takes(self, amount_nano: int, tokens: int) -> list[Take]:
        """What a call asks for. Limits first: who waits a minute may find room in the budgets."""
        takes: list[Take] = []
        if self.requests is not None:
            takes.append(self.requests)
        if self.tokens is not None:
            takes.append(Take(self.tokens, tokens))
        for slot in self.slots:
            takes.append(Take(slot, amount_nano))
        return takes


class Plan:
    """What the calls of one caller to one integration are counted against.

    Args:
        principal: Who asks.
        integration: What he asks.
        set_budgets: Those that operators set; the ones that do not apply are left out here.
        declared: Those of the integration's own.
    """

    __slots__ = ("_counters", "budgets", "declared", "empty", "principal", "restored")

    def __init__(
        self,
        principal: Principal,
        integration: str,
        set_budgets: Iterable[Budget],
        declared: Sequence[Budget],
    ) -> None:
        self.principal = principal
        self.declared = declared
        self.budgets = _applying(principal, integration, (*set_budgets, *declared))
        # The meter's epoch in which all of them knew what was spent before this process.
        self.restored: str | None = None
        self.empty = not self.budgets and not _is_limited(principal.key)
        self._counters = Counters((), 0)

    def counters(self, now_us: int) -> Counters:
        """The counters of the periods that hold a moment, which must not be before the last."""
        if now_us >= self._counters.until_us:
            self._counters = self._at(now_us)
        return self._counters

    def _at(self, now_us: int) -> Counters:
        slots = tuple(slot_of(one, now_us) for one in self.budgets)
        ends = [one.period.window(now_us)[1] for one in self.budgets]
        key = self.principal.key
        if key is None or not _is_limited(key):
            return Counters(slots, min(ends, default=NEVER_US))
        minute = now_us // _MINUTE
        end = (minute + 1) * _MINUTE
        until, requests, tokens = end + _LATE_MINUTE, None, None
        if key.requests_per_minute is not None:
            name = f"requests:{key.id}:{minute}"
            requests = Take(Slot(name, key.requests_per_minute, until), 1)
        if key.tokens_per_minute is not None:
            tokens = Slot(f"tokens:{key.id}:{minute}", key.tokens_per_minute, until)
        return Counters(slots, min([end, *ends]), requests, tokens, end)


def counter_of(budget: Budget) -> Counter:
    """What a budget counts."""
    return budget.scope, budget.of, budget.period


def slot_of(budget: Budget, now_us: int) -> Slot:
    """The slot of a budget in the period that holds a moment."""
    begin, end = budget.period.window(now_us)
    name = f"{budget.scope.value}:{budget.of}:{budget.period.value}:{begin // _SECOND}"
    return Slot(name, budget.amount_nano, min(NEVER_US, end + _LATE))


def _applying(
    principal: Principal, integration: str, budgets: Iterable[Budget]
) -> tuple[Budget, ...]:
    key = principal.key
    names = {
        BudgetScope.KEY: "" if key is None else key.id,
        BudgetScope.TEAM: principal.team,
        BudgetScope.INTEGRATION: integration,
    }
    lowest: dict[Counter, Budget] = {}
    for one in budgets:
        if one.scope is not BudgetScope.ALL and (not one.of or names[one.scope] != one.of):
            continue
        # Two budgets of one counter, declared and set: counted once, and the lower one holds.
        counter = counter_of(one)
        if counter not in lowest or one.amount_nano < lowest[counter].amount_nano:
            lowest[counter] = one
    return tuple(lowest.values())


def _is_limited(key: Key | None) -> bool:
    return key is not None and (
        key.requests_per_minute is not None or key.tokens_per_minute is not None
    )
