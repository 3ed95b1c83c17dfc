"""A monitor as a release pins it: a standing question about calls, and what a bad answer does."""

from __future__ import annotations

from typing import Literal

import msgspec

MonitorKind = Literal[
    "drift",
    "latency",
    "share",
    "cost",
    "accuracy",
    "outcome",
    "traffic",
    "reviews",
    "validation",
]
KINDS: tuple[MonitorKind, ...] = (
    "drift", "latency", "share", "cost", "accuracy", "outcome", "traffic", "reviews",
)  # fmt: skip

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""From the least to the worst."""

Action = Literal["alert", "roll back", "review", "retrain"]
ACTIONS: tuple[Action, ...] = ("alert", "roll back", "review", "retrain")


class PinnedMonitor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One monitor, read and found without fault.

    `kind` and `figure` say what is measured (`latency` `p99`, `drift` `psi`, `share` `errors`).
    `above` and `below` are its bounds and `clear` where it is fine again, all in the figure's base
    unit: seconds, shares from 0 to 1, units of the account's currency, calls. With `against_s` the
    figure is its ratio to the same figure so many seconds earlier; of drift, it is how long before
    the window the past window lies that it is compared with, and None is the training data.
    """

    name: str
    kind: MonitorKind
    figure: str
    window_s: float
    every_s: float
    for_s: float  # how long it must be beyond its bound
    cooldown_s: float  # how long it must be fine again before its alert ends
    least: int  # calls, or labels, that it must rest on
    severity: Severity
    then: tuple[Action, ...]
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    columns: tuple[str, ...] = ()  # of drift; all where empty
    segment: str = ""  # "field=value"; all calls where empty
    against_s: float | None = None
    sure: bool = True  # the nearer end of its 95 % interval must be beyond the bound, too

    @property
    def bound(self) -> float:
        """The one that it has."""
        return self.above if self.above is not None else (self.below or 0.0)

    @property
    def rolls_back(self) -> bool:
        """Whether a firing rolls back: then only calls of the live release count."""
        return "roll back" in self.then

    def beyond(self, value: float) -> bool:
        """Whether a value is on the bad side of the bound."""
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below

    def surely_beyond(self, value: float, low: float | None, high: float | None) -> bool:
        """The same, and of the nearer end of its interval where the monitor wants to be sure."""
        if not self.beyond(value):
            return False
        nearer = low if self.above is not None else high
        return not self.sure or nearer is None or self.beyond(nearer)

    def fine(self, value: float) -> bool:
        """Whether a value is so far on the good side that an open alert ends."""
        clear = self.bound if self.clear is None else self.clear
        return value <= clear if self.above is not None else value >= clear


def severity_rank(severity: str) -> int:
    """0 is the least; what is unknown counts as the worst, for nobody should miss it."""
    return next((i for i, one in enumerate(SEVERITIES) if one == severity), len(SEVERITIES) - 1)
