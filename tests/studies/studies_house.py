"""A ledger with an integration in a rollout or a holdout, and a world that calls it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.ids import uuid7
from splice.core.release import (
    Manifest,
    PinnedGuard,
    PinnedHoldout,
    PinnedRollout,
    PinnedRoute,
    Variant,
)
from splice.core.rollout import place
from splice.core.studies import Study
from splice.core.truths import PinnedTruth, Task
from splice.monitor.experiments import Studies

START = 1_793_880_000_000_000
DAY = 86_400_000_000
OBJECTIVE = {
    "kpi": "chargeback_rate", "outcome": "chargeback", "unit": "share of payments",
    "baseline": 0.05, "target": 0.03, "due": "2027-06-30", "value_per_unit": "EUR 4_100_000",
}  # fmt: skip
TRUTH = PinnedTruth(
    "chargeback", Task.CLASSIFICATION, matures_s=40 * 86_400, within_s=40 * 86_400,
    positive=(True,), absent=False,
)  # fmt: skip
GUARDS = (PinnedGuard("errors", worse_by=0.02), PinnedGuard("latency_p95", at_most=0.08))


def route(version: int, what: str = "") -> PinnedRoute:
    label = f"model:fraud{what}"
    return PinnedRoute(
        label, "model", 0, 1.0, f"fraud@{version}", "fraud", version, f"{version}" * 4
    )


def rollout(share: int = 5000, **changes: Any) -> PinnedRollout:
    """A rollout of the second version."""
    variant = Variant("challenger", share, (route(2, "@challenger"),))
    return msgspec.structs.replace(
        PinnedRollout("salt", (variant,), guards=GUARDS, run="1"), **changes
    )


def manifest(**changes: Any) -> Manifest:
    plain = Manifest(
        integration="fraud", entry="fraud:Fraud", bundle="0" * 64, purpose="Stop fraud.",
        risk="limited", deadline_s=1.0, routes=(route(1),), request_schema={}, reply_schema={},
        objective=OBJECTIVE, rollout=rollout(), truths=(TRUTH,),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


HOLDOUT = PinnedHoldout(
    "held", 2000, (PinnedRoute("rule:before@holdout", "rule", 0, 1.0, "before", function="b"),)
)


class World:
    """Calls of entities over some days, each with an outcome that is told days later.

    Args:
        ledger: Where they are recorded.
        rate: How probable a chargeback is, by variant and a number of the entity from 0 to 1.
    """

    def __init__(self, ledger: Ledger, rate: Callable[[str, float], float], seed: int = 1) -> None:
        self.ledger = ledger
        self.rate = rate
        self.rng = random.Random(seed)
        self.release = 0
        self.pinned: Manifest | None = None
        self._made = 0

    def apply(self, pinned: Manifest, at_us: int = START) -> None:
        """Make it live."""
        self.release = self.ledger.releases.add_release(
            pinned, by="test", why="", now_us=at_us
        ).number
        self.pinned = pinned

    def variant(self, entity: str) -> str:
        """As the engine picks it."""
        assert self.pinned is not None
        held, running = self.pinned.holdout, self.pinned.rollout
        if held is not None and place(held.salt, entity) < held.share:
            return "holdout"
        if running is not None and running.variants:
            if place(running.salt, entity) < running.variants[0].share:
                return "challenger"
            return "champion"
        return "champion" if held is not None else ""

    def call(self, entity: str | None, at_us: int, **changes: Any) -> Record:
        """A call as it is recorded."""
        self._made += 1
        record = Record(
            call_id=uuid7(at_us // 1000, self._made), integration="fraud", release=self.release,
            asked_us=at_us, duration_us=self.rng.randrange(1_000, 3_000),
            status=Status.ANSWERED, reason=Reason.FIRST, surface="http", entity=entity,
            variant=self.variant(entity or f"call-{self._made}"), cost_nano=1_000_000,
            input=b"{}",
        )  # fmt: skip
        return msgspec.structs.replace(record, **changes)

    def lives(
        self,
        units: int,
        days: float,
        calls: int = 2,
        name: str = "e",
        *,
        known_us: int | None = None,
        began_us: int = START,
    ) -> list[Record]:
        """So many entities call within the days; what comes of it by `known_us` is told."""
        records: list[Record] = []
        outcomes: list[Outcome] = []
        for number in range(units):
            entity = f"{name}-{number}"
            kind = place("kind", entity) / 10_000
            for _ in range(self.rng.randrange(1, 2 * calls)):
                at = began_us + round(self.rng.random() * days * DAY)
                record = self.call(entity, at)
                records.append(record)
                if self.rng.random() < self.rate(record.variant, kind):
                    told = at + round(self.rng.uniform(0, 39) * DAY)
                    if known_us is None or told <= known_us:
                        outcomes.append(
                            Outcome("fraud", "chargeback", True, told, call_id=record.call_id)
                        )
        records.sort(key=lambda one: one.asked_us)
        for start in range(0, len(records), 1000):
            self.ledger.records.append(records[start : start + 1000])
        for start in range(0, len(outcomes), 1000):
            self.ledger.outcomes.append_outcomes(outcomes[start : start + 1000], START)
        return records

    def studies(self, now_us: int) -> list[Study]:
        """As of now."""
        (live,) = self.ledger.releases.live()
        return Studies(self.ledger, "EUR").bring_up("fraud", live.number, now_us)

    def study(self, now_us: int) -> Study:
        """The only one."""
        (study,) = self.studies(now_us)
        return study


@contextmanager
def world(
    folder: Path, rate: Callable[[str, float], float] = lambda _, kind: 0.1 * kind
) -> Iterator[World]:
    """On an empty ledger."""
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}", folder / "blobs")
    yield World(ledger, rate)
    ledger.close()
