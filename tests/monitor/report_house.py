"""Figures of a month, made up and whole: what a report is told in tests."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from splice.core.alerts import Alert, Deed
from splice.core.audit import AuditEvent
from splice.core.monitors import PinnedMonitor
from splice.core.profiles import ColumnDrift, DriftReport, Kind
from splice.core.quality import Counts, Measured, Quality
from splice.core.release import Manifest, PinnedRoute, Release
from splice.core.rollups import Caller, Part, Totals, Tried
from splice.core.studies import (
    ArmState,
    Effect,
    Interval,
    KpiStanding,
    SampleRatio,
    Study,
    Value,
    Worth,
)
from splice.monitor.months import Month
from splice.monitor.reporting import InMonth, MonthFigures, OnDay

MONTH = Month(date(2026, 10, 1), "Europe/Berlin")  # 31 days, one of them of 25 hours
WINDOW = MONTH.window
DAY_US = 86_400_000_000

OBJECTIVE: dict[str, Any] = {
    "kpi": "chargeback_rate", "unit": "share of payments", "baseline": 0.012, "target": 0.008,
    "due": "2027-06-30", "value_per_unit": "EUR 4_100_000", "outcome": "chargeback",
}  # fmt: skip


def manifest(**fields: Any) -> Manifest:
    """The declaration of a fraud screening."""
    made: dict[str, Any] = {
        "integration": "fraud-screening", "entry": "shop:FraudScreening", "bundle": "b",
        "purpose": "Stop card fraud before a payment is authorised", "risk": "high",
        "deadline_s": 0.1, "request_schema": {}, "reply_schema": {}, "objective": OBJECTIVE,
        "routes": (
            PinnedRoute("model:fraud", "model", 0, 0.05, "fraud@7", model="fraud", model_version=7),
            PinnedRoute("rule:velocity", "rule", 1, 0.05, "velocity_rule"),
        ),
    }  # fmt: skip
    return Manifest(**(made | fields))


def totals(calls: int, **fields: Any) -> Totals:
    """What so many calls came to."""
    failed, refused, fallbacks = calls // 200, calls // 500, calls // 40
    made: dict[str, Any] = {
        "calls": calls, "answered": calls - failed - refused, "failed": failed, "refused": refused,
        "fallbacks": fallbacks, "cached": calls // 30,
        "errors": {"exhausted": failed} if failed else {},
        "refusals": {"over_budget": refused} if refused else {},
        "cost_nano": calls * 210_000, "costed": calls, "duration_us": calls * 30_000,
        "latency_p50": 0.0124, "latency_p95": 0.0471, "latency_p99": 0.112, "attempts": calls,
    }  # fmt: skip
    return Totals(**(made | fields))


def figures(**fields: Any) -> MonthFigures:
    """A month with something of everything."""
    declared = Release(41, manifest(), WINDOW.since_us + 5 * DAY_US, "anna", "new features")
    days = tuple(
        OnDay(
            one.date,
            totals(
                38_000 + 900 * (number % 7) + 60 * number,
                latency_p95=0.045 + 0.004 * (number % 5) + (0.09 if number == 17 else 0),
            ),
        )
        for number, one in enumerate(MONTH.days)
    )
    months = [MONTH.before]
    while len(months) < 5:
        months.append(months[-1].before)
    earlier = tuple(
        InMonth(one, totals(900_000 + 60_000 * number))
        for number, one in enumerate(reversed(months))
    )
    made: dict[str, Any] = {
        "integration": "fraud-screening", "month": MONTH, "currency": "EUR",
        "known_us": WINDOW.until_us + 40 * DAY_US, "declared": declared, "release": declared,
        "totals": totals(sum(one.totals.calls for one in days), shadow=_shadows()),
        "earlier": earlier, "days": days, "routes": _routes(), "variants": (), "releases": (),
        "tried": _tried(), "callers": _callers(), "worth": _worth(), "studies": (_study(),),
        "quality": _quality(0.943), "quality_before": _quality(0.951), "by_release": Quality(
            "fraud-screening", WINDOW, parts=(
                msgspec.structs.replace(_quality(0.949), of="release 40"),
                msgspec.structs.replace(_quality(0.938), of="release 41"),
            ),
        ),
        "drift": _drift(), "alerts": (_alert(),), "findings": (), "changes": _changes(),
        "made": (declared,),
    }  # fmt: skip
    return MonthFigures(**(made | fields))


def empty() -> MonthFigures:
    """A month before anything was released, of an integration that declares nothing."""
    bare = manifest(objective={})
    declared = Release(1, bare, WINDOW.until_us + DAY_US, "anna", "")
    none = Totals()
    return figures(
        declared=declared, release=None, totals=none,
        earlier=tuple(InMonth(one.month, none) for one in figures().earlier),
        days=tuple(OnDay(one.date, none) for one in MONTH.days), routes=(), tried=(), callers=(),
        worth=Worth(Value("fraud-screening", WINDOW, "EUR", "none", causal=False,
                          why="no objective is declared")),
        studies=(), quality=Quality("fraud-screening", WINDOW),
        quality_before=Quality("fraud-screening", WINDOW),
        by_release=Quality("fraud-screening", WINDOW),
        drift=DriftReport(why="no calls with a profile"), alerts=(), changes=(), made=(),
    )  # fmt: skip


def _shadows() -> Any:
    from splice.core.rollups import Shadows

    return Shadows(calls=41_200, failed=12, cost_nano=9_100_000_000, costed=41_200)


def _routes() -> tuple[Part, ...]:
    return (
        Part("model:fraud", totals(1_190_000)),
        Part("rule:velocity", totals(31_000, latency_p50=0.0007, latency_p95=0.0011)),
        Part("", totals(9_000, latency_p50=None, latency_p95=None, latency_p99=None)),
    )


def _tried() -> tuple[Tried, ...]:
    return (
        Tried("model:fraud", "fraud@7", 1_195_000,
              {"answered": 1_164_000, "timeout": 30_000, "crashed": 1_000}, 251_000_000_000,
              1_195_000, 0.0163, 0, 0, 0),
        Tried("rule:velocity", "velocity_rule", 31_000, {"answered": 31_000}, 0, 31_000, 0.0006,
              0, 0, 0),
    )  # fmt: skip


def _callers() -> tuple[Caller, ...]:
    names = ("checkout", "app", "", *(f"partner-{number}" for number in range(1, 12)))
    return tuple(
        Caller(name, 900_000 // (at + 1), 900_000 // (at + 1), 10**9, 10, 0, 0, 0)
        for at, name in enumerate(names)
    )


def _worth() -> Worth:
    value = Value(
        "fraud-screening", WINDOW, "EUR", "holdout", causal=True,
        why="5 % of the cards were held out at random, by the same hash all month",
        moved=913.4, interval=Interval(411.0, 1_420.0), cost=257.1, effect=0.0029,
        value_per_unit=4_100_000, study="holdout:1",
    )  # fmt: skip
    standing = KpiStanding(
        "chargeback_rate", "share of payments", "chargeback", 0.0093, Interval(0.0089, 0.0098),
        calls=1_180_000, baseline=0.012, target=0.008, due="2027-06-30", on_course=True,
        told="chargeback_rate is 0.93 % of payments, on its way from 1.2 % to 0.8 %",
    )  # fmt: skip
    beside = msgspec.structs.replace(
        value, basis="baseline", causal=False, moved=1_050.0, interval=Interval(900.0, 1_210.0),
        why="the figure before the AI is declared, and what else changed since is in it too",
    )  # fmt: skip
    return Worth(value, standing, beside)


def _study() -> Study:
    return Study(
        "holdout:1", "fraud-screening", "holdout", (40, 41),
        (ArmState("holdout", 500, 20_300, 19_800, 61_000, 59_000),
         ArmState("rest", 9_500, 386_000, 380_000, 1_160_000, 1_121_000)),
        (
            Effect("outcome:chargeback", True, 0.0122, 0.0093, -0.0029, Interval(-0.0044, -0.0013),
                   (19_800, 380_000), "better", True),
            Effect("errors", False, 0.0, 0.004, 0.004, Interval(-0.001, 0.009), (19_800, 380_000),
                   "open", True),
        ),
        SampleRatio((20_300, 386_000), (20_315.0, 385_985.0), 0.92, ok=True),
        WINDOW.since_us, WINDOW.until_us,
    )  # fmt: skip


def _quality(auc: float) -> Quality:
    return Quality(
        "fraud-screening", WINDOW, "chargeback", "classification", 40 * 86400.0, 86400,
        counts=Counts(1_230_000, 1_230_000, 1_180_000, 0, 50_000),
        figures=(
            Measured("auc", auc, auc - 0.004, auc + 0.003, 1_180_000),
            Measured("precision", 0.712, 0.699, 0.725, 1_180_000),
            Measured("recall", 0.604, 0.590, 0.618, 1_180_000),
            Measured("brier", 0.0071, 0.0069, 0.0073, 1_180_000),
            Measured("positive_rate", 0.0093, 0.0089, 0.0098, 1_180_000),
        ),
    )  # fmt: skip


def _drift() -> DriftReport:
    return DriftReport(
        (
            ColumnDrift("country", Kind.WORD, "psi", 0.31, 0.29, 0.33, 0.2, 1e-9, alarm=True,
                        why="PL rose from 4.1 % to 11.8 %"),
            ColumnDrift("amount", Kind.NUMBER, "psi", 0.02, 0.018, 0.022, 0.2, 0.3,
                        why="median 41.2 -> 42.0"),
        ),
        1_230_000, 1_110_000, against="September 2026",
    )  # fmt: skip


def _alert() -> Alert:
    asked = PinnedMonitor(
        "drift-psi", "drift", "psi", 86400.0, 3600.0, 0.0, 0.0, 100, "warning", ("alert", "review"),
        above=0.25,
    )  # fmt: skip
    opened = WINDOW.since_us + 17 * DAY_US
    return Alert(
        "019b8f2e-0000-7000-8000-0123456789ab", "fraud-screening", "drift-psi", "firing",
        "resolved",
        "warning", 41, opened, "psi of country is 0.31 (0.29 to 0.33), above 0.25", asked,
        deeds=(Deed("review", "done", opened, "the integration is marked"),),
        acknowledged_us=opened + 3_600_000_000, acknowledged_by="ben",
        acknowledged_why="a campaign in Poland", resolved_us=opened + 2 * DAY_US,
    )  # fmt: skip


def _changes() -> tuple[AuditEvent, ...]:
    at = WINDOW.since_us
    return (
        AuditEvent(7, at + 4 * DAY_US, "ben", "model.promote", "fraud@7", "passed its gates"),
        AuditEvent(8, at + 5 * DAY_US, "anna", "release.live", "fraud-screening", "new features",
                   {"release": 41, "before": 40}),
        AuditEvent(9, at + 17 * DAY_US, "ben", "integration.stop", "fraud-screening",
                   "the payment provider double-sends", {"release": 41}),
        AuditEvent(10, at + 17 * DAY_US + 3_000_000_000, "ben", "integration.start",
                   "fraud-screening", "", {"release": 41}),
    )  # fmt: skip
