"""What every SubjectStore must hold to.

Inherit `SubjectStoreContract` and give it fixtures `records`, `outcomes`, `rollups`, `events`,
`queue`, `dead_letters`, `audit` and `subjects`: the empty stores of one ledger.
"""

from __future__ import annotations

import operator
import random

import msgspec

from splice.core.call import Outcome, Record
from splice.core.erasure import EXPIRED, Erasure
from splice.core.events import DeadLetter, Event, Origin, Settled
from splice.ports.audit import AuditLog
from splice.ports.events import DeadLetterStore, EventStore, QueueStore
from splice.ports.rollups import Rolled, RollupStore
from splice.ports.stores import OutcomeStore, RecordStore
from splice.ports.subjects import SubjectStore
from splice.testing.contracts.records import NOON_MS, simple_record

ADA, BEN = "hmac:" + "a" * 32, "hmac:" + "b" * 32
OWNER = b"\xc1SPL\x01" + b"a" * 16
_US = NOON_MS * 1000


def _asked(number: int, **changes: object) -> Record:
    record = simple_record(random.Random(number))
    return msgspec.structs.replace(record, **{"asked_us": _US + number, "entity": ADA, **changes})


def _roll(rollups: RollupStore) -> None:
    """Take them off as if they were counted."""
    while (batch := rollups.take(100)) is not None:
        rollups.add(batch, Rolled(), operator.add)


