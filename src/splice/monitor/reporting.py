"""The figures of one integration in one month, from rollups, labels, studies, alerts and the audit.

Nothing here reads calls. What is known of a month changes while outcomes come; once all of them
are due, `known_us` stands still, and the same ledger gives the same figures for good.

Needs splice-ai[monitor].
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Protocol

import msgspec

from splice.core.alerts import Alert, Finding
from splice.core.audit import AuditEvent
from splice.core.errors import UnknownIntegration
from splice.core.profiles import Against, DriftQuestion, DriftReport
from splice.core.quality import Quality, QualityWanted
from splice.core.release import Release
from splice.core.rollups import Caller, Part, Totals, Tried, Wanted, Window
from splice.core.studies import Study, Worth
from splice.monitor import accuracy, traffic, value
from splice.monitor.months import Month
from splice.monitor.references import drift_of
from splice.ports.alerts import AlertFilter, AlertStore
from splice.ports.audit import AuditLog
from splice.ports.labels import LabelStore
from splice.ports.rollups import RollupStore
from splice.ports.stores import ReleaseStore
from splice.ports.studies import StudyStore

_PAGE = 1000
_EARLIER = 5  # months beside this one: half a year is a trend
_MOST_ALERTS = 500


class Ledger(Protocol):
    """The stores that a report is read from; `app.wiring.Stores` is such."""

    @property
    def releases(self) -> ReleaseStore:
        """Releases."""
        ...

    @property
    def rollups(self) -> RollupStore:
        """Rollups of calls."""
        ...

    @property
    def labels(self) -> LabelStore:
        """Labels."""
        ...

    @property
    def studies(self) -> StudyStore:
        """Studies."""
        ...

    @property
    def alerts(self) -> AlertStore:
        """Findings and alerts."""
        ...

    @property
    def audit(self) -> AuditLog:
        """Who changed what."""
        ...


class OnDay(msgspec.Struct, frozen=True):
    """What the calls of one day came to."""

    date: date
    totals: Totals


class InMonth(msgspec.Struct, frozen=True):
    """What the calls of one month came to."""

    month: Month
    totals: Totals


class MonthFigures(msgspec.Struct, frozen=True):
    """All that a report tells.

    `release` is the one that answered at the end of the month, None where there was none yet:
    then `declared` says what is declared now. `known_us` is up to when outcomes were looked at.
    `earlier` are the months before, oldest first; the last of them is the one before this.
    """

    integration: str
    month: Month
    currency: str
    known_us: int
    declared: Release
    release: Release | None
    totals: Totals
    earlier: tuple[InMonth, ...]
    days: tuple[OnDay, ...]
    routes: tuple[Part, ...]
    variants: tuple[Part, ...]
    releases: tuple[Part, ...]
    tried: tuple[Tried, ...]
    callers: tuple[Caller, ...]
    worth: Worth
    studies: tuple[Study, ...]
    quality: Quality
    quality_before: Quality
    by_release: Quality
    drift: DriftReport
    alerts: tuple[Alert, ...]
    findings: tuple[Finding, ...]
    changes: tuple[AuditEvent, ...]  # of the integration and of its models
    made: tuple[Release, ...]  # releases that were made in the month, oldest first
    waiting: int = 0  # blocks of up to 64 calls that are in no figure yet

    @property
    def before(self) -> Totals:
        """The totals of the month before."""
        return self.earlier[-1].totals

    @property
    def closed(self) -> bool:
        """Whether the month was over."""
        return self.known_us >= self.month.window.until_us


def figures_of(
    ledger: Ledger, integration: str, month: Month, now_us: int, currency: str
) -> MonthFigures:
    """The figures of a month. Blocks.

    Args:
        ledger: What is known.
        integration: Its name.
        month: Which month; one that has not ended yet is told as far as it came.
        now_us: The time, in Unix microseconds.
        currency: Of the account.

    Raises:
        UnknownIntegration: It has no release.
    """
    releases = ledger.releases.releases(integration)
    if not releases:
        raise UnknownIntegration(
            integration[:80], got="no release of that name", mend="splice release list shows them"
        )
    window = month.window
    changes = tuple(_changes(ledger.audit, integration, window.until_us))
    release = _live_at_end(releases, changes, window.until_us)
    declared = release or releases[-1]
    known_us = min(now_us, _settled_us(declared, window))
    wanted = Wanted(window, integration)
    asked = QualityWanted(integration, window, known_us)
    return MonthFigures(
        integration=integration, month=month, currency=currency, known_us=known_us,
        declared=declared, release=release,
        totals=traffic.totals(ledger.rollups, wanted),
        earlier=tuple(_earlier(ledger.rollups, integration, month)),
        days=tuple(_days(ledger.rollups, integration, month, known_us)),
        routes=tuple(traffic.breakdown(ledger.rollups, wanted, "route")),
        variants=tuple(traffic.breakdown(ledger.rollups, wanted, "variant")),
        releases=tuple(traffic.breakdown(ledger.rollups, wanted, "release")),
        tried=tuple(traffic.tried(ledger.rollups, wanted)),
        callers=tuple(traffic.callers(ledger.rollups, wanted)),
        worth=value.worth(ledger, declared, _so_far(window, known_us), currency),
        studies=tuple(_studies(ledger.studies.studies(integration), window, now_us)),
        quality=accuracy.quality(ledger.labels, ledger.releases, asked),
        quality_before=accuracy.quality(
            ledger.labels, ledger.releases,
            QualityWanted(integration, month.before.window, known_us),
        ),
        by_release=accuracy.quality(
            ledger.labels, ledger.releases, msgspec.structs.replace(asked, by="release")
        ),
        drift=_drift(ledger.rollups, integration, month),
        alerts=tuple(ledger.alerts.alerts(_alerts_of(integration, window))),
        findings=tuple(_findings(ledger.alerts, integration, window, now_us)),
        changes=tuple(_all_changes(ledger.audit, declared, changes, window)),
        made=tuple(
            one for one in reversed(releases)
            if window.since_us <= one.created_us < window.until_us
        ),
        waiting=ledger.rollups.waiting(),
    )  # fmt: skip


def _settled_us(release: Release, window: Window) -> int:
    """From when on all outcomes of the month are due."""
    slowest = max((one.matures_s for one in release.manifest.truths), default=0.0)
    return window.until_us + round(slowest * 1e6)


def _so_far(window: Window, known_us: int) -> Window:
    """Of a month that is not over, so much of it as there was."""
    return Window(window.since_us, max(window.since_us, min(window.until_us, known_us)))


def _studies(all_of_them: list[Study], window: Window, now_us: int) -> Iterator[Study]:
    """Those of which calls came in the month."""
    for one in all_of_them:
        if one.since_us < window.until_us and (one.until_us or now_us) >= window.since_us:
            yield one


def _alerts_of(integration: str, window: Window) -> AlertFilter:
    return AlertFilter(
        integration=integration, since_us=window.since_us, until_us=window.until_us,
        limit=_MOST_ALERTS,
    )  # fmt: skip


def _findings(alerts: AlertStore, integration: str, window: Window, now_us: int) -> list[Finding]:
    """How the monitors stand; of a month that is over it is not told: it is today's."""
    return alerts.findings(integration) if now_us < window.until_us else []


