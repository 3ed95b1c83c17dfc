"""What every EventStore and every DeadLetterStore must hold to.

Inherit a contract and give it the fixtures `events`, `dead_letters`, `outbox`, `queue`, `records`
and `audit`: the stores of one empty ledger. For the other two see `queues` and `outbox` here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from splice.core.audit import first_broken
from splice.core.errors import SettingsError, StoreError
from splice.core.events import (
    DeadLetter,
    Event,
    Inbox,
    Mark,
    Message,
    Origin,
    Settled,
    body_digest,
    event_id,
    place_id,
)
from splice.ports.audit import AuditLog
from splice.ports.events import DeadLetterStore, EventStore, OutboxStore, QueueStore
from splice.ports.stores import RecordStore
from splice.testing.contracts.records import any_record, simple_record

NOW_US = 1_793_880_000_000_000
LEASE_US = 30_000_000
ORDERS = "kafka:orders"


def event_of(offset: int, key: bytes | None = b"customer-1", stream: str = ORDERS) -> Event:
    """An event as it comes from a topic."""
    value = b'{"order":%d}' % offset
    return Event(Origin(stream, 2, offset), key, value, (("n", b"%d" % offset),), NOW_US + offset)


def settled(event: Event, rng: random.Random, messages: Sequence[Message] = ()) -> Settled:
    """It was answered by a call."""
    record = simple_record(rng)
    name = place_id("credit", event.origin)
    inbox = Inbox(name, body_digest(event.value or b""), record.call_id)
    return Settled(event, record, inbox, tuple(messages))


def dead_of(offset: int, integration: str = "credit", stream: str = ORDERS) -> DeadLetter:
    """A dead letter of an event of a topic."""
    event = event_of(offset, stream=stream)
    return DeadLetter(integration, event, "bad_event", "credit.input", "no ✗ JSON", 2, NOW_US + 7)


def call_of(one: Settled) -> str:
    """The id of its call."""
    assert one.record is not None
    return one.record.call_id


class EventStoreContract:
    """All of a settled event is stored, once, or nothing of it."""

    def test_record_inbox_and_messages_are_stored_together(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore, queue: QueueStore
    ) -> None:
        rng = random.Random(1)
        message = Message("m1", "kafka:decisions", b"k", None, (("id", b"\xff\x00"),))
        posted = Message("m2", "https://example.org/hook", None, b"{}")
        handed = Message("m3", "queue:review", b"k", b"{}", (("a", b"1"),))
        one = settled(event_of(7), rng, (message, posted, handed))
        one.record = any_record(rng)
        one.inbox = Inbox(b"e" * 16, b"b" * 8, one.record.call_id)

        late = events.settle([one], now_us=NOW_US)

        assert list(late) == []
        assert records.get(one.record.call_id) == one.record
        assert events.answered([b"e" * 16, b"f" * 16]) == {b"e" * 16: one.inbox}
        sent = outbox.take_outbox(["kafka", "https"], 9, "me", now_us=NOW_US, lease_us=LEASE_US)
        assert [waiting.message for waiting in sent] == [message, posted]
        (put,) = queue.take("review", 9, "me", now_us=NOW_US, lease_us=LEASE_US)
        assert (put.key, put.value, put.headers) == (b"k", b"{}", (("a", b"1"),))

    @pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 2100])
    def test_a_batch_of_any_size_is_stored_whole(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore, size: int
    ) -> None:
        rng = random.Random(size)
        batch = [
            settled(event_of(n), rng, [Message(f"m{n}", "kafka:out", b"%d" % (n % 7), b"{}")])
            for n in range(size)
        ]

        assert list(events.settle(batch, now_us=NOW_US)) == []

        ids = [one.inbox.event for one in batch if one.inbox is not None]
        assert len(events.answered(ids)) == records.count() == outbox.outbox_size() == size

    def test_what_was_settled_is_settled_again_without_effect(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore, queue: QueueStore
    ) -> None:
        rng = random.Random(1)
        queue.put("q", [event_of(1)], now_us=NOW_US)
        (taken,) = queue.take("q", 1, "me", now_us=NOW_US, lease_us=LEASE_US)
        batch = [
            settled(event, rng, [Message("m", "kafka:out", None, b"")])
            for event in (taken, event_of(3))
        ]
        events.settle(batch, now_us=NOW_US)

        assert list(events.settle(batch, now_us=NOW_US)) == []  # as after an unclear commit

        assert (records.count(), outbox.outbox_size(), queue.depth("q")) == (2, 2, 0)
        found = records.get(call_of(batch[0]))
        assert found is not None
        assert found.notes == ()

    def test_an_event_that_another_answered_is_late_and_only_its_record_is_stored(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore, queue: QueueStore
    ) -> None:
        rng = random.Random(1)
        queue.put("q", [event_of(1), event_of(2)], now_us=NOW_US)
        taken = queue.take("q", 2, "me", now_us=NOW_US, lease_us=LEASE_US)
        mine = [settled(one, rng, [Message("m", "kafka:out", None, b"")]) for one in taken]
        other = settled(event_of(1), rng)
        other.inbox = Inbox(event_id("credit", "shop", "1"), b"b" * 8, call_of(other))
        mine[0].inbox = Inbox(other.inbox.event, b"b" * 8, call_of(mine[0]))
        events.settle([other], now_us=NOW_US)

        late = events.settle(mine, now_us=NOW_US)

        assert list(late) == [mine[0]]
        assert events.answered([other.inbox.event]) == {other.inbox.event: other.inbox}
        stored = records.get_many([call_of(one) for one in mine])
        assert [stored[call_of(one)].notes for one in mine] == [("settled by another",), ()]
        assert outbox.outbox_size() == 1
        assert queue.depth("q") == 0  # the event is answered: its row was still ours

    def test_who_lost_his_lease_is_late_and_the_row_stays_with_its_new_holder(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore, queue: QueueStore
    ) -> None:
        rng = random.Random(1)
        queue.put("q", [event_of(1)], now_us=NOW_US)
        (old,) = queue.take("q", 1, "a", now_us=NOW_US, lease_us=10)
        (new,) = queue.take("q", 1, "b", now_us=NOW_US + 11, lease_us=LEASE_US)
        lost = settled(old, rng, [Message("m", "kafka:out", None, b"")])
        lost.dead = dead_of(1)
        won = settled(new, rng)

        late = events.settle([lost], now_us=NOW_US)

        assert list(late) == [lost]
        assert outbox.outbox_size() == 0
        assert lost.inbox is not None
        assert events.answered([lost.inbox.event]) == {}
        assert records.get(call_of(lost)) is not None
        assert queue.depth("q") == 1
        assert list(events.settle([won], now_us=NOW_US)) == []
        assert queue.depth("q") == 0

    def test_an_event_that_stands_twice_in_a_batch_is_late_the_second_time(
        self, events: EventStore, outbox: OutboxStore, queue: QueueStore
    ) -> None:
        rng = random.Random(1)
        message = Message("m", "kafka:out", None, b"")
        queue.put("q", [event_of(1)], now_us=NOW_US)
        (lost,) = queue.take("q", 1, "me", now_us=NOW_US, lease_us=10)
        queue.take("q", 1, "other", now_us=NOW_US + 11, lease_us=LEASE_US)
        first, second, third = (settled(event_of(1), rng, [message]) for _ in range(3))
        third.event = lost  # published twice, and its row is another's by now

        batch = [first, settled(event_of(2), rng), second, third]
        late = events.settle(batch, now_us=NOW_US)

        assert list(late) == [second, third]
        assert (outbox.outbox_size(), queue.depth("q")) == (1, 1)

    def test_of_many_that_settle_the_same_events_at_once_one_wins_each(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore
    ) -> None:
        def settle(seed: int) -> int:
            rng = random.Random(seed)
            offsets = list(range(40))
            rng.shuffle(offsets)
            message = Message(f"m{seed}", "kafka:out", b"k", b"")
            late = events.settle(
                [settled(event_of(offset), rng, [message]) for offset in offsets], now_us=NOW_US
            )
            return 40 - len(late)

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(settle, range(6)))

        assert sum(won) == outbox.outbox_size() == 40
        assert records.count() == 6 * 40

    def test_a_batch_with_one_that_cannot_be_stored_is_not_stored_at_all(
        self, events: EventStore, records: RecordStore, outbox: OutboxStore, queue: QueueStore
    ) -> None:
        rng = random.Random(1)
        queue.put("q", [event_of(1)], now_us=NOW_US)
        (taken,) = queue.take("q", 1, "me", now_us=NOW_US, lease_us=LEASE_US)
        good = settled(taken, rng, [Message("m", "kafka:out", None, b"")])
        bad = settled(event_of(2), rng)
        assert bad.record is not None
        bad.record.entity = "half a \ud83d character"

        with pytest.raises(StoreError, match="lone surrogates"):
            events.settle([good, bad], now_us=NOW_US)

        assert (records.count(), outbox.outbox_size(), queue.depth("q")) == (0, 0, 1)
        assert list(events.settle([good], now_us=NOW_US)) == []

    def test_what_was_sent_leaves_the_outbox_with_the_next(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        rng = random.Random(1)
        messages = [Message(f"m{n}", "kafka:out", b"k", b"") for n in range(3)]
        events.settle([settled(event_of(1), rng, messages)], now_us=NOW_US)
        taken = outbox.take_outbox(["kafka"], 2, "me", now_us=NOW_US, lease_us=LEASE_US)

        sent = [waiting.number for waiting in taken]
        events.settle([settled(event_of(2), rng)], sent=[*sent, 10**9], now_us=NOW_US)

        assert [waiting.message.id for waiting in outbox.outbox()] == ["m2"]

    @pytest.mark.parametrize("name", ["", "A", "1a", "a-b", "x" * 52, "calls", "inbox", "pg_a"])
    def test_a_table_that_cannot_be_is_a_wrong_setting(
        self, events: EventStore, records: RecordStore, name: str
    ) -> None:
        one = settled(event_of(1), random.Random(1), [Message("m", f"table:{name}", None, b"")])

        with pytest.raises(SettingsError, match="table:"):
            events.prepare([f"table:{name}"])
        with pytest.raises(SettingsError, match="table:"):
            events.settle([one], now_us=NOW_US)

        assert records.count() == 0

    def test_a_mark_never_goes_back_until_it_is_forgotten(self, events: EventStore) -> None:
        one, two = (ORDERS, 1), (ORDERS, 2)
        events.begin("credit", {one: Mark(5), two: Mark(9, 1)})
        events.begin("other", {one: Mark(77)})

        events.begin("credit", {one: Mark(4, 3), two: Mark(9, 2)})

        marks = {one: Mark(5), two: Mark(9, 2)}
        assert events.marks("credit", [one, two, (ORDERS, 3)]) == marks
        assert events.marks("credit", [two]) == {two: Mark(9, 2)}
        events.end("credit", [one])
        events.begin("credit", {one: Mark(3)})
        assert events.marks("credit", [one, two]) == {**marks, one: Mark(3)}
        assert events.marks("other", [one]) == {one: Mark(77)}

    def test_attempts_are_counted_until_the_event_is_settled(self, events: EventStore) -> None:
        some = [event_of(n) for n in (3, 4, 9)]
        events.count_attempt("credit", some)
        events.count_attempt("credit", some[1:2])
        events.count_attempt("other", some[:1])
        here = (ORDERS, 2)

        assert events.attempts("credit", here, 0) == {3: 1, 4: 2, 9: 1}
        assert events.attempts("credit", here, 4) == {4: 2, 9: 1}
        assert events.attempts("credit", (ORDERS, 1), 0) == {}
        events.settle([settled(event, random.Random(1)) for event in some[1:]], now_us=NOW_US)
        assert events.attempts("credit", here, 0) == {3: 1}
        assert events.attempts("other", here, 0) == {3: 1}

    def test_old_events_are_forgotten_step_by_step(self, events: EventStore) -> None:
        rng = random.Random(1)
        batch = [settled(event_of(n), rng) for n in range(25)]
        events.settle(batch[::2], now_us=NOW_US)
        events.settle(batch[1::2], now_us=NOW_US + 10)
        forgotten, steps, after = 0, 0, b""

        while steps == 0 or after:
            count, after = events.prune_inbox(NOW_US + 10, after=after, limit=10)
            forgotten, steps = forgotten + count, steps + 1

        ids = [one.inbox.event for one in batch if one.inbox is not None]
        assert (forgotten, steps) == (13, 3)
        assert set(events.answered(ids)) == set(ids[1::2])
        assert events.prune_inbox(NOW_US) == (0, b"")


class DeadLetterStoreContract:
    """Nothing of an event is lost by its death, and its way back is told."""

    def test_a_dead_letter_comes_back_byte_for_byte(
        self, events: EventStore, dead_letters: DeadLetterStore
    ) -> None:
        headers = (("a", b"\xff\xfe"), ("a", b""), ("ü", b"\0"))
        odd = [
            Event(Origin(ORDERS, 0, 1), None, None, headers, 0),
            Event(Origin(ORDERS, 3, 2**62), b"\0\xff", b"\xff" * 3000, (), 4_102_444_800_000_000),
        ]
        letters = [msgspec.structs.replace(dead_of(0), event=event) for event in odd]
        events.settle([Settled(one.event, dead=one) for one in letters], now_us=NOW_US)

        found = sorted(dead_letters.dead_letters(), key=lambda one: one.event.origin)

        whole = [dead_letters.dead_letter(one.id) for one in found]
        assert [msgspec.structs.replace(one, id=0) for one in whole if one is not None] == letters
        assert [one.event.value for one in found] == [None, None]  # a page is not whole
        assert [one.event.headers for one in found] == [headers, ()]
        assert dead_letters.dead_letter(10**6) is None

    def test_the_same_event_dies_once(
        self, events: EventStore, dead_letters: DeadLetterStore
    ) -> None:
        anew = dead_of(1)  # a topic that was made anew counts from 0 again
        anew.event.value = b"another"
        for letter in (dead_of(1), dead_of(1), dead_of(1, "other"), anew):
            events.settle([Settled(letter.event, dead=letter)], now_us=NOW_US)

        assert len(dead_letters.dead_letters()) == 3

    def test_they_come_newest_first_by_integration_and_state(
        self, events: EventStore, dead_letters: DeadLetterStore
    ) -> None:
        for n in range(6):
            letter = dead_of(n, ("credit", "triage")[n % 2])
            events.settle([Settled(letter.event, dead=letter)], now_us=NOW_US)

        first = dead_letters.dead_letters(limit=2)
        second = dead_letters.dead_letters(limit=9, before=first[-1].id)
        dead_letters.drop([first[0].id], by="ada", why="", now_us=1)

        assert [one.event.origin.offset for one in (*first, *second)] == [5, 4, 3, 2, 1, 0]
        triage = dead_letters.dead_letters("triage")
        assert [one.event.origin.offset for one in triage] == [3, 1]
        both = dead_letters.dead_letters(states=("dead", "dropped"))
        assert [one.state for one in both] == ["dropped", *["dead"] * 5]

    def test_replay_puts_an_event_back_where_it_came_from(
        self,
        events: EventStore,
        dead_letters: DeadLetterStore,
        outbox: OutboxStore,
        queue: QueueStore,
        audit: AuditLog,
    ) -> None:
        letters = [dead_of(1), dead_of(2, stream="queue:orders"), dead_of(3, "triage")]
        letters[0].event.headers = (("h", b"\xff"),)
        events.settle([Settled(one.event, dead=one) for one in letters], now_us=NOW_US)
        found = {one.event.origin.offset: one.id for one in dead_letters.dead_letters()}

        numbers = [found[1], found[2], 10**6, found[1]]
        done = dead_letters.replay(numbers, by="ada", now_us=NOW_US + 9)
        again = dead_letters.replay(numbers, by="ada", now_us=NOW_US + 9)

        assert (sorted(done), again) == (sorted([found[1], found[2]]), [])
        (waiting,) = outbox.outbox()
        sent = waiting.message
        assert (sent.target, sent.key, sent.value) == (ORDERS, b"customer-1", b'{"order":1}')
        assert sent.headers == (("h", b"\xff"),)
        (put,) = queue.take("orders", 9, "me", now_us=NOW_US + 9, lease_us=LEASE_US)
        assert (put.key, put.value, put.attempts) == (b"customer-1", b'{"order":2}', 0)
        letter = dead_letters.dead_letter(found[1])
        assert letter is not None
        assert (letter.state, letter.by) == ("replayed", "ada")
        (event,) = audit.events()
        assert (event.action, event.subject, event.by) == ("event.replay", "credit", "ada")
        assert sorted(event.details["dead_letters"]) == sorted(done)

    def test_drop_keeps_why_and_forgets_the_body(
        self, events: EventStore, dead_letters: DeadLetterStore, audit: AuditLog
    ) -> None:
        letters = [dead_of(1), dead_of(2, "triage")]
        events.settle([Settled(one.event, dead=one) for one in letters], now_us=NOW_US)
        numbers = [one.id for one in dead_letters.dead_letters()]

        assert sorted(dead_letters.drop(numbers, by="bo", why="spam", now_us=5)) == sorted(numbers)

        assert dead_letters.drop(numbers, by="bo", why="spam", now_us=6) == []
        assert dead_letters.replay(numbers, by="bo", now_us=6) == []
        dropped = dead_letters.dead_letter(numbers[0])
        assert dropped is not None
        assert (dropped.state, dropped.by, dropped.detail) == ("dropped", "bo", "no ✗ JSON")
        assert (dropped.event.value, dropped.event.headers) == (None, ())
        told = audit.events()
        assert [(one.action, one.subject, one.why) for one in told] == [
            ("event.drop", "credit", "spam"),
            ("event.drop", "triage", "spam"),
        ]
        assert first_broken(told) is None
