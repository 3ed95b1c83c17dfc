"""Judging: from what a monitor measured to its finding and its alert. Pure; no clock is read.

An alert opens where a figure was beyond its bound without a break for as long as the monitor says,
and ends where it was fine (on the good side by a margin) without a break for its cooldown. So a
figure that goes to and fro across its bound makes one alert. Times that lie ahead, because a clock
was set back, count from now.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from splice.core.alerts import Alert, AlertKind, Deed, Finding, FindingState, Measured
from splice.core.monitors import PinnedMonitor
from splice.core.units import duration_text
from splice.monitor.words import finding_text, title

BLIND_LEAST_S = 120.0
"""A monitor must be unable to tell for so long, and twice in a row, before that is told."""


class Asked(msgspec.Struct, frozen=True):
    """A monitor of the live release of an integration, and the time at which it is asked."""

    integration: str
    release: int
    monitor: PinnedMonitor
    now_us: int
    new_id: Callable[[], str]


class Reading(msgspec.Struct, frozen=True):
    """What was measured; where it could not be, `trouble` says why."""

    measured: Measured | None = None
    trouble: str = ""
    idle: str = ""  # why there is nothing to ask: the integration is switched off


class Judged(msgspec.Struct, frozen=True):
    """The new finding, and the alerts that opened, changed or were resolved by it."""

    finding: Finding
    opened: tuple[Alert, ...] = ()
    changed: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()


def judge(
    asked: Asked, before: Finding | None, reading: Reading, alerts: dict[str, Alert]
) -> Judged:
    """What a reading comes to.

    Args:
        asked: The monitor.
        before: Its last finding; None where there is none.
        reading: What was measured.
        alerts: The open alerts that the last finding names, by id.
    """
    return _Judge(asked, before, reading, alerts).judged()


class _Judge:
    """Judges one reading."""

    def __init__(
        self, asked: Asked, before: Finding | None, reading: Reading, alerts: dict[str, Alert]
    ) -> None:
        self._asked, self._before, self._reading = asked, before, reading
        self._monitor = asked.monitor
        self._now = asked.now_us
        self._firing = None if before is None else alerts.get(before.alert)
        self._blind = None if before is None else alerts.get(before.blind)
        self._opened: list[Alert] = []
        self._changed: list[Alert] = []
        self._resolved: list[Alert] = []
        self._beyond_us = self._fine_us = self._blind_us = 0
        # Another release, or another bound: how long the old one was beyond its own says nothing.
        self._same = before is not None and before.asked == self._monitor
        if self._monitor.rolls_back and before is not None and before.release != asked.release:
            self._same = False
            if self._firing is not None:
                self._end(self._firing, f"release {before.release} answers no more")
                self._firing = None

    def judged(self) -> Judged:
        """The finding, with what changes."""
        measured = self._reading.measured
        if self._reading.idle:
            state: FindingState = "too few"
            why = self._reading.idle
            self._see()
            self._beyond_us, self._fine_us = 0, self._since("fine_us", 0)
        elif self._reading.trouble or measured is None:
            state, why = "cannot tell", self._reading.trouble or "nothing was measured"
            self._not_told(why)
        else:
            why = finding_text(self._monitor, measured)
            self._see()
            state = self._told(measured, why)
        before = self._before
        since = self._now
        if before is not None and before.state == state:
            since = min(before.since_us, self._now)
        finding = Finding(
            self._asked.integration, self._monitor.name, state, self._now, since,
            self._asked.release, self._monitor, why, measured, self._beyond_us, self._blind_us,
            "" if self._firing is None else self._firing.id,
            "" if self._blind is None else self._blind.id,
            self._fine_us, 0 if before is None else before.revision,
        )  # fmt: skip
        return Judged(finding, tuple(self._opened), tuple(self._changed), tuple(self._resolved))

    def _told(self, measured: Measured, why: str) -> FindingState:
        value = measured.value
        if value is None or measured.count < self._monitor.least:
            return "too few"  # an open alert stays open: nothing says that it is fine
        if self._firing is not None:
            return self._goes_on(self._firing, measured, value, why)
        if not measured.beyond:
            return "fine"
        self._beyond_us = self._since("beyond_us", self._now)
        if self._now - self._beyond_us < self._monitor.for_s * 1e6:
            return "waiting"
        self._firing = self._open("firing", why, measured)
        return "firing"

    def _goes_on(self, alert: Alert, measured: Measured, value: float, why: str) -> FindingState:
        self._beyond_us = self._since("beyond_us", self._now)
        worse = max if self._monitor.above is not None else min
        worst = value if alert.worst is None else worse(alert.worst, value)
        if worst != alert.worst:
            alert = self._firing = msgspec.structs.replace(alert, worst=worst)
            self._changed.append(alert)
        if measured.beyond or not self._monitor.fine(value):
            return "firing"
        self._fine_us = self._since("fine_us", self._now)
        if self._now - self._fine_us < self._monitor.cooldown_s * 1e6:
            return "cooling"
        self._end(alert, why)
        self._firing = None
        self._beyond_us = self._fine_us = 0
        return "fine"

    def _not_told(self, why: str) -> None:
        self._beyond_us = self._since("beyond_us", 0) if self._firing is not None else 0
        self._blind_us = self._since("blind_us", self._now)
        again = self._before is not None and self._before.state == "cannot tell"
        patient = self._now - self._blind_us < BLIND_LEAST_S * 1e6
        patient = patient and self._monitor.every_s < BLIND_LEAST_S
        if self._blind is None and again and not patient:
            self._blind = self._open("cannot tell", f"cannot tell {title(self._monitor)}: {why}")

    def _see(self) -> None:
        """It can tell again."""
        if self._blind is not None:
            blind_s = max(1.0, (self._now - self._blind.opened_us) / 1e6)
            self._end(self._blind, f"it can tell again, after {duration_text(blind_s)}")
            self._blind = None

    def _since(self, field: str, otherwise: int) -> int:
        """Since when a thing is so; what lies ahead was written by a clock that was."""
        known = getattr(self._before, field) if self._same else 0
        return min(known, self._now) if known else otherwise

    def _open(self, kind: AlertKind, why: str, measured: Measured | None = None) -> Alert:
        monitor = self._monitor
        deeds = tuple(Deed(one) for one in monitor.then if one != "alert")
        alert = Alert(
            self._asked.new_id(), self._asked.integration, monitor.name, kind, "open",
            monitor.severity, self._asked.release, self._now, why, monitor, measured,
            None if measured is None else measured.value, deeds if kind == "firing" else (),
        )  # fmt: skip
        self._opened.append(alert)
        return alert

    def _end(self, alert: Alert, why: str) -> None:
        self._changed = [one for one in self._changed if one.id != alert.id]
        self._resolved.append(resolved(alert, why, self._now))


def resolved(alert: Alert, why: str, now_us: int) -> Alert:
    """An alert that ends; what it wanted done and was not is not done any more."""
    deeds = tuple(
        msgspec.structs.replace(one, state="refused", at_us=now_us, detail=f"not done: {why}")
        if one.state == "wanted"
        else one
        for one in alert.deeds
    )
    return msgspec.structs.replace(
        alert, state="resolved", resolved_us=max(now_us, alert.opened_us), resolved_why=why,
        deeds=deeds,
    )  # fmt: skip