def _days(store: RollupStore, integration: str, month: Month, known_us: int) -> Iterator[OnDay]:
    for day in month.days:
        if day.window.since_us < known_us:
            yield OnDay(day.date, traffic.totals(store, Wanted(day.window, integration)))


def _earlier(store: RollupStore, integration: str, month: Month) -> list[InMonth]:
    months = [month.before]
    while len(months) < _EARLIER:
        months.append(months[-1].before)
    return [
        InMonth(one, traffic.totals(store, Wanted(one.window, integration)))
        for one in reversed(months)
    ]


def _drift(store: RollupStore, integration: str, month: Month) -> DriftReport:
    against = Against("window", month.before.window)
    return drift_of(store, DriftQuestion(integration, month.window, against))


def _changes(audit: AuditLog, integration: str, until_us: int) -> Iterator[AuditEvent]:
    """What was done to an integration, or a model and its versions, until then; oldest first."""
    number = 0
    while page := audit.events(subject=integration, since=number, limit=_PAGE):
        for event in page:
            number = event.number
            if event.at_us < until_us:
                yield event
        if len(page) < _PAGE:
            return


def _all_changes(
    audit: AuditLog, release: Release, own: tuple[AuditEvent, ...], window: Window
) -> list[AuditEvent]:
    """What was done in the month to the integration, and to the models of its routes."""
    models = sorted({one.model for one in release.manifest.routes if one.model})
    of_models = [one for name in models for one in _changes(audit, name, window.until_us)]
    found = {one.number: one for one in (*own, *of_models)}
    return [one for _, one in sorted(found.items()) if one.at_us >= window.since_us]


def _live_at_end(
    releases: list[Release], changes: tuple[AuditEvent, ...], until_us: int
) -> Release | None:
    """The release that answered last; by when they were made where the audit does not say."""
    by_number = {one.number: one for one in releases}
    for event in reversed(changes):
        number = event.details.get("release")
        if (
            event.subject == releases[0].integration
            and isinstance(number, int)
            and number in by_number
        ):
            return by_number[number]
    made = [one for one in releases if one.created_us < until_us]
    return made[0] if made else None
