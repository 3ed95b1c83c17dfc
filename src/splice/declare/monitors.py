"""What a user writes of monitors: what to watch, where the bound is, and what is done then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Retrain = Literal["retrain"]


def retrain() -> Retrain:
    """What a monitor does when it fires: ask for a run of the integration's `retrain()`."""
    return "retrain"


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """A standing question about recorded calls, and what to do when the answer is bad.

    Exactly one of these names what is watched:

    `drift` is a distance (`psi`, `ks`, `js`, `wasserstein`, `chi2`, `missing`, `text`, `vector`) of
    `columns` (all where left out) from the training data, or from a past window (`against="7 d"`).
    `latency` is `p50`, `p95`, `p99`
    or `mean`. `share` is `errors` (calls that were not answered), `fallbacks` (not by the first
    route), `refused`, `cached` or `unlabelled` (of calls whose truth is due). `cost` is `call` or
    `day`. `accuracy` is a metric of the declared truth, such as `auc`. `outcome` is the name of an
    outcome, whose mean counts (the KPI, for one). `traffic` is `calls`: in a window, all of them.
    `reviews` is `overdue` or `open`: how many wait for a person now.

    Attributes:
        above: Bad above it: `0.25`, `"2 %"`, `"80 ms"`, `"EUR 0.01"`.
        below: Bad below it. One of both.
        then: `"alert"`, `"roll back"`, `"review"`, `splice.retrain()`, or several of them. Every
            firing is an alert, whatever else is done.
        window: How much of the past counts.
        every: How often it is looked at.
        for_: How long it must be bad before it fires.
        least: How many calls (or labels) it must rest on; with fewer it says nothing.
        severity: `"info"`, `"warning"` or `"critical"`: which channels are told.
        columns: Of drift: only these.
        segment: Only calls of one segment: `"country=DE"`.
        against: With what it is compared: so long ago. Of drift, the bound is on the distance; of
            all else, on the ratio to the same window then (`above=1.5` is half as much again).
        clear: Where it is fine again; a tenth on the good side of the bound where left out.
        cooldown: How long it must be fine again before its alert ends, 15 min where left out; a
            figure that goes to and fro makes one alert.
        sure: Whether its 95 % interval must be beyond the bound as a whole.
        name: Its name; made of what it watches where left out.
    """

    drift: str = ""
    latency: str = ""
    share: str = ""
    cost: str = ""
    accuracy: str = ""
    outcome: str = ""
    traffic: str = ""
    reviews: str = ""
    above: str | float | None = None
    below: str | float | None = None
    then: str | Sequence[str] = "alert"
    window: str | float | None = None
    every: str | float | None = None
    for_: str | float | None = None
    least: int | None = None
    severity: str = "warning"
    columns: Sequence[str] = ()
    segment: str = ""
    against: str | float | None = None
    clear: str | float | None = None
    cooldown: str | float | None = None
    sure: bool = True
    name: str = ""
