"""A project with a month behind it: releases, a rollout, calls, outcomes, drift, alerts.

What is written is what a busy month would have left in the ledger; what pages show of it is worked
out by the product itself. `python tests/console/seeded.py FOLDER [CALLS]` makes one to look at.
"""

from __future__ import annotations

import logging
import math
import random
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from splice.app import wiring
from splice.app.chore_list import chores_of
from splice.app.settings import load
from splice.app.starting import declared
from splice.core.call import (
    Attempt,
    Gathered,
    Outcome,
    Problem,
    Reason,
    Record,
    Status,
    Trace,
    Usage,
)
from splice.core.events import DeadLetter, Event, Origin, Settled
from splice.core.ids import uuid7
from splice.core.release import Release
from splice.core.rollout import place

DAY_US = 86_400_000_000
TOML = """
[project]
modules = ["integrations"]
apply = "never"
[ledger]
flush_interval_ms = 1
[providers.acme]
base_url = "http://127.0.0.1:9/v1"
api_key_env = "ACME_KEY"
[providers.acme.prices.small]
input = 0.4
output = 1.6
"""
SOURCE = '''
from typing import Literal
import splice


class Payment(splice.Request):
    card: splice.Entity
    amount_eur: float
    country: str
    device_age_days: int | None = None


class Screening(splice.Reply):
    fraud_probability: float
    action: Literal["approve", "review", "block"]


def velocity(context):
    return min(0.99, context["amount_eur"] / 4000 + (0.2 if context["country"] == "XX" else 0.0))


def boosted(context):
    return min(0.99, context["amount_eur"] / 3500)


class FraudScreening(splice.Integration):
    """Stop card fraud before a payment is authorised."""

    objective = splice.Objective(
        kpi="chargeback_rate", unit="share of payments", baseline=0.060, target=0.030,
        due="2030-06-30", value_per_unit="EUR 4_100_000", outcome="chargeback",
    )
    risk = splice.Risk.HIGH
    deadline = "100 ms"
    routes = [splice.Rule(velocity)]
    truth = splice.Truth("chargeback", matures="3 d", within="3 d")
    monitors = [
        splice.Monitor(drift="psi", above=0.2, against="7 d", window="2 d", least=50),
        splice.Monitor(latency="p95", above="400 ms", window="1 d", severity="critical"),
        splice.Monitor(share="errors", above="20 %", window="1 d"),
    ]
    # here

    def context(self, payment: Payment, look: splice.Lookup) -> dict:
        return {
            "amount_eur": payment.amount_eur, "country": payment.country,
            "device_age_days": payment.device_age_days,
        }

    def decide(self, payment: Payment, prediction: splice.Prediction) -> Screening:
        p = prediction.score
        return Screening(p, "block" if p > 0.9 else "review" if p > 0.6 else "approve")


class Ticket(splice.Request):
    customer: splice.Entity
    text: str


class Triage(splice.Reply):
    queue: Literal["billing", "technical", "unsorted"]


class SupportTriage(splice.Integration):
    """Bring each support ticket to the queue that can solve it."""

    deadline = "8 s"
    routes = [
        splice.LLM("acme/small", prompt="triage.md", timeout="6 s"),
        splice.Rule(lambda context: {"queue": "unsorted"}),
    ]
    truth = splice.Truth("helpful", task="rating", matures="1 d", good=4)
    monitors = [splice.Monitor(share="fallbacks", above="2 %", window="1 d", least=50)]

    def decide(self, ticket: Ticket, prediction: splice.Prediction) -> Triage:
        value = prediction.value
        return value if isinstance(value, Triage) else Triage(**value)


class Parcel(splice.Request):
    parcel: splice.Entity
    kilos: float


class Eta(splice.Reply):
    days: float


class DeliveryEta(splice.Integration):
    """Tell a customer the day on which the parcel comes."""

    risk = splice.Risk.MINIMAL
    routes = [splice.Rule(lambda context: 2.0 + context["kilos"] / 10)]
    truth = splice.Truth("days_taken", task="regression", predicted="days", matures="2 d")

    def decide(self, parcel: Parcel, prediction: splice.Prediction) -> Eta:
        return Eta(prediction.value)
'''
ORDERS = '''
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Risk(splice.Reply):
    risk: float


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [splice.Rule(lambda context: 0.5)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Risk:
        return Risk(prediction.score)


class Refunds(Orders):
    """Find the refunds that are not due."""
'''
PROMPT = "## system\nSort tickets.\n\n## user\n{{text}}\n"
ROLLOUT = 'rollout = splice.Rollout(challenger=splice.Rule(boosted), share="30 %")'
HOSTILE = '<script>document.title="owned"</script><img src=x onerror=document.title="owned">'


