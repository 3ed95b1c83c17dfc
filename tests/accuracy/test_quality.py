"""Quality as pages ask for it: what is known, what is awaited, and what is left out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Outcome, Record
from splice.core.quality import Quality, QualityWanted
from splice.core.release import PinnedRollout, PinnedRoute, Variant
from splice.core.rollups import Window
from splice.core.truths import PinnedTruth, Task
from splice.monitor.accuracy import maturity_text, over_time, quality, usual_window
from splice.monitor.labelling import Labeller
from splice.monitor.rolling import Roller
from splice.testing.contracts.records import NOON_MS, simple_record
from splice.testing.contracts.releases import add, manifest

DAY_US = 86_400_000_000
DAY_0_US = NOON_MS * 1000 // DAY_US * DAY_US  # midnight, UTC
DEFAULTED = PinnedTruth(
    "defaulted", Task.CLASSIFICATION, 40 * 86_400.0, 40 * 86_400.0, positive=(True,),
    predicted="reply.action", foretold=("decline",), segments=("purpose",),
)  # fmt: skip
LOSSY = msgspec.structs.replace(DEFAULTED, absent=False)


class House:
    """A ledger whose calls and outcomes are told day by day."""

    def __init__(self, ledger: Ledger, *truths: PinnedTruth) -> None:
        self.ledger = ledger
        self.rng = random.Random(5)
        self.roller = Roller(ledger.rollups)
        self.labeller = Labeller(ledger.labels, ledger.releases)
        self.release(*truths)

    def release(self, *truths: PinnedTruth, **changed: Any) -> int:
        made = msgspec.structs.replace(manifest(), truths=truths, **changed)
        return add(self.ledger.releases, made).number

    def call(self, day: float, outcome: bool | None = None, **changed: Any) -> Record:
        """A call of that day, with its outcome a day later."""
        record = simple_record(self.rng)
        record.asked_us = DAY_0_US + round(day * DAY_US)
        record.release, record.entity, record.variant = 1, None, "champion"
        chance = changed.pop("chance", 0.2)
        record.prediction = msgspec.json.encode({"score": chance})
        action = "decline" if chance >= 0.5 else "approve"
        record.reply = msgspec.json.encode({"action": action})
        record.input = msgspec.json.encode({"purpose": changed.pop("purpose", "car")})
        record = msgspec.structs.replace(record, **changed)
        self.ledger.records.append([record])
        if outcome is not None:
            self.outcome(record, outcome)
        return record

    def outcome(self, record: Record, value: bool | float | str, after_us: int = DAY_US) -> None:
        told = Outcome("credit", "defaulted", value, record.asked_us + after_us, record.call_id)
        self.ledger.outcomes.append_outcomes([told], told.at_us)

    def quality(self, now_day: float, since: float = 0, until: float = 100, **more: Any) -> Quality:
        now_us = DAY_0_US + round(now_day * DAY_US)
        while self.roller.step(now_us):
            pass
        self.labeller.catch_up(now_us)
        window = Window(DAY_0_US + round(since * DAY_US), DAY_0_US + round(until * DAY_US))
        wanted = QualityWanted("credit", window, now_us, **more)
        return quality(self.ledger.labels, self.ledger.releases, wanted)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "blobs")
    yield ledger
    ledger.close()


@pytest.fixture
def house(ledger: Ledger) -> House:
    return House(ledger, DEFAULTED)


def value(of: Quality, name: str) -> float | None:
    found = of.figure(name)
    assert found is not None
    return found.value


def test_only_calls_whose_outcome_is_due_are_reckoned_with(house: House) -> None:
    house.call(0, outcome=True, chance=0.9)
    house.call(0, outcome=False)
    house.call(0)  # due, and not there
    house.call(30, outcome=True)  # it came early: those that do are not like the rest
    house.call(31)

    found = house.quality(now_day=42)

    counts = found.counts
    assert (counts.calls, counts.mature, counts.labelled, counts.awaited) == (5, 3, 2, 1)
    assert counts.early == 1
    assert value(found, "accuracy") == 1.0
    assert value(found, "positive_rate") == 0.5
    assert maturity_text(found) == (
        "3 of 5 calls are older than 40 d, so that their outcome is due: 2 have it, 1 (33.3%) are "
        "awaited. 1 outcome of a younger call does not count yet."
    )


def test_calls_are_due_only_when_their_whole_day_is(house: House) -> None:
    house.call(0.0, outcome=True)

    assert house.quality(now_day=40.9).counts.mature == 0
    assert house.quality(now_day=41.0).counts.mature == 1


def test_where_silence_means_no_calls_without_an_outcome_count_as_that(ledger: Ledger) -> None:
    house = House(ledger, LOSSY)
    house.call(0, outcome=True, chance=0.9)
    for _ in range(3):
        house.call(0, chance=0.1)
    house.call(0, chance=0.8)
    house.call(30, chance=0.1)

    found = house.quality(now_day=42)

    assert (found.counts.labelled, found.counts.assumed, found.counts.awaited) == (1, 4, 0)
    assert value(found, "positive_rate") == pytest.approx(0.2)
    assert value(found, "precision") == 0.5
    assert value(found, "accuracy") == pytest.approx(0.8)
    assert value(found, "auc") == 1.0


def test_an_outcome_that_cannot_be_read_is_not_taken_for_silence(ledger: Ledger) -> None:
    house = House(ledger, LOSSY)
    house.outcome(house.call(0, chance=0.9), "perhaps")
    house.call(0, outcome=True, chance=0.9)

    found = house.quality(now_day=42)

    assert (found.counts.unread, found.counts.assumed) == (1, 0)
    assert value(found, "precision") == 1.0


def test_shadows_and_those_held_out_are_beside_the_whole_and_not_in_it(house: House) -> None:
    first = house.call(0, outcome=True, chance=0.9)
    house.call(0, chance=0.1, variant="shadow", shadow_of=first.call_id)
    house.call(0, outcome=False, variant="holdout")
    house.call(0, outcome=False, variant="challenger")

    found = house.quality(now_day=50, by="variant")

    assert [one.of for one in found.parts] == ["challenger", "champion", "holdout", "shadow"]
    assert found.counts.labelled == 4
    assert house.quality(now_day=50).counts.labelled == 2
    shadow = house.quality(now_day=50, variant="shadow")
    assert (shadow.counts.labelled, value(shadow, "recall")) == (1, 0.0)


def test_releases_stand_side_by_side_and_one_without_calls_is_no_part(house: House) -> None:
    house.release(DEFAULTED, purpose="Lend more.")
    third = house.release(DEFAULTED, purpose="Lend less.")
    house.call(0, outcome=True, chance=0.9)
    house.call(1, outcome=True, chance=0.1, release=third)

    found = house.quality(now_day=50, by="release")

    assert [(one.of, value(one, "accuracy")) for one in found.parts] == [("1", 1.0), ("3", 0.0)]
    nothing = house.quality(now_day=50, release=2)
    assert nothing.counts.calls == 0
    assert all(one.value is None and one.why for one in nothing.figures)
    assert maturity_text(nothing) == "No calls in this window, of releases that declare this truth."


def test_a_release_whose_truth_is_another_is_left_out_and_named(house: House) -> None:
    house.call(0, outcome=True)
    second = house.release(
        msgspec.structs.replace(DEFAULTED, positive=("yes",)), purpose="Lend otherwise."
    )
    house.call(1, outcome=None, release=second)

    found = house.quality(now_day=50)

    assert found.counts.calls == 1
    assert "Left out: releases whose truth is another (1)." in found.notes


def test_days_and_segments_are_parts(house: House) -> None:
    house.call(0, outcome=True, chance=0.9, purpose="car")
    house.call(2.5, outcome=True, purpose="house")
    house.call(2.9, outcome=False, purpose="car")

    days = house.quality(now_day=50, by="day").parts
    segments = house.quality(now_day=50, by="segment")

    assert [(one.of, one.counts.labelled) for one in days] == [("2026-11-05", 1), ("2026-11-07", 2)]
    assert [(one.of, one.counts.labelled) for one in segments.parts] == [
        ("purpose=car", 2), ("purpose=house", 1),
    ]  # fmt: skip
    assert segments.counts.labelled == 3
    assert house.quality(now_day=50, segment="purpose=house").counts.labelled == 1
    window = Window(DAY_0_US, DAY_0_US + 9 * DAY_US)
    wanted = QualityWanted("credit", window, DAY_0_US + 50 * DAY_US)
    assert over_time(house.ledger.labels, house.ledger.releases, wanted) == list(
        house.quality(now_day=50, until=9, by="day").parts
    )


def test_a_window_is_widened_to_whole_days_of_utc(house: House) -> None:
    """Midnight in Berlin is 23:00 UTC of the day before, and 22:00 in summer."""
    house.call(0.01, outcome=True)
    house.call(1.99, outcome=True)
    house.call(2.0, outcome=True)

    found = house.quality(now_day=50, since=0.96, until=1.96)

    assert found.window == Window(DAY_0_US, DAY_0_US + 2 * DAY_US)
    assert found.counts.labelled == 2


@pytest.mark.parametrize(("matures_s", "bucket_s"), [(600.0, 300), (7200.0, 3600)])
def test_a_quick_truth_is_counted_in_shorter_stretches(
    ledger: Ledger, matures_s: float, bucket_s: int
) -> None:
    house = House(ledger, msgspec.structs.replace(DEFAULTED, matures_s=matures_s))
    bucket = bucket_s / 86_400
    house.call(0)
    house.call(bucket)

    found = house.quality(now_day=bucket + matures_s / 86_400, until=2 * bucket)

    assert found.bucket_s == bucket_s
    assert (found.counts.calls, found.counts.mature) == (2, 1)
    assert house.quality(now_day=9, until=bucket).counts.calls == 1


def test_what_came_early_can_be_reckoned_with_and_is_said(house: House) -> None:
    house.call(30, outcome=True, chance=0.9)
    house.call(30, outcome=False)

    found = house.quality(now_day=42, early=True)

    assert (found.counts.mature, found.counts.early) == (0, 2)
    assert value(found, "accuracy") == 1.0
    assert "those that come early are not like the rest" in found.notes[0]


def test_the_newest_calls_that_are_due_can_be_asked_for(house: House) -> None:
    house.call(0, outcome=True)
    house.call(35, outcome=True)

    due = house.quality(now_day=45, since=15, until=45, due=True)

    assert (due.counts.calls, due.counts.mature) == (1, 1)
    assert due.window == Window(DAY_0_US - 25 * DAY_US, DAY_0_US + 5 * DAY_US)


def test_contradicting_unreadable_and_future_outcomes_are_said(house: House) -> None:
    twice = house.call(0, outcome=True)
    house.outcome(twice, False, 2 * DAY_US)
    house.outcome(twice, False, 2 * DAY_US)
    house.outcome(house.call(0), "perhaps")
    house.outcome(house.call(0), True, 60 * DAY_US)

    found = house.quality(now_day=50)

    counts = found.counts
    assert (counts.mature, counts.labelled, counts.unread, counts.awaited) == (3, 1, 1, 1)
    assert counts.contradicted == 1
    assert value(found, "positive_rate") == 0.0  # the latest counts
    assert "1 outcome is of the future, and counts when its time has come." in found.notes
    assert house.quality(now_day=61).counts.labelled == 2


def test_calls_that_foretold_nothing_are_told(house: House) -> None:
    house.call(0, outcome=True, reply=b"{}", prediction=None)
    house.call(0, outcome=True, reply=b"not json", prediction=b"null")

    found = house.quality(now_day=50)

    assert (found.counts.labelled, found.counts.unscored) == (2, 2)
    accuracy = found.figure("accuracy")
    assert accuracy is not None
    assert accuracy.why == "nothing was foretold: name where it is with predicted="
    assert value(found, "positive_rate") == 1.0


def test_without_a_truth_or_an_integration_it_says_what_to_declare(ledger: Ledger) -> None:
    house = House(ledger)
    house.call(0)

    assert house.quality(now_day=50).notes == (
        "No truth is declared: truth = splice.Truth(…) says what is right.",
    )
    assert house.quality(now_day=50, outcome="paid").outcome == ""
    wanted = QualityWanted("nobody", Window(0, 1), 1)
    assert quality(ledger.labels, ledger.releases, wanted).counts.calls == 0


def test_the_usual_window_holds_calls_whose_outcome_is_due(house: House) -> None:
    found = usual_window(house.ledger.releases, "credit", "", DAY_0_US)

    assert found == Window(DAY_0_US - 70 * DAY_US, DAY_0_US)


def test_calls_without_an_outcome_are_estimated_by_the_past_of_their_model(house: House) -> None:
    for n in range(240):
        chance = (n % 20 + 0.5) / 20
        house.call(n % 10, outcome=house.rng.random() < chance, chance=chance)
    for n in range(60):
        house.call(45, chance=(n % 20 + 0.5) / 20)

    found = house.quality(now_day=60)

    assert found.estimated is not None
    assert found.estimated.estimate
    assert not found.estimate
    assert found.estimated.counts.calls == 60
    accuracy = found.estimated.figure("accuracy")
    assert accuracy is not None
    assert accuracy.value == pytest.approx(0.75, abs=0.06)
    assert "cannot see concept drift" in found.estimated.notes[0]
    assert house.quality(now_day=60, estimates=False).estimated is None


def test_another_model_is_not_calibrated_by_the_past_of_this_one(house: House) -> None:
    for n in range(240):
        chance = (n % 20 + 0.5) / 20
        house.call(n % 10, outcome=house.rng.random() < chance, chance=chance)
    other = PinnedRoute("model:credit", "model", 0, 0.1, "credit@4")
    rollout = PinnedRollout("salt", (Variant("challenger", 5000, (other,)),))
    second = house.release(DEFAULTED, rollout=rollout)
    for n in range(60):
        variant = "challenger" if n % 2 else "champion"
        house.call(45, chance=(n % 20 + 0.5) / 20, release=second, variant=variant)

    parts = house.quality(now_day=60, since=45, by="variant").parts

    told = {}
    for one in parts:
        assert one.estimated is not None
        told[one.of] = value(one.estimated, "accuracy") is not None
    assert told == {"challenger": False, "champion": True}
