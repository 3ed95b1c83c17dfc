"""Events in SQLite and PostgreSQL hold to the contracts."""

from __future__ import annotations

import random

import pytest

from splice.adapters.ledgers.sql import Ledger
from splice.core.events import Event, Inbox, Origin, Settled, event_id, place_id
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


class Always(set[str]):
    def __contains__(self, _: object) -> bool:
        return True


class TestQueueWhoseLastTakeWasFull(QueueStoreContract):
    """Each take tries to do with one statement first."""

    @pytest.fixture
    def queue(self, ledger: Ledger) -> QueueStore:
        queue = ledger.queue
        queue._plenty = Always()
        return queue

    def test_one_statement_is_enough_where_all_is_free(
        self, queue: QueueStore, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue.put("q", [event_of(n, b"%d" % n) for n in range(5)], now_us=NOW_US)
        monkeypatch.setattr(ledger.queue._queued, "pick", None)

        came = queue.take("q", 3, "me", now_us=NOW_US, lease_us=1000)
        more = queue.take("q", 3, "me", now_us=NOW_US, lease_us=1000)

        assert [one.value for one in came] == [event_of(n).value for n in range(3)]
        assert [one.value for one in more] == [event_of(n).value for n in (3, 4)]
        assert {(one.attempts, one.token) for one in (*came, *more)} == {(0, 1)}

    def test_more_than_a_take_may_hold_is_taken_in_parts(
        self, queue: QueueStore, ledger: Ledger
    ) -> None:
        large = bytes(7 * 1024 * 1024)
        put = [Event(Origin("queue:q", 0, 0), b"k", large) for _ in range(3)]
        queue.put("q", put, now_us=NOW_US)

        first = queue.take("q", 3, "me", now_us=NOW_US, lease_us=1000)
        ledger.events.settle([Settled(one) for one in first], now_us=NOW_US)
        second = queue.take("q", 3, "me", now_us=NOW_US, lease_us=1000)

        assert [len(first), len(second)] == [2, 1]


class TestOutbox(OutboxStoreContract):
    pass
