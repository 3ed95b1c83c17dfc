"""Events in SQLite and PostgreSQL hold to the contracts."""

from __future__ import annotations

import pytest

from splice.adapters.ledgers.sql import Ledger
from splice.ports.events import DeadLetterStore, EventStore, OutboxStore, QueueStore
from splice.testing.contracts.events import DeadLetterStoreContract, EventStoreContract
from splice.testing.contracts.outbox import OutboxStoreContract
from splice.testing.contracts.queues import QueueStoreContract

TABLES = (
    "calls, blocks, inbox, queued, "
    "queued_bodies, dead_letters, event_marks, event_attempts, audit_events"
)


@pytest.fixture
def ledger(emptied_ledger: Ledger) -> Ledger:
    return emptied_ledger


@pytest.fixture
def events(ledger: Ledger) -> EventStore:
    return ledger.events


@pytest.fixture
def outbox(ledger: Ledger) -> OutboxStore:
    return ledger.outbox


@pytest.fixture
def dead_letters(ledger: Ledger) -> DeadLetterStore:
    return ledger.dead_letters


@pytest.fixture
def queue(ledger: Ledger) -> QueueStore:
    return ledger.queue


class TestEvents(EventStoreContract):
    pass


class TestDeadLetters(DeadLetterStoreContract):
    pass


class TestQueue(QueueStoreContract):
    pass


class TestOutbox(OutboxStoreContract):
    pass
