"""Outcomes find their calls whichever comes first, and are counted once, on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from splice.adapters.ledgers.labels import Unscored
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Outcome, Record, Status
from splice.core.tallies import Tally, count_call, count_label, decode
from splice.core.truths import PinnedTruth, Task
from splice.monitor.labelling import MOST_SEGMENTS, Labeller
from splice.monitor.scoring import scored, told
from splice.ports.labels import TallyKey
from splice.testing.contracts.records import NOON_MS, simple_record
from splice.testing.contracts.releases import add, manifest

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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = request.getfixturevalue(f"{request.param}_url")
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    add(ledger.releases, msgspec.structs.replace(manifest(), truths=TRUTHS))
    yield ledger
    ledger.close()


def enter(ledger: Ledger, records: Sequence[Record]) -> None:
    """Record calls, and let them enter the rollups."""
    ledger.records.append(records)
    with ledger._database.write() as connection:
        Unscored(ledger.releases).put(connection, records)


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


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_what_a_count_by_hand_says_whatever_comes_first(
    ledger: Ledger, seed: int
) -> None:
    rng = random.Random(seed)
    calls = [call(rng) for _ in range(60)]
    calls += [call(rng, variant="shadow", shadow_of=rng.choice(calls).call_id) for _ in range(10)]
    calls += [call(rng, status=Status.FAILED, reply=None, prediction=None) for _ in range(5)]
    outcomes = [outcome(rng, calls) for _ in range(150)]
    outcomes = list({msgspec.json.encode(one): one for one in outcomes}.values())
    steps: list[Record | Outcome | None] = [*calls, *outcomes, *([None] * 15)]
    rng.shuffle(steps)
    labeller, now_us = Labeller(ledger.labels, ledger.releases), NOON_US - HOUR_US
    told_so_far: list[Outcome] = []

    for step in steps:
        if isinstance(step, Record):
            enter(ledger, [step])
        elif isinstance(step, Outcome):
            ledger.outcomes.append_outcomes([step, step], now_us)
            told_so_far.append(step)
        else:
            now_us += HOUR_US // 3
            labeller.step(now_us)
    labeller.catch_up(now_us)

    assert rounded(stored(ledger)) == rounded(by_hand(calls, told_so_far, now_us))

    later_us = NOON_US + 100 * HOUR_US
    labeller.catch_up(later_us)
    assert rounded(stored(ledger)) == rounded(by_hand(calls, told_so_far, later_us))
    assert ledger.labels.new_outcomes(later_us, 10) == []


def test_an_entity_with_many_calls_is_joined_page_by_page(ledger: Ledger) -> None:
    rng = random.Random(1)
    calls = [call(rng, entity="anna", asked_us=NOON_US + n) for n in range(1300)]
    enter(ledger, calls)
    labeller = Labeller(ledger.labels, ledger.releases)
    labeller.catch_up(NOON_US)
    paid = Outcome("credit", "defaulted", True, NOON_US + 5000, entity="anna")
    ledger.outcomes.append_outcomes([paid], NOON_US)

    assert labeller.step(NOON_US + 6000)
    (waiting,) = ledger.labels.new_outcomes(NOON_US + 6000, 10)
    labeller.catch_up(NOON_US + 6000)

    assert waiting.after == (calls[511].asked_us, calls[511].call_id)
    assert ledger.labels.new_outcomes(NOON_US + 6000, 10) == []
    labels = ledger.labels.labels([one.call_id for one in calls])
    assert len(labels) == 1300


def test_a_number_far_too_large_is_gone_once_it_is_corrected(ledger: Ledger) -> None:
    rng = random.Random(1)
    calls = [call(rng, asked_us=NOON_US + n, variant="champion") for n in range(20)]
    enter(ledger, calls)
    labeller = Labeller(ledger.labels, ledger.releases)
    told_all = [Outcome("credit", "amount", 50.0, NOON_US + 99, call_id=c.call_id) for c in calls]
    wrong = Outcome("credit", "amount", 1e300, NOON_US + 100, call_id=calls[3].call_id)
    right = Outcome("credit", "amount", 51.0, NOON_US + 200, call_id=calls[3].call_id)

    for one in (told_all, [wrong], [right]):
        ledger.outcomes.append_outcomes(one, NOON_US)
        labeller.catch_up(NOON_US + HOUR_US)

    expected = by_hand(calls, [*told_all, wrong, right], NOON_US + HOUR_US)
    assert rounded(stored(ledger)) == rounded(expected)


def test_values_of_a_segment_beyond_the_most_are_counted_together(ledger: Ledger) -> None:
    rng = random.Random(1)
    calls = [
        call(rng, input=msgspec.json.encode({"purpose": f"purpose {n}"}))
        for n in range(MOST_SEGMENTS + 30)
    ]
    labeller = Labeller(ledger.labels, ledger.releases)
    for start in range(0, len(calls), 20):
        enter(ledger, calls[start : start + 20])
        labeller.catch_up(NOON_US)

    found = ledger.labels.tallied(("credit", "defaulted"), 0, 10**10, None)

    counts: dict[str, int] = {}
    for one in found:
        counts[one.key.segment] = counts.get(one.key.segment, 0) + decode(one.asked).count
    assert len(counts) == MOST_SEGMENTS + 1
    assert counts["purpose=…"] == 30


def test_a_damaged_call_does_not_stop_the_others(ledger: Ledger) -> None:
    rng = random.Random(1)
    calls = [call(rng) for _ in range(3)]
    for one in calls:
        enter(ledger, [one])
    with ledger._database.write() as connection:
        on = "" if connection.dialect.name == "sqlite" else " ON blocks"
        connection.exec_driver_sql(f"DROP TRIGGER blocks_no_update{on}")
        connection.exec_driver_sql(
            "UPDATE blocks SET body = substr(body, 1, 3) WHERE id = (SELECT min(id) FROM blocks)"
        )
    labeller = Labeller(ledger.labels, ledger.releases)

    labeller.catch_up(NOON_US)

    asked = [
        decode(one.asked).count for one in ledger.labels.tallied(("credit", "rated"), 0, 10**10)
    ]
    assert sum(asked) == 2