class Seeded(NamedTuple):
    """What was made: where it is, and some calls to look at."""

    folder: Path
    now_us: int
    fraud: str
    triage: str
    failed: str
    hostile: str


def seed(folder: Path, now_us: int, calls: int = 2000, days: int = 28) -> Seeded:
    """Makes the project and its month; `now_us` is the end of it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "splice.toml").write_text(TOML, "utf-8")
    (folder / "triage.md").write_text(PROMPT, "utf-8")
    services = wiring.services(load(folder))
    try:
        begin = now_us - days * DAY_US
        _apply(services, folder, SOURCE, begin, "the first")
        changed = SOURCE.replace("/ 4000", "/ 3900")
        _apply(services, folder, changed, begin + 9 * DAY_US, "sharper on large amounts")
        _apply(
            services, folder, changed.replace("# here", ROLLOUT), begin + 18 * DAY_US,
            "try the boosted score on a share",
        )  # fmt: skip
        made = _Month(services, now_us, days).make(calls)
        for dead in _dead(now_us):  # apart, so that they are numbered in this order
            services.stores.events.settle([dead], now_us=now_us)
        # What monitors look at is made by the others.
        for chore in sorted(chores_of(services), key=lambda one: "monitor" in one.name):
            while chore.do(now_us):
                pass
        return Seeded(folder, now_us, *made)
    finally:
        services.stores.close()


def _dead(now_us: int) -> list[Settled]:
    """Two events that could not be answered, the second one hostile."""
    given = (
        (
            "fraud-screening",
            "schema_mismatch",
            "amount: got 'many', expected a number",
            b"\xff\xfe",
        ),
        ("support-triage", "schema_mismatch", HOSTILE, HOSTILE.encode()),
    )
    settled: list[Settled] = []
    for number, (name, code, detail, value) in enumerate(given):
        event = Event(Origin("kafka:events", 0, number), b"k", value, (("note", HOSTILE.encode()),))
        letter = DeadLetter(name, event, code, "body", detail, 1, now_us)
        settled.append(Settled(event, dead=letter))
    return settled


def _apply(
    services: wiring.Services, folder: Path, source: str, now_us: int, why: str
) -> list[Release]:
    (folder / "integrations.py").write_text(source, "utf-8")
    found, mistakes = declared(services.settings, (), "new")
    assert not mistakes, mistakes
    plans = [services.control.plan(one, now_us=now_us) for one in found]
    return [
        services.control.apply(plan, by="mira", why=why, now_us=now_us)
        for plan in plans
        if plan.is_new
    ]


class _Month:
    def __init__(self, services: wiring.Services, now_us: int, days: int) -> None:
        self._rng = random.Random(11)
        self._stores = services.stores
        self._now_us, self._days = now_us, days
        self._releases = {
            name: self._stores.releases.releases(name)
            for name in ("fraud-screening", "support-triage", "delivery-eta")
        }
        self._outcomes: list[Outcome] = []

    def make(self, calls: int) -> tuple[str, str, str, str]:
        rng, records = self._rng, list[Record]()
        named: dict[str, str] = {}
        for number in range(calls):
            # More by day than by night, more each week; the last hours have some, too.
            ago = rng.random() ** 1.15 * self._days
            at = int(self._now_us - ago * DAY_US)
            hour = at // 3_600_000_000 % 24
            if rng.random() > 0.55 + 0.45 * math.sin((hour - 6) / 24 * 2 * math.pi):
                at = max(at - 7 * 3_600_000_000, self._now_us - self._days * DAY_US)
            make = (self._fraud, self._fraud, self._triage, self._eta)[number % 4]
            record = make(at, number)
            records.append(record)
            if record.status is Status.FAILED:
                named.setdefault("failed", record.call_id)
            elif record.reason is Reason.FALLBACK:
                named.setdefault("triage", record.call_id)
            elif record.integration == "fraud-screening" and ago > 5:
                named.setdefault("fraud", record.call_id)
        hostile = self._hostile()
        records.sort(key=lambda one: one.call_id)
        for start in range(0, len(records), 500):
            self._stores.records.append(records[start : start + 500])
        self._stores.records.append([hostile])
        self._stores.outcomes.append_outcomes(self._outcomes, self._now_us)
        return named["fraud"], named["triage"], named["failed"], hostile.call_id

    def _release(self, name: str, at: int) -> Release:
        return next(
            (one for one in self._releases[name] if one.created_us <= at), self._releases[name][-1]
        )

    def _id(self, at: int) -> str:
        return uuid7(at // 1000, self._rng.getrandbits(74))

    def _fraud(self, at: int, number: int) -> Record:
        rng = self._rng
        release = self._release("fraud-screening", at)
        late = self._now_us - at < 2.5 * DAY_US
        amount = round(rng.lognormvariate(5.1 + (1.2 if late else 0.0), 0.9), 2)
        country = rng.choice("DDDDFFNI" if not late else "DFNIXXXX")
        country = {"D": "DE", "F": "FR", "N": "NL", "I": "IT", "X": "XX"}[country]
        card = f"card-{rng.randrange(900):04}"
        rollout = release.manifest.rollout
        variant = ""
        if rollout is not None and rollout.variants:
            low = place(rollout.salt, card) < rollout.variants[0].share
            variant = "challenger" if low else "champion"
        route = release.manifest.routes[0]
        if variant == "challenger" and rollout is not None:
            route = rollout.variants[0].routes[0]
        score = min(0.99, max(0.01, amount / 3900 + rng.gauss(0.1, 0.05)))
        fraud = rng.random() < score * (0.35 if variant == "challenger" else 0.55)
        took = int(rng.lognormvariate(math.log(21_000), 0.35) * (1.5 if late else 1))
        failed = rng.random() < 0.012
        action = "block" if score > 0.9 else "review" if score > 0.6 else "approve"
        given = {"card": card, "amount_eur": amount, "country": country,
                 "device_age_days": None if rng.random() < 0.1 else rng.randrange(900)}  # fmt: skip
        context = {name: value for name, value in given.items() if name != "card"}
        record = self._record(
            "fraud-screening", release, at, took, card, given,
            context=context, route=route, variant=variant, score=score,
            reply=None if failed else {"fraud_probability": score, "action": action},
        )  # fmt: skip
        if failed:
            record = msgspec.structs.replace(
                record, status=Status.FAILED, reason=Reason.DECISION_FAILED,
                problem=Problem("decision_failed", "fraud-screening.decide", "got KeyError: limit"),
            )  # fmt: skip
        if at < self._now_us - 3 * DAY_US and rng.random() < 0.9:
            self._outcomes.append(
                Outcome("fraud-screening", "chargeback", fraud,
                        at + int(rng.random() * 2.5 * DAY_US), call_id=record.call_id,
                        source="acquirer")
            )  # fmt: skip
        return record

    def _triage(self, at: int, number: int) -> Record:
        rng = self._rng
        release = self._release("support-triage", at)
        first, last = release.manifest.routes
        customer = f"customer-{rng.randrange(600)}"
        text = rng.choice(("The invoice is wrong", "I cannot log in", "Where is my parcel?"))
        took = int(rng.lognormvariate(math.log(640_000), 0.4))
        usage = Usage(rng.randrange(300, 900), rng.randrange(8, 40), cached_tokens=256)
        nano = round(((usage.input_tokens or 0) * 0.4 + (usage.output_tokens or 0) * 1.6) * 1000)
        tries = (Attempt(first.label, "answered", 900, took - 1500, first.version, "", usage, nano,
                         took // 3),)  # fmt: skip
        reason, route = Reason.FIRST, first
        if rng.random() < 0.06:
            took = 6_001_200
            tries = (
                Attempt(first.label, "route_timeout", 900, 6_000_000, first.version,
                        "no answer within 6 s", None, None),
                Attempt(last.label, "answered", 6_000_950, 60, last.version, cost_nano=0),
            )  # fmt: skip
            reason, route, nano = Reason.FALLBACK, last, 0
        elif rng.random() < 0.1:
            reason, tries, took, nano = Reason.CACHED, (), 700, 0
        queue = "unsorted" if reason is Reason.FALLBACK else rng.choice(("billing", "technical"))
        record = self._record(
            "support-triage", release, at, took, customer, {"customer": customer, "text": text},
            route=route, reply={"queue": queue},
        )  # fmt: skip
        record = msgspec.structs.replace(
            record, attempts=tries, reason=reason, cost_nano=nano, caller="",
            prediction=msgspec.json.encode({"value": {"queue": queue}}),
            gathered=(Gathered("plan", customer, {"plan": "pro", "seats": 12}, "crm", 5400.0),),
        )  # fmt: skip
        if at < self._now_us - 1.2 * DAY_US and rng.random() < 0.4:
            rating = float(rng.choice((3, 4, 4, 5) if reason is Reason.FIRST else (1, 2, 3)))
            self._outcomes.append(
                Outcome("support-triage", "helpful", rating, at + DAY_US // 2,
                        call_id=record.call_id, source="survey")
            )  # fmt: skip
        return record

    def _eta(self, at: int, number: int) -> Record:
        rng = self._rng
        release = self._release("delivery-eta", at)
        kilos = round(rng.uniform(0.2, 20), 1)
        days = 2 + kilos / 10
        record = self._record(
            "delivery-eta", release, at, int(rng.lognormvariate(math.log(120), 0.3)),
            f"parcel-{number}", {"parcel": f"parcel-{number}", "kilos": kilos},
            route=release.manifest.routes[0], reply={"days": days}, score=days,
        )  # fmt: skip
        if at < self._now_us - 2.2 * DAY_US:
            self._outcomes.append(
                Outcome("delivery-eta", "days_taken", round(days + rng.gauss(0.2, 0.5), 2),
                        at + 2 * DAY_US, call_id=record.call_id, source="carrier")
            )  # fmt: skip
        return record

    def _hostile(self) -> Record:
        """A call whose every text is an attack on whoever reads it."""
        at = self._now_us - 7_200_000_000
        release = self._release("support-triage", at)
        record = self._record(
            "support-triage", release, at, 5000, HOSTILE, {"customer": HOSTILE, "text": HOSTILE},
            route=release.manifest.routes[1], reply={"queue": HOSTILE},
        )  # fmt: skip
        return msgspec.structs.replace(
            record, notes=(HOSTILE,), problem=Problem(HOSTILE, HOSTILE, HOSTILE), key=HOSTILE,
            gathered=(Gathered(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE, 1.0),),
            attempts=(Attempt(HOSTILE, HOSTILE, 0, 5000, HOSTILE, HOSTILE),),
        )  # fmt: skip

    def _record(
        self, name: str, release: Release, at: int, took: int, entity: str, given: dict[str, Any],
        *, route: Any, reply: Any, context: Any = None, variant: str = "",
        score: float | None = None,
    ) -> Record:  # fmt: skip
        encode = msgspec.json.encode
        prediction = None if score is None else encode({"value": score, "score": score})
        return Record(
            call_id=self._id(at), integration=name, release=release.number, asked_us=at,
            duration_us=took, status=Status.ANSWERED, reason=Reason.FIRST, surface="http",
            entity=entity, route=route.label, variant=variant, version=route.version,
            cost_nano=took * 14, input=encode(given),
            context=None if context is None else encode(context),
            attempts=(Attempt(route.label, "answered", took // 9, took * 7 // 9, route.version,
                              cost_nano=took * 14),),
            prediction=prediction, reply=None if reply is None else encode(reply),
            trace=Trace(f"{self._rng.getrandbits(128):032x}", f"{self._rng.getrandbits(64):016x}"),
        )  # fmt: skip


if __name__ == "__main__":
    import time

    logging.basicConfig(level=logging.WARNING)
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    print(seed(Path(sys.argv[1]), time.time_ns() // 1000, wanted))
