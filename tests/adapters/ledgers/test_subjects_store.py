"""Erasure and retention in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from splice.adapters.ledgers.sql import Ledger
from splice.core.errors import StoreError
from splice.ports.events import DeadLetterStore, EventStore, QueueStore
from splice.ports.subjects import SubjectStore
from splice.testing.contracts.subjects import SubjectStoreContract

TABLES = (
    "erasures, expiries, calls, blocks, unrolled, outcomes, unjoined, audit_events, dead_letters, "
    "queued, queued_bodies, leaf_queue"
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


@pytest.mark.parametrize(
    "change",
    ["UPDATE calls SET entity = NULL", "UPDATE blocks SET body = body", "DELETE FROM outcomes"],
)
def test_what_is_append_only_stays_so_for_everybody_else(
    ledger: Ledger, subjects: SubjectStore, change: str
) -> None:
    from splice.core.call import Outcome
    from splice.testing.contracts.subjects import _asked

    record = _asked(1)
    ledger.records.append([record])
    ledger.outcomes.append_outcomes([Outcome("credit", "paid", True, 1, entity="x")], 1)
    subjects.expire(record.integration, record.asked_us, 10, 7)

    with pytest.raises(StoreError, match="append-only"), ledger._database.write() as connection:
        connection.execute(text(change))
