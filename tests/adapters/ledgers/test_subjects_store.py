"""Erasure and retention in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import text

from splice.adapters.ledgers.review_tables import reviews
from splice.adapters.ledgers.sql import Ledger
from splice.core.call import Outcome
from splice.core.errors import StoreError
from splice.core.ids import uuid7
from splice.core.reviews import Review, Verdict
from splice.ports.events import DeadLetterStore, EventStore, QueueStore
from splice.ports.subjects import SubjectStore
from splice.testing.contracts.subjects import SubjectStoreContract, _asked

TABLES = (
    "erasures, expiries, calls, blocks, unrolled, outcomes, unjoined, audit_events, dead_letters, "
    "queued, queued_bodies, leaf_queue, reviews"
)


@pytest.fixture
def ledger(emptied_ledger: Ledger) -> Ledger:
    return emptied_ledger


@pytest.fixture
def subjects(ledger: Ledger) -> SubjectStore:
    return ledger.subjects


@pytest.fixture
def events(ledger: Ledger) -> EventStore:
    return ledger.events


@pytest.fixture
def queue(ledger: Ledger) -> QueueStore:
    return ledger.queue


@pytest.fixture
def dead_letters(ledger: Ledger) -> DeadLetterStore:
    return ledger.dead_letters


class TestSubjects(SubjectStoreContract):
    pass


def test_what_people_wrote_of_an_erased_call_goes_and_their_choice_stays(
    ledger: Ledger, subjects: SubjectStore
) -> None:
    record = _asked(1)
    verdict = Verdict("ben", 7, "override", '{"note":"CANARY"}', "wrong", "CANARY")
    review = Review(
        uuid7(1, 1), record.call_id, record.integration, 3, "decided", "reply", "why", 1, 2, 3,
        verdicts=(verdict,), decided_us=7,
    )  # fmt: skip
    body = msgspec.json.encode(review).decode()
    names = [column.name for column in reviews.c if column.name != "body"]
    values = {name: getattr(review, name) for name in names}
    with ledger._database.write() as connection:
        connection.execute(reviews.insert().values(**values, body=body))

    assert subjects.drop_traces("hmac:x", b"owner", [record.call_id], ["credit"]) == {"reviews": 1}

    with ledger._database.read() as connection:
        (left,) = connection.execute(reviews.select()).all()
    assert "CANARY" not in left.body
    assert msgspec.json.decode(left.body, type=Review).verdicts[0].choice == "override"


@pytest.mark.parametrize(
    "change",
    ["UPDATE calls SET entity = NULL", "UPDATE blocks SET body = body", "DELETE FROM outcomes"],
)
def test_what_is_append_only_stays_so_for_everybody_else(
    ledger: Ledger, subjects: SubjectStore, change: str
) -> None:
    record = _asked(1)
    ledger.records.append([record])
    ledger.outcomes.append_outcomes([Outcome("credit", "paid", True, 1, entity="x")], 1)
    subjects.expire(record.integration, record.asked_us, 10, 7)

    with pytest.raises(StoreError, match="append-only"), ledger._database.write() as connection:
        connection.execute(text(change))
