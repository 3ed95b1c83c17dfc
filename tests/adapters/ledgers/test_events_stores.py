"""Events in SQLite and PostgreSQL hold to the contracts."""

from __future__ import annotations

import random

import pytest

from splice.adapters.ledgers.sql import Ledger
from splice.core.events import Inbox, event_id, place_id
from splice.ports.events import DeadLetterStore, EventStore, OutboxStore, QueueStore
from splice.testing.contracts.events import (
    NOW_US,
    DeadLetterStoreContract,
    EventStoreContract,
    event_of,
    settled,
)
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
    def test_of_neighbours_and_others_those_that_were_answered_are_found_and_no_more(
        self, events: EventStore
    ) -> None:
        rng = random.Random(3)
        batch = [settled(event_of(n), rng) for n in (5, 6, 7, 9, 255, 256, 2**40)]
        batch += [settled(event_of(6, stream="kafka:others"), rng)]
        named = settled(event_of(0), rng)
        assert named.record is not None
        named.inbox = Inbox(event_id("credit", "shop", "e-1"), b"b" * 8, named.record.call_id)
        events.settle([*batch, named], now_us=NOW_US)
        inboxes = [one.inbox for one in (*batch, named) if one.inbox is not None]
        asked = [place_id("credit", event_of(n).origin) for n in (4, 5, 7, 8, 9, 256, 257, 2**40)]

        found = events.answered([*asked, inboxes[-1].event])

        assert found == {inboxes[n].event: inboxes[n] for n in (0, 2, 3, 5, 6, 8)}
        assert events.answered(list(found)) == found
        assert events.answered([asked[0], asked[3]]) == {}
        assert events.answered([]) == {}


class TestDeadLetters(DeadLetterStoreContract):
    pass


class TestQueue(QueueStoreContract):
    pass


class TestOutbox(OutboxStoreContract):
    pass
