"""Calls and outcomes with what must come of them, for tests of labels."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from splice.adapters.ledgers.sql import Ledger
from splice.core.call import Outcome, Record
from splice.core.tallies import Tally, count_call, count_label, decode
from splice.core.truths import PinnedTruth, Task
from splice.monitor.rolling import Roller
from splice.monitor.scoring import scored, told
from splice.ports.labels import TallyKey
from splice.testing.contracts.records import NOON_MS, simple_record

NOON_US = NOON_MS * 1000
HOUR_US = 3_600_000_000
DEFAULTED = PinnedTruth(
    "defaulted", Task.CLASSIFICATION, matures_s=7200.0, within_s=7200.0, positive=(True,),
    predicted="reply.action", foretold=("decline",), segments=("purpose",),
)  # fmt: skip
AMOUNT = PinnedTruth("amount", Task.REGRESSION, 7200.0, 3600.0, predicted="reply.amount")
CLICKED = PinnedTruth("clicked", Task.RANKING, 7200.0, 7200.0, predicted="reply.items", at=3)
RATED = PinnedTruth("rated", Task.RATING, 7200.0, 7200.0, good=4.0)
TRUTHS = (DEFAULTED, AMOUNT, CLICKED, RATED)
NAMES = [one.outcome for one in TRUTHS]


def enter(ledger: Ledger, records: Sequence[Record]) -> None:
    """Record calls, and let them enter the rollups."""
    ledger.records.append(records)
    roller = Roller(ledger.rollups)
    while roller.step(NOON_US):
        pass


def call(rng: random.Random, **changed: object) -> Record:
    """An answered call of release 1 with a chance, a decision, an amount and a list."""
    record = simple_record(rng)
    body = {
        "action": rng.choice(("approve", "decline")),
        "amount": rng.randrange(100),
        "items": rng.sample("abcdefgh", 4),
    }
    record.release = 1
    record.asked_us = NOON_US + rng.randrange(3 * HOUR_US)
    record.entity = rng.choice((None, "anna", "ben", "cleo"))
    record.input = msgspec.json.encode({"purpose": rng.choice(("car", "house"))})
    record.prediction = msgspec.json.encode({"score": round(rng.random(), 3)})
    record.reply = msgspec.json.encode(body)
    record.variant = rng.choice(("champion", "challenger"))
    return msgspec.structs.replace(record, **changed)


def outcome(rng: random.Random, calls: Sequence[Record]) -> Outcome:
    """One of any truth, that names a call or an entity."""
    name = rng.choice([*NAMES, "another"])
    value: bool | float | str = rng.choice((True, False))
    if name == "amount":
        value = float(rng.randrange(100))
    elif name == "clicked":
        value = rng.choice("abcdefghz")
    elif name == "rated":
        value = float(rng.randrange(1, 6))
    about = rng.choice(calls)
    by_call = rng.random() < 0.5
    return Outcome(
        rng.choice(("credit", "credit", "credit", "triage")),
        name,
        "not readable" if rng.random() < 0.1 else value,
        about.asked_us + rng.randrange(-HOUR_US, 4 * HOUR_US),
        call_id=about.call_id if by_call else None,
        entity=None if by_call else rng.choice(("anna", "ben", "dora")),
    )


def mine(record: Record, truth: PinnedTruth, some: Sequence[Outcome], now_us: int) -> list[Outcome]:
    """The outcomes of a call, by the rule in words, oldest first."""
    found = []
    for place, one in enumerate(some):
        if one.integration != record.integration or one.name != truth.outcome or one.at_us > now_us:
            continue
        if one.call_id is not None:
            if one.call_id in (record.call_id, record.shadow_of):
                found.append((one.at_us, place, one))
        elif one.entity is not None and one.entity == record.entity:
            until_us = record.asked_us + truth.within_s * 1e6
            found += [(one.at_us, place, one)] if record.asked_us <= one.at_us <= until_us else []
    return [one for _, _, one in sorted(found, key=lambda pair: pair[:2])]


def by_hand(
    calls: Sequence[Record], some: Sequence[Outcome], now_us: int
) -> dict[TallyKey, tuple[Tally, Tally]]:
    """What the tallies must be."""
    tallies: dict[TallyKey, tuple[Tally, Tally]] = {}
    for record in calls:
        for truth in TRUTHS:
            one = scored(record, truth)
            if one is None:
                continue
            outcomes = mine(record, truth, some, now_us)
            for segment in ("", *one.segments):
                key = TallyKey(
                    one.integration, one.outcome, one.start_s, one.release, one.variant, segment
                )
                asked, labelled = tallies.setdefault(key, (Tally(), Tally()))
                count_call(asked, truth, one.score, one.predicted)
                if outcomes:
                    value, said = told(truth, one.predicted, outcomes)
                    count_label(labelled, truth, (one.score, one.predicted), value)
                    labelled.contradicted += said > 1
    return tallies


def stored(ledger: Ledger) -> dict[TallyKey, tuple[Tally, Tally]]:
    found = {}
    for name in NAMES:
        for segment in ("", None):
            for one in ledger.labels.tallied(("credit", name), 0, 10**10, segment):
                found[one.key] = (decode(one.asked), decode(one.told))
    return found


def rounded(tallies: dict[TallyKey, tuple[Tally, Tally]]) -> dict[TallyKey, object]:
    """Sums of numbers depend on the order in their last digits, and on where they are centred."""
    found: dict[TallyKey, object] = {}
    for key, pair in tallies.items():
        plain: list[object] = []
        for one in pair:
            errors = one.errors
            sums = None
            if errors is not None and errors.count:
                sums = [
                    errors.count,
                    round(errors.e, 6),
                    round(errors.e2, 6),
                    round(errors.abs_e, 6),
                ]
                sums += [round(errors.d + errors.count * errors.pivot, 6)]
            places = one.places if one.places is not None and one.places.count else None
            plain.append(msgspec.structs.replace(one, errors=None, places=places))
            plain.append(sums)
        found[key] = plain
    return found
