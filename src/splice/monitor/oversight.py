"""Oversight as a figure: how many calls wait for a person, and how many of them for too long."""

from __future__ import annotations

from typing import Any

from splice.core.alerts import Measured
from splice.core.monitors import PinnedMonitor
from splice.core.reviews import Waiting
from splice.core.rollups import Window
from splice.ports.reviews import ReviewFilter, ReviewStore

_EXAMPLES = 5


def reviews_waiting(
    ledger: Any, asked: PinnedMonitor, integration: str, window: Window
) -> Measured:
    """What waits now, with the calls that are due first.

    Args:
        ledger: Has the reviews.
        asked: A monitor of kind `reviews`.
        integration: Whose.
        window: Ends now.
    """
    store: ReviewStore = ledger.reviews
    now_us = window.until_us
    found = next(
        (one for one in store.waiting(now_us) if one.integration == integration),
        Waiting(integration),
    )
    overdue = asked.figure == "overdue"
    value = found.overdue if overdue else found.open
    calls: tuple[str, ...] = ()
    if asked.beyond(float(value)) and value:
        wanted = ReviewFilter(
            (integration,), waits=True, due_before_us=now_us if overdue else None, limit=_EXAMPLES
        )
        calls = tuple(one.call_id for one in store.reviews(wanted))
    return Measured(float(value), found.open, window.since_us, now_us, calls=calls)