class SubjectStoreContract:
    """What was erased is told for good; texts that are old enough go, and nothing else does."""

    def test_a_receipt_is_kept_with_its_audit_event(
        self, subjects: SubjectStore, audit: AuditLog
    ) -> None:
        first = Erasure(ADA, 5, "ada", "letter 7", ("credit",), 1, 3, {"outcomes": 2}, False, "k")
        second = Erasure(BEN, 6, "ben", "letter 8", ("credit",))

        subjects.add_erasure(first)
        subjects.add_erasure(second)

        assert subjects.erasures() == [second, first]
        assert subjects.erasures(ADA) == [first]
        assert subjects.erasures(limit=1) == [second]
        event = audit.events()[0]
        assert (event.action, event.subject, event.by, event.why) == (
            "subject.erase", ADA, "ada", "letter 7",
        )  # fmt: skip
        assert event.details["calls"] == 3

    def test_outcomes_of_an_erased_person_go_if_they_are_texts(
        self, subjects: SubjectStore, records: RecordStore, outcomes: OutcomeStore
    ) -> None:
        mine, other = _asked(1), _asked(2, entity=BEN)
        records.append([mine, other])
        name, at = mine.integration, _US + 10
        kept = [
            Outcome(name, "paid", True, at, entity=ADA),
            Outcome(name, "amount", 3.5, at, call_id=mine.call_id),
            Outcome(name, "word", "b", at, entity=BEN),
        ]
        gone = [
            Outcome(name, "word", "a", at, entity=ADA),
            Outcome(name, "word", "a", at, call_id=mine.call_id),
        ]
        outcomes.append_outcomes([*kept, *gone], at)

        dropped = subjects.drop_traces(ADA, OWNER, [mine.call_id], [name])

        assert dropped == {"outcomes": 2}
        left = [*outcomes.outcomes_of(mine), *outcomes.outcomes_of(other)]
        assert sorted(left, key=repr) == sorted(kept, key=repr)
        assert subjects.drop_traces(ADA, OWNER, [mine.call_id], [name]) == {}

    def test_outcomes_of_other_integrations_stay(
        self, subjects: SubjectStore, outcomes: OutcomeStore
    ) -> None:
        outcomes.append_outcomes([Outcome("other", "word", "a", _US, entity=ADA)], _US)

        assert subjects.drop_traces(ADA, OWNER, [], ["credit"]) == {}

    def test_waiting_events_and_dead_letters_of_an_erased_person_go(
        self,
        subjects: SubjectStore,
        events: EventStore,
        queue: QueueStore,
        dead_letters: DeadLetterStore,
    ) -> None:
        mine = Event(Origin("queue:credit", 0, 1), b"k", b"before" + OWNER + b"after")
        other = Event(Origin("queue:credit", 0, 2), b"k", b"another's")
        letters = [
            Settled(one, dead=DeadLetter("credit", one, "bad", "at", "words", 1, _US))
            for one in (mine, other)
        ]
        events.settle(letters, now_us=_US)
        queue.put("credit", [mine, other, mine], now_us=_US)

        dropped = subjects.drop_traces(ADA, OWNER, [], ["credit"])

        assert dropped == {"dead_letters": 1, "waiting": 2}
        left = dead_letters.dead_letters(states=("dead", "dropped"))
        whole = [dead_letters.dead_letter(one.id) for one in left]
        values = {one.event.value: (one.state, one.detail) for one in whole if one is not None}
        assert values == {None: ("dropped", ""), b"another's": ("dead", "words")}
        taken = queue.take("credit", 9, "me", now_us=_US, lease_us=10**6)
        assert [one.value for one in taken] == [b"another's"]

    def test_texts_of_calls_that_are_old_enough_go_and_their_figures_stay(
        self, subjects: SubjectStore, records: RecordStore, rollups: RollupStore, audit: AuditLog
    ) -> None:
        old = [_asked(number) for number in range(3)]
        young = _asked(3)
        others = _asked(9, asked_us=_US, integration="another")
        records.append([*old, young, others])
        _roll(rollups)
        name = young.integration

        assert subjects.expire(name, _US + 3, 100, 7) == (3, False)

        for one in old:
            left = records.get(one.call_id)
            assert left is not None
            assert (left.input, left.context, left.prediction, left.reply) == (
                b"",
                None,
                None,
                None,
            )
            assert (left.entity, left.key, left.gathered, left.locked) == (None, None, (), b"")
            assert EXPIRED in left.notes
            assert (left.status, left.cost_nano, left.route) == (
                one.status,
                one.cost_nano,
                one.route,
            )
            assert [a.ended for a in left.attempts] == [a.ended for a in one.attempts]
        for one in (young, others):
            whole = records.get(one.call_id)
            assert whole is not None
            assert (whole.input, whole.entity) == (one.input, one.entity)
        (event,) = audit.events()
        assert (event.action, event.subject, event.details["calls"]) == (
            "retention.expire",
            name,
            3,
        )

    def test_retention_goes_on_where_it_ended_page_after_page(
        self, subjects: SubjectStore, records: RecordStore, rollups: RollupStore
    ) -> None:
        # Three of each microsecond.
        records.append([_asked(number, asked_us=_US + number // 3) for number in range(30)])
        _roll(rollups)
        name = _asked(0).integration
        pages: list[tuple[int, bool]] = []
        while True:
            pages.append(subjects.expire(name, _US + 8, 4, 7))
            if not pages[-1][1]:
                break

        assert sum(dropped for dropped, _ in pages) == 24
        assert all(dropped <= 6 for dropped, _ in pages)
        (expiry,) = subjects.expiries(name)
        assert (expiry.before_us, expiry.calls) == (_US + 8, 24)
        assert subjects.expire(name, _US + 8, 4, 8) == (0, False)
        assert subjects.expire(name, _US + 9, 4, 8) == (3, False)

    def test_calls_that_are_in_no_rollup_yet_keep_their_texts(
        self, subjects: SubjectStore, records: RecordStore, rollups: RollupStore
    ) -> None:
        one = _asked(1)
        records.append([one])

        assert subjects.expire(one.integration, _US + 5, 100, 7) == (0, False)
        assert subjects.expiries() == []
        _roll(rollups)

        assert subjects.expire(one.integration, _US + 5, 100, 7) == (1, False)

    def test_dead_letters_that_are_old_enough_lose_their_bodies(
        self, subjects: SubjectStore, events: EventStore, dead_letters: DeadLetterStore
    ) -> None:
        for number in (1, 2):
            event = Event(Origin("queue:credit", 0, number), b"k", b"body")
            letter = DeadLetter("credit", event, "bad", "at", "words", 1, _US + number)
            events.settle([Settled(event, dead=letter)], now_us=_US)

        assert subjects.expire_letters("credit", _US + 2) == 1
        assert subjects.expire_letters("credit", _US + 2) == 0
        assert [one.at_us for one in dead_letters.dead_letters()] == [_US + 2]
