"""What every LabelStore must hold to.

Inherit `LabelStoreContract` and give it the fixtures `records`, `outcomes`, `releases`, `rollups`
and `labels`: empty stores of one ledger. Calls get to the labels when they enter the rollups.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from splice.core.call import Outcome, Record, Status
from splice.core.truths import PinnedTruth, Task
from splice.ports.labels import Label, LabelStore, Scored, Tallied, TallyKey
from splice.ports.rollups import Rolled, RollupStore
from splice.ports.stores import OutcomeStore, RecordStore, ReleaseStore
from splice.testing.contracts.records import NOON_MS, simple_record
from splice.testing.contracts.releases import add, manifest

NOON_US = NOON_MS * 1000
DEFAULTED = PinnedTruth("defaulted", Task.CLASSIFICATION, 60.0, 60.0, positive=(True,))
KEY = TallyKey("credit", "defaulted", 300, 1, "champion")


class _Stop(Exception):
    """Ends a turn in its middle."""


def call(rng: random.Random, **changed: object) -> Record:
    """An answered call of release 1."""
    record = simple_record(rng)
    record.release, record.entity = 1, None
    return msgspec.structs.replace(record, **changed)


def scored_of(record: Record, **changed: object) -> Scored:
    """What a call foretold."""
    one = Scored(
        record.call_id, record.integration, "defaulted", 1, "champion", record.asked_us, 300,
        entity=record.entity, segments=("purpose=car",), score=0.25, predicted=True,
        shadow_of=record.shadow_of,
    )  # fmt: skip
    return msgspec.structs.replace(one, **changed)


def told(about: Record | str, at_us: int, value: bool = True, name: str = "defaulted") -> Outcome:
    """An outcome that names a call, or an entity."""
    if isinstance(about, str):
        return Outcome("credit", name, value, at_us, entity=about)
    return Outcome("credit", name, value, at_us, call_id=about.call_id)


class LabelStoreContract:
    """What waits is taken off once, and what a turn does happens as a whole or not at all."""

    @pytest.fixture(autouse=True)
    def _truth(self, releases: ReleaseStore) -> None:
        add(releases, msgspec.structs.replace(manifest(), truths=(DEFAULTED,)))
        add(releases, manifest(purpose="Nothing tells whether it is right."))

    @staticmethod
    def enter(records: RecordStore, rollups: RollupStore, some: Sequence[Record]) -> None:
        """Record calls, and let them enter the rollups."""
        records.append(some)
        while batch := rollups.take(4096):
            assert rollups.add(batch, Rolled(), lambda one, _: one)

    def test_answered_calls_of_a_release_with_a_truth_wait_until_they_are_taken_off(
        self, records: RecordStore, rollups: RollupStore, labels: LabelStore
    ) -> None:
        rng = random.Random(1)
        mine = [call(rng) for _ in range(70)]
        others = [call(rng, release=2), call(rng, status=Status.FAILED), call(rng, release=9)]

        assert labels.new_calls(10) is None
        self.enter(records, rollups, [*mine, *others])
        first, second = labels.new_calls(1000), labels.new_calls(1000)

        assert first is not None
        assert second is not None
        assert {one.call_id: one for one in first.records} == {one.call_id: one for one in mine}
        with labels.turn() as turn:
            assert turn.drop_calls(first)
        with labels.turn() as turn:
            assert not turn.drop_calls(second)
        assert labels.new_calls(1000) is None

    def test_a_turn_that_fails_did_nothing(
        self, records: RecordStore, rollups: RollupStore, labels: LabelStore
    ) -> None:
        record = call(random.Random(1))
        self.enter(records, rollups, [record])
        new = labels.new_calls(10)
        assert new is not None

        def turn_that_stops() -> None:
            with labels.turn() as turn:
                assert turn.drop_calls(new)
                turn.put_labels([Label(scored_of(record), True, NOON_US)])
                turn.put_tallies([Tallied(KEY, b"asked", b"told")])
                raise _Stop

        with pytest.raises(_Stop):
            turn_that_stops()

        assert labels.new_calls(10) == new
        assert labels.labels([record.call_id]) == []
        assert labels.tallied(("credit", "defaulted"), 0, 10**10) == []

    def test_outcomes_wait_for_their_time_and_until_they_are_joined(
        self, outcomes: OutcomeStore, labels: LabelStore
    ) -> None:
        rng = random.Random(1)
        past, future = told(call(rng), NOON_US), told(call(rng), NOON_US + 50)
        outcomes.append_outcomes([future, past, past], NOON_US)
        outcomes.append_outcomes([past], NOON_US)

        first = labels.new_outcomes(NOON_US, 10)
        waiting = labels.waiting("credit", "defaulted", NOON_US)
        with labels.turn() as turn:
            turn.drop_outcomes(first)
            turn.drop_outcomes(first)

        assert [one.outcome for one in first] == [past]
        assert waiting == (1, 1)
        assert labels.new_outcomes(NOON_US + 49, 10) == []
        assert [one.outcome for one in labels.new_outcomes(NOON_US + 50, 10)] == [future]
        assert labels.waiting("credit", "defaulted", NOON_US + 50) == (1, 0)
        assert labels.waiting("credit", "paid", NOON_US + 50) == (0, 0)

    def test_how_far_an_outcome_was_joined_is_noted_by_one_only(
        self, outcomes: OutcomeStore, labels: LabelStore
    ) -> None:
        rng = random.Random(1)
        one, two = call(rng), call(rng)
        outcomes.append_outcomes([told("anna", NOON_US)], NOON_US)
        (new,) = labels.new_outcomes(NOON_US, 10)

        with labels.turn() as turn:
            first = turn.note_outcome(new, (5, one.call_id))
        with labels.turn() as turn:
            again = turn.note_outcome(new, (6, two.call_id))

        (noted,) = labels.new_outcomes(NOON_US, 10)
        assert (first, again) == (True, False)
        assert noted.after == (5, one.call_id)

    def test_calls_of_an_entity_come_in_the_order_of_time_and_page_by_page(
        self, records: RecordStore, outcomes: OutcomeStore, labels: LabelStore
    ) -> None:
        rng = random.Random(1)
        anna = [call(rng, entity="anna", asked_us=NOON_US + n * 1_000_000) for n in range(6)]
        records.append([
            *anna,
            call(rng, entity="ben", asked_us=NOON_US),
            call(rng, entity="anna", asked_us=NOON_US, status=Status.FAILED),
            call(rng, entity="anna", asked_us=NOON_US, integration="triage"),
        ])  # fmt: skip
        outcomes.append_outcomes([told("anna", NOON_US + 4_000_000)], NOON_US)
        (new,) = labels.new_outcomes(NOON_US * 2, 10)

        page = labels.calls_of_entity(new, 3.0, 2)
        new.after = (page[-1].asked_us, page[-1].call_id)
        rest = labels.calls_of_entity(new, 3.0, 10)

        assert page == anna[1:3]
        assert rest == anna[3:5]

    def test_an_outcome_that_names_a_call_finds_it_and_its_shadows(
        self, records: RecordStore, outcomes: OutcomeStore, labels: LabelStore
    ) -> None:
        rng = random.Random(1)
        record, other = call(rng), call(rng)
        shadow = call(rng, variant="shadow", shadow_of=record.call_id)
        records.append([record, other, shadow])
        with labels.turn() as turn:
            turn.put_shadows([scored_of(shadow), scored_of(record)])
            turn.put_shadows([scored_of(shadow)])
        unknown = told(call(rng), NOON_US)
        outcomes.append_outcomes([told(record, NOON_US), unknown], NOON_US)

        found = labels.calls_named(labels.new_outcomes(NOON_US, 10))

        assert {one.call_id for one in found} == {record.call_id, shadow.call_id}

    def test_outcomes_of_calls_are_those_that_happened_within_the_time(
        self, outcomes: OutcomeStore, labels: LabelStore
    ) -> None:
        rng = random.Random(1)
        record = call(rng, entity="anna", asked_us=NOON_US)
        shadow = call(rng, entity="anna", asked_us=NOON_US + 10, shadow_of=record.call_id)
        by_call = told(record, NOON_US + 90_000_000, value=False)
        soon = told("anna", NOON_US + 5)
        outcomes.append_outcomes(
            [
                by_call, soon, told("anna", NOON_US - 1), told("anna", NOON_US + 61_000_000),
                told("ben", NOON_US + 5), told("anna", NOON_US + 5, name="paid"),
            ],
            NOON_US,
        )  # fmt: skip
        both = [scored_of(record), scored_of(shadow)]

        with labels.turn() as turn:
            later = turn.outcomes_of(both, {"defaulted": 60.0}, NOON_US + 10**9)
            now = turn.outcomes_of(both, {"defaulted": 60.0}, NOON_US + 100)

        assert later == {
            (record.call_id, "defaulted"): [soon, by_call],
            (shadow.call_id, "defaulted"): [by_call],
        }
        assert now == {(record.call_id, "defaulted"): [soon]}

    @pytest.mark.parametrize(
        ("predicted", "value"),
        [(True, False), ("good\0", "bad é"), (1.5, -1e300), (("a", "b"), (0, -1)), (None, None)],
    )
    def test_a_label_is_read_back_as_it_was_put_and_replaced(
        self, labels: LabelStore, predicted: object, value: object
    ) -> None:
        record = call(random.Random(1))
        first = Label(scored_of(record), True, NOON_US)
        second = Label(scored_of(record, predicted=predicted), value, NOON_US + 1, 2)  # type: ignore[arg-type]

        with labels.turn() as turn:
            turn.put_labels([first])
            turn.put_labels([second])
            read = turn.labels_of([record.call_id])
            in_bucket = list(turn.labels_in(KEY))

        assert labels.labels([record.call_id]) == [second]
        assert read == {(record.call_id, "defaulted"): second}
        assert in_bucket == [second]

    def test_tallies_are_replaced_and_found_by_their_start_and_segment(
        self, labels: LabelStore
    ) -> None:
        later = msgspec.structs.replace(KEY, start_s=600)
        of_car = msgspec.structs.replace(KEY, segment="purpose=car")
        with labels.turn() as turn:
            turn.put_segments("credit", "defaulted", ["purpose=car"])
            turn.put_segments("credit", "defaulted", ["purpose=car"])
            turn.put_tallies([Tallied(KEY, b"a"), Tallied(later, b"b"), Tallied(of_car, b"c")])
            turn.put_tallies([Tallied(KEY, b"d", b"e")])
            read = turn.tallies([KEY, msgspec.structs.replace(KEY, release=2)])
            segments = turn.segments("credit", "defaulted")

        of = ("credit", "defaulted")
        assert segments == {"purpose=car"}
        assert read[KEY] == Tallied(KEY, b"d", b"e")
        assert [one.asked for one in read.values()] == [b"d", b""]
        assert labels.tallied(of, 0, 600) == [Tallied(KEY, b"d", b"e")]
        assert labels.tallied(of, 301, 601) == [Tallied(later, b"b")]
        assert labels.tallied(of, 0, 600, "purpose=car") == [Tallied(of_car, b"c")]
        assert labels.tallied(of, 0, 600, None) == [Tallied(of_car, b"c")]
        assert labels.tallied(("credit", "paid"), 0, 10**10) == []
