"""A project with three integrations, and a ledger that has recorded millions of their calls."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from serve.subject import own_python
from splice.core.call import Attempt, Outcome, Problem, Reason, Record, Status, Usage
from splice.core.ids import uuid7

DAYS = 60
DAY_MS = 86_400_000
CUSTOMERS = 200_000
AT_ONCE = 2000
"""Records in one transaction."""
ANSWERED_SHARE, FALLBACK_SHARE, CACHED_SHARE = 0.995, 0.02, 0.1
OUTCOMES_OF = 10
"""One call in so many gets an outcome."""
SETTINGS = """\
[project]
modules = ["screening"]
apply = "new"

[cost]
currency = "EUR"
"""
DECLARATION = '''\
"""What the benchmark of the console shows."""

from typing import Literal

import splice


class Payment(splice.Request):
    """What is asked."""

    card: splice.Entity
    amount_eur: float
    country: str
    hour: int
    velocity: float
    age_days: float


class Decision(splice.Reply):
    """What is answered."""

    probability: float
    action: Literal["approve", "review", "block"]


def score(context):
    """A rule: it costs nothing to serve."""
    return min(0.99, context["amount_eur"] / 1000)


class _Base:
    def decide(self, payment: Payment, prediction: splice.Prediction) -> Decision:
        """What to do."""
        p = prediction.score
        return Decision(p, "block" if p > 0.9 else "review" if p > 0.6 else "approve")


class FraudScreening(_Base, splice.Integration):
    """Stop card fraud before a payment is authorised."""

    objective = splice.Objective(
        kpi="chargeback_rate", unit="share of payments", baseline=0.012, target=0.008,
        due="2027-06-30", value_per_unit="EUR 4_100_000",
    )
    truth = splice.Truth("chargeback", task="classification", matures="20 d")
    routes = [splice.Rule(score)]


class CreditDecision(_Base, splice.Integration):
    """Lend to those who pay back."""

    routes = [splice.Rule(score)]


class TicketTriage(_Base, splice.Integration):
    """Send each ticket to who can answer it."""

    routes = [splice.Rule(score)]
'''
NAMES = ("fraud-screening", "credit-decision", "ticket-triage")


def write(place: Path) -> None:
    """The project, without its ledger."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "splice.toml").write_text(SETTINGS)
    (place / "screening.py").write_text(DECLARATION)
    command = [str(own_python().parent / "splice"), "release", "apply", "--yes"]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)


def records(count: int, end_ms: int) -> Iterator[list[Record]]:
    """So many calls, spread over the days before `end_ms`, oldest first, some at a time."""
    rng = random.Random(7)
    step_ms = DAYS * DAY_MS / count
    begin_ms = end_ms - DAYS * DAY_MS
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, count))
        yield [_record(rng, begin_ms + int(n * step_ms), n / count) for n in numbers]


def outcomes(some: list[Record]) -> list[Outcome]:
    """The truth about some of these calls, a day after each."""
    return [
        Outcome(
            one.integration, "chargeback", hash(one.call_id) % 80 == 0,
            one.asked_us + DAY_MS * 1000, call_id=one.call_id,
        )
        for one in some[::OUTCOMES_OF]
        if one.integration == NAMES[0] and one.status is Status.ANSWERED
    ]  # fmt: skip


def _record(rng: random.Random, asked_ms: int, share: float) -> Record:
    name = NAMES[0] if rng.random() < 0.7 else NAMES[1] if rng.random() < 0.7 else NAMES[2]
    amount, release = round(rng.lognormvariate(4, 1 + share / 3), 2), 1 + int(share * 3)
    p = min(0.99, amount / 1000)
    body = json.dumps(
        {"card": f"card-{rng.randrange(CUSTOMERS):06d}", "amount_eur": amount,
         "country": rng.choice(("DE", "FR", "IT", "PL")), "hour": rng.randrange(24),
         "velocity": round(rng.random() * 10, 3), "age_days": round(rng.expovariate(0.01), 1)}
    ).encode()  # fmt: skip
    took = int(rng.lognormvariate(8, 0.6))
    record = Record(
        call_id=uuid7(asked_ms, rng.getrandbits(74)), integration=name, release=release,
        asked_us=asked_ms * 1000, duration_us=took, status=Status.ANSWERED, reason=Reason.FIRST,
        surface="http", caller=f"key:shop-{rng.randrange(8)}", entity=body[10:21].decode(),
        route="rule:score", version="score 1", input=body, cost_nano=12_000,
    )  # fmt: skip
    chance = rng.random()
    if chance > ANSWERED_SHARE:
        record.status, record.reason = Status.FAILED, Reason.EXHAUSTED
        record.problem = Problem("exhausted", f"{name}.routes", "no route answered")
        record.attempts = (Attempt("rule:score", "timeout", 5, took, "score 1"),)
        return record
    if chance < CACHED_SHARE:
        record.reason = Reason.CACHED
    elif chance < CACHED_SHARE + FALLBACK_SHARE:
        record.reason = Reason.FALLBACK
    usage = Usage(420, 16) if name == NAMES[2] else None
    record.attempts = (Attempt("rule:score", "answered", 5, took, "score 1", "", usage, 12_000),)
    record.prediction = b'{"value":%.4f,"score":%.4f}' % (p, p)
    action = b"block" if p > 0.9 else b"review" if p > 0.6 else b"approve"
    record.reply = b'{"probability":%.4f,"action":"%s"}' % (p, action)
    return record
