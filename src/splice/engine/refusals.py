"""Refusals: what a caller is told whose call has no room in a budget or a limit."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from splice.core.access import Budget, Period
from splice.core.errors import MeterAway, OverBudget, RateLimited
from splice.core.units import Money

_SECOND = 1_000_000


class Refusals:
    """Errors in words.

    Args:
        currency: Of the account.
    """

    def __init__(self, currency: str) -> None:
        self._currency = currency

    def over(self, budget: Budget, asked_nano: int | None, now_us: int) -> OverBudget:
        """A budget has no room for a call of that cost, which may be unknown."""
        mend = "ask for a larger budget: this one does not renew"
        if budget.period is not Period.TOTAL:
            end = datetime.fromtimestamp(budget.period.window(now_us)[1] // _SECOND, UTC)
            mend = f"it renews at {end:%Y-%m-%d %H:%M} UTC; or ask for a larger one"
        return OverBudget(
            _whose(budget),
            got="a call of unknown cost"
            if asked_nano is None
            else f"a call that may cost {Money(self._currency, asked_nano).exact}",
            promised=f"room in {self._worth(budget)}",
            mend=mend,
        )

    def unpriced(self, budget: Budget) -> OverBudget:
        """A budget cannot count the call."""
        return OverBudget(
            _whose(budget),
            got="a call to a model of unknown price",
            promised=f"calls that can be counted against {self._worth(budget)}",
            mend="ask for a price in [providers.NAME.prices], or for another model",
        )

    def _worth(self, budget: Budget) -> str:
        every = {Period.TOTAL: "in total", Period.HOUR: "an hour"}
        period = every.get(budget.period, f"a {budget.period.value}")
        return f"{Money(self._currency, budget.amount_nano).exact} {period}"


def limited(key_id: str, what: str, asked: int, limit: int, wait_us: int) -> RateLimited:
    """A limit of a minute (`what` is `requests` or `tokens`) has no room, or never will have."""
    never = asked > limit
    error = RateLimited(
        f"key {key_id}",
        retry_after=math.inf if never else max(1, wait_us) / _SECOND,
        got="one more" if what == "requests" else f"a call of up to {asked}",
        promised=f"at most {limit} {what} a minute",
    )
    if never:  # no minute has room for it: whoever waits and asks again is refused again
        error.retryable = False
        error.mend = "ask with a lower max_tokens or a shorter text, or have the limit raised"
    return error


def away() -> MeterAway:
    """Nobody can tell whether there is room."""
    return MeterAway(
        "budgets",
        got="no answer from what counts them",
        promised="nothing answered unchecked",
        mend="try again in a moment",
    )


def _whose(budget: Budget) -> str:
    return f"budget of {budget.scope} {budget.of}" if budget.of else "budget of all calls"
