"""What every OutcomeStore must hold to.

Inherit `OutcomeStoreContract` and give it the fixtures `records` and `outcomes`: two empty stores
of one ledger.
"""

from __future__ import annotations

import random

import msgspec
import pytest

from splice.core.call import Outcome, Record
from splice.core.errors import StoreError
from splice.ports.stores import OutcomeStore, RecordStore
from splice.testing.contracts.records import NOON_MS, call_id, simple_record

NOON_US = NOON_MS * 1000


def outcome_of(record: Record, value: bool | float | str = True, *, after_us: int = 10) -> Outcome:
    """An outcome that names the call."""
    return Outcome(
        record.integration, "defaulted", value, record.asked_us + after_us, call_id=record.call_id
    )


def about(record: Record, outcome: Outcome) -> bool:
    """The rule by which an outcome belongs to a call."""
    if outcome.call_id is not None:
        return outcome.call_id == record.call_id
    return (
        outcome.entity is not None
        and outcome.entity == record.entity
        and outcome.integration == record.integration
        and outcome.at_us >= record.asked_us
    )


class OutcomeStoreContract:
    """The truth is stored once and finds its calls."""

    @pytest.mark.parametrize("value", [True, False, 1.0, 0.25, -1e300, "true", "", "é\n\\'"])
    def test_a_value_keeps_its_type(
        self, records: RecordStore, outcomes: OutcomeStore, value: bool | float | str
    ) -> None:
        record = simple_record(random.Random(1))
        records.append([record])

        outcomes.append_outcomes([outcome_of(record, value)], NOON_US)

        (found,) = outcomes.outcomes_of(record)
        assert found == outcome_of(record, value)
        assert type(found.value) is type(value)

    def test_a_repeated_outcome_is_stored_once(
        self, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        rng = random.Random(1)
        record = simple_record(rng)
        first, second = outcome_of(record), outcome_of(record, after_us=20)

        new = outcomes.append_outcomes([first, first, second], NOON_US)
        again = outcomes.append_outcomes([second, first], NOON_US + 99)

        assert (new, again) == (2, 0)
        assert outcomes.outcomes_of(record) == [first, second]

    def test_nothing_is_stored_where_one_cannot_be(self, outcomes: OutcomeStore) -> None:
        record = simple_record(random.Random(1))
        bad = [outcome_of(record), outcome_of(record, float("nan"))]

        with pytest.raises(StoreError):
            outcomes.append_outcomes(bad, NOON_US)

        assert outcomes.outcomes_of(record) == []
        assert outcomes.append_outcomes([], NOON_US) == 0

    def test_an_entitys_outcome_belongs_to_its_earlier_calls(
        self, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        rng = random.Random(1)
        early, late, other = (
            msgspec.structs.replace(simple_record(rng), entity=entity, asked_us=NOON_US + at)
            for entity, at in (("anna", 0), ("anna", 100), ("ben", 0))
        )
        records.append([early, late, other])
        paid = Outcome("credit", "paid", True, NOON_US + 50, entity="anna")
        elsewhere = Outcome("triage", "paid", True, NOON_US + 50, entity="anna")

        outcomes.append_outcomes([paid, elsewhere], NOON_US)

        assert outcomes.outcomes_of(early) == [paid]
        assert outcomes.outcomes_of(late) == []
        assert outcomes.outcomes_of(other) == []

    def test_an_outcome_that_names_a_call_is_of_no_other_call(
        self, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        rng = random.Random(1)
        one, two = (msgspec.structs.replace(simple_record(rng), entity="anna") for _ in range(2))
        records.append([one, two])
        named = msgspec.structs.replace(outcome_of(one), entity="anna")

        outcomes.append_outcomes([named], NOON_US)

        assert outcomes.outcomes_of(one) == [named]
        assert outcomes.outcomes_of(two) == []
        assert list(outcomes.joined("credit")) == [(one, named)]

    def test_the_outcomes_of_many_calls_are_those_of_each(
        self, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        rng = random.Random(3)
        some = [
            msgspec.structs.replace(
                simple_record(rng),
                entity=rng.choice(("anna", "ben", None)),
                integration=rng.choice(("credit", "triage")),
                asked_us=NOON_US + rng.randrange(100),
            )
            for _ in range(300)
        ]
        records.append(some)
        told = [outcome_of(record) for record in rng.sample(some, 60)]
        told += [
            Outcome(
                rng.choice(("credit", "triage")), rng.choice(("paid", "back")), at / 2,
                NOON_US + at, entity=rng.choice(("anna", "ben", "carl")),
            )
            for at in range(0, 120, 9)
        ]  # fmt: skip
        outcomes.append_outcomes(told, NOON_US)

        found = outcomes.outcomes_of_many(some)

        each = {record.call_id: outcomes.outcomes_of(record) for record in some}
        assert found == {call_id: of for call_id, of in each.items() if of}
        assert outcomes.outcomes_of_many([]) == {}

    def test_an_outcome_may_come_before_its_call_is_stored(
        self, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        record = simple_record(random.Random(1))

        outcomes.append_outcomes([outcome_of(record)], NOON_US)
        before = list(outcomes.joined("credit"))
        records.append([record])

        assert before == []
        assert list(outcomes.joined("credit")) == [(record, outcome_of(record))]

    @pytest.mark.parametrize("name", ["defaulted", "paid", None])
    def test_joined_agrees_with_a_join_in_plain_python(
        self, records: RecordStore, outcomes: OutcomeStore, name: str | None
    ) -> None:
        rng = random.Random(5)
        calls: list[Record] = []
        for _ in range(700):
            record = simple_record(rng, NOON_MS + rng.randrange(300))
            record.entity = rng.choice((None, *(f"customer-{n}" for n in range(60))))
            record.integration = rng.choice(("credit", "credit", "triage"))
            calls.append(record)
        records.append(calls)
        truth = [self._some_outcome(rng, calls) for _ in range(900)]
        truth = list({msgspec.json.encode(outcome): outcome for outcome in truth}.values())
        outcomes.append_outcomes(truth, NOON_US)
        since_us = NOON_US + 20_000

        found = list(outcomes.joined("credit", name, since_us))

        expected: list[tuple[Record, str, int]] = []
        for record in sorted(calls, key=lambda record: (record.asked_us, record.call_id)):
            if record.integration != "credit" or record.asked_us < since_us:
                continue
            for one in ("defaulted", "paid") if name is None else (name,):
                mine = [o for o in truth if about(record, o) and o.name == one]
                mine = [o for o in mine if o.integration == "credit"]
                if mine:
                    expected.append((record, one, max(o.at_us for o in mine)))
        assert [(record, o.name, o.at_us) for record, o in found] == expected
        assert all(about(record, outcome) for record, outcome in found)

    def test_two_readers_of_joined_do_not_hold_up_a_writer(
        self, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        rng = random.Random(1)
        calls = [simple_record(rng) for _ in range(40)]
        records.append(calls)
        outcomes.append_outcomes([outcome_of(record) for record in calls], NOON_US)

        first, second = outcomes.joined("credit"), outcomes.joined("credit")
        next(first)
        next(second)
        records.append([simple_record(rng)])

        assert len(list(first)) == len(list(second)) == 39

    @staticmethod
    def _some_outcome(rng: random.Random, calls: list[Record]) -> Outcome:
        call = rng.choice((None, None, rng.choice(calls).call_id, call_id(rng)))
        return Outcome(
            integration=rng.choice(("credit", "credit", "triage")),
            name=rng.choice(("defaulted", "paid")),
            value=rng.random(),
            at_us=NOON_US + rng.randrange(400_000),
            call_id=call,
            entity=rng.choice((None, f"customer-{rng.randrange(60)}")),
            source="test",
        )
