"""Reviewing: what opens reviews beside the declaration, ends those of old, and counts them."""

from __future__ import annotations

import msgspec

from splice.app.chores import Chore
from splice.app.wiring import Services, Stores
from splice.core.alerts import Alert
from splice.core.call import Status
from splice.core.choosing import review_of
from splice.core.reviews import PLAIN_TERMS, Waiting
from splice.core.units import plural
from splice.engine import observe
from splice.ports.stores import CallFilter

EVERY_S = 30.0
_BEHIND = 20
"""Calls behind one alert that are opened: what a person can look at."""


def open_behind(stores: Stores, alert: Alert, now_us: int) -> str:
    """Opens reviews of the calls behind an alert, once however often it is called.

    They are those that show it, and the newest others of its window.
    """
    found = alert.measured
    if found is None:
        return "no calls are behind it"
    records = list(stores.records.get_many(found.calls).values())
    if len(records) < _BEHIND:
        wanted = CallFilter(
            integration=alert.integration, status=Status.ANSWERED, since_us=found.since_us,
            until_us=found.until_us, release=found.release or None, limit=2 * _BEHIND,
        )  # fmt: skip
        records += stores.records.find(wanted)
    some = {one.call_id: one for one in records if one.shadow_of is None}
    release = stores.releases.release(alert.integration, alert.release)
    declared = None if release is None else release.manifest.review
    terms = PLAIN_TERMS if declared is None else declared.terms
    reviews = [
        msgspec.structs.replace(
            review_of(one, "monitor", f"alert: {alert.monitor}", now_us, terms), alert=alert.id
        )
        for one in list(some.values())[:_BEHIND]
    ]
    if not reviews:
        return "no calls are behind it"
    opened = stores.reviews.open_reviews(reviews)
    known = len(reviews) - opened
    also = f", {known} were open or decided before" if known else ""
    return f"{plural(opened, 'call is', 'calls are')} to be reviewed{also}"


def chores_of_reviews(stores: Stores) -> list[Chore]:
    """The chore that ends reviews whose time is over."""

    def expire(now_us: int) -> bool:
        return stores.reviews.expire(now_us) > 0

    return [Chore("reviews", EVERY_S, expire)]


class ReviewGauges:
    """What waits, as metrics. An integration that was told of once is told of for good."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._told: set[str] = set()

    def tell(self, now_us: int) -> None:
        """Set them as the ledger has it now.

        Raises:
            StoreError: It cannot be read; they stay as they were.
        """
        metrics = self._services.engine.metrics
        found = {one.integration: one for one in self._services.stores.reviews.waiting(now_us)}
        self._told |= set(found)
        for name in self._told:
            one = found.get(name, Waiting(name))
            oldest_s = max(0, now_us - one.oldest_us) / 1e6 if one.oldest_us else 0.0
            metrics.set(observe.REVIEWS, one.open, (name,))
            metrics.set(observe.REVIEWS_OVERDUE, one.overdue, (name,))
            metrics.set(observe.REVIEWS_OLDEST, oldest_s, (name,))
