"""Outcomes find their calls whichever comes first, and are counted once, on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from labels_house import (
    HOUR_US,
    NOON_US,
    TRUTHS,
    by_hand,
    call,
    enter,
    outcome,
    rounded,
    stored,
)

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Outcome, Record, Status
from splice.core.tallies import decode
from splice.monitor.labelling import MOST_SEGMENTS, Labeller
from splice.ports.labels import NewCalls, NewOutcome
from splice.testing.contracts.releases import add, manifest


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = request.getfixturevalue(f"{request.param}_url")
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    add(ledger.releases, msgspec.structs.replace(manifest(), truths=TRUTHS))
    yield ledger
    ledger.close()


@pytest.mark.parametrize("seed", range(3))
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


class Overtaken:
    """A store whose reader is slow: another has joined meanwhile all that it read."""

    def __init__(self, ledger: Ledger, now_us: int) -> None:
        self._ledger = ledger
        self._now_us = now_us
        self.turn, self.calls_named = ledger.labels.turn, ledger.labels.calls_named
        self.calls_of_entity = ledger.labels.calls_of_entity

    def new_calls(self, limit: int) -> NewCalls | None:
        found = self._ledger.labels.new_calls(limit)
        self._another()
        return found

    def new_outcomes(self, now_us: int, limit: int) -> list[NewOutcome]:
        found = self._ledger.labels.new_outcomes(now_us, limit)
        self._another()
        return found

    def _another(self) -> None:
        Labeller(self._ledger.labels, self._ledger.releases).catch_up(self._now_us)


def test_what_another_joined_meanwhile_is_not_counted_again(ledger: Ledger) -> None:
    rng = random.Random(3)
    now_us = NOON_US + 100 * HOUR_US
    calls = [call(rng) for _ in range(40)]
    told = list(dict.fromkeys(outcome(rng, calls) for _ in range(80)))
    slow = Labeller(Overtaken(ledger, now_us), ledger.releases)  # type: ignore[arg-type]

    enter(ledger, calls)
    ledger.outcomes.append_outcomes(told[:40], now_us)
    slow.step(now_us)
    ledger.outcomes.append_outcomes(told[40:], now_us)
    slow.step(now_us)

    assert rounded(stored(ledger)) == rounded(by_hand(calls, told, now_us))


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


def test_odd_values_of_a_segment_are_counted_as_others_are(ledger: Ledger) -> None:
    rng = random.Random(1)
    odd = ["a\0b", "Grüße 你好", "", "x" * 500, None, 1.5, True, ["a"], {"b": 1}]
    calls = [
        call(rng, input=msgspec.json.encode({"purpose": value})) for value in odd for _ in range(3)
    ]
    labeller = Labeller(ledger.labels, ledger.releases)
    for one in calls:
        enter(ledger, [one])
        labeller.catch_up(NOON_US)

    found = ledger.labels.tallied(("credit", "defaulted"), 0, 10**10, None)

    counts: dict[str, int] = {}
    for one in found:
        counts[one.key.segment] = counts.get(one.key.segment, 0) + decode(one.asked).count
    assert counts == {
        "purpose=a␀b": 3, "purpose=Grüße 你好": 3, "purpose=": 3, "purpose=(missing)": 3,
        "purpose=1.5": 3, "purpose=true": 3, "purpose=…": 9,
    }  # fmt: skip


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
