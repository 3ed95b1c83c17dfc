"""A ledger with releases and monitors, a scripted figure, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.app.clock import Ids
from splice.core.alerts import Alert, Finding, Measured
from splice.core.errors import StoreError
from splice.core.monitors import Action, PinnedMonitor
from splice.core.release import Manifest, PinnedRoute, Release
from splice.monitor.rounds import Do, Rounds, Route, Telling
from splice.ports.alerts import AlertFilter

MIN_US = 60_000_000
HOUR_US = 60 * MIN_US
NOW_US = 1_795_000_000_000_000
RULE = PinnedRoute("rule:score", "rule", 0, 1.0, "score source 1", function="score")


def monitor(name: str = "share errors", **changes: object) -> PinnedMonitor:
    """A monitor of the share of errors, above 2 %, at once."""
    plain = PinnedMonitor(
        name=name, kind="share", figure="errors", window_s=600.0, every_s=60.0, for_s=0.0,
        cooldown_s=300.0, least=10, severity="warning", then=("alert",), above=0.02, clear=0.018,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def manifest(*monitors: PinnedMonitor, name: str = "credit", bundle: str = "a") -> Manifest:
    """What a release of one rule pins."""
    routes = (msgspec.structs.replace(RULE, version=f"score source {bundle}"),)
    return Manifest(
        name, "m:C", bundle * 64, "Score.", "limited", 1.0, routes, {}, {}, monitors=monitors
    )


class House:
    """One ledger, as two processes see it.

    `value` is what every monitor measures, or `values` by name of the monitor; an exception is
    raised instead.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        self.ledger: Ledger = open_ledger(url or f"sqlite:///{folder}/ledger.db", folder / "blobs")
        self.now = NOW_US
        self.value: float | Exception | None = 0.01
        self.values: dict[str, float | Exception | None] = {}
        self.count = 100
        self.asked: list[str] = []
        self.telling = Telling((Route("oncall"),))
        self.deeds: Mapping[Action, Do] = {}

    def apply(self, *monitors: PinnedMonitor, name: str = "credit", bundle: str = "a") -> int:
        """A release with these monitors, which is live."""
        made = self.ledger.releases.add_release(
            manifest(*monitors, name=name, bundle=bundle), by="ada", why="", now_us=self.now
        )
        return made.number

    def rounds(self) -> Rounds:
        """A process that goes round."""
        ledger = self.ledger
        return Rounds(
            ledger.alerts, ledger.releases, self._measure, self.telling, self.deeds, Ids().new
        )

    def _measure(self, asked: PinnedMonitor, release: Release, now_us: int) -> Measured:
        self.asked.append(asked.name)
        value = self.values.get(asked.name, self.value)
        if isinstance(value, Exception):
            raise value
        beyond = value is not None and asked.beyond(value)
        return Measured(value, self.count, now_us - 600_000_000, now_us, beyond=beyond)

    def after(self, minutes: float, *values: float | Exception | None) -> str:
        """Looks every so many minutes, once for each value; the state of the first monitor then."""
        for value in values or (self.value,):
            self.now += round(minutes * MIN_US)
            self.value = value
            self.rounds().look(self.now)
        return self.findings[0].state if self.findings else ""

    @property
    def findings(self) -> list[Finding]:
        return self.ledger.alerts.findings()

    def alerts(self, state: str | None = None) -> list[Alert]:
        found = self.ledger.alerts.alerts(AlertFilter())
        return [one for one in reversed(found) if state in (None, one.state)]

    @property
    def notes(self) -> list[tuple[str, str]]:
        """Kind of each piece of news that waits, with its monitor."""
        names = {one.id: one.monitor for one in self.alerts()}
        waiting = self.ledger.alerts.waiting_notes(["oncall", "mail"])
        return [(one.kind, names[one.alert]) for one in waiting]

    def close(self) -> None:
        self.ledger.close()


AWAY = StoreError("profiles", got="nothing that is there")
