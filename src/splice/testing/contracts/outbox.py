"""What every OutboxStore must hold to.

Inherit `OutboxStoreContract` and give it the fixtures `outbox` and `events`, the stores of one
empty ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

from splice.core.events import Event, Message, Origin, Settled
from splice.ports.events import EventStore, OutboxStore, Waiting

NOW_US = 1_793_880_000_000_000
LEASE_US = 30_000_000


class OutboxStoreContract:
    """Messages of one target and key are sent in their order; one that cannot be harms no other."""

    def test_messages_come_in_their_order_and_are_held(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, "kafka:a", "https://h/x", "kafka:b", "kafka:a")

        first = self.take(outbox, "one", limit=2)
        second = self.take(outbox, "two", schemes=("kafka", "https"))

        assert self.ids(first) == ["0", "2"]
        assert self.ids(second) == ["1"]  # 3 is of the target and key of 0, which is held
        assert [one.attempts for one in (*first, *second)] == [0, 0, 0]
        outbox.sent([one.number for one in first])
        assert self.ids(self.take(outbox, "two")) == ["3"]
        assert outbox.outbox_size() == 2

    def test_those_of_a_key_come_together_and_without_a_key_wait_for_nobody(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, *["kafka:a"] * 4)
        self.fill(events, *["kafka:b"] * 3, key=None)

        assert self.ids(self.take(outbox, "one", limit=2)) == ["0", "1"]
        assert self.ids(self.take(outbox, "two", limit=2)) == ["0", "1"]
        assert self.ids(self.take(outbox, "three")) == ["2"]

    def test_a_target_without_room_is_left_out(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, "https://h/x", "https://h/y", "https://h/x")

        got = self.take(outbox, "one", schemes=("https",), without=("https://h/x",))

        assert self.ids(got) == ["1"]
        assert self.take(outbox, "one", schemes=("http",)) == []

    def test_one_that_is_postponed_holds_up_its_key_alone(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, "kafka:a", "kafka:a", "kafka:b")
        first, second, third = self.take(outbox, "one")
        outbox.postpone(first.number, due_us=NOW_US + 100, why="refused\0 ✗")
        outbox.let_go([second.number], due_us=0)
        outbox.let_go([third.number], due_us=NOW_US + 50)

        assert self.take(outbox, "two", now_us=NOW_US + 49) == []
        assert self.ids(self.take(outbox, "two", now_us=NOW_US + 99)) == ["2"]
        seen = {one.message.id: one for one in outbox.outbox()}
        assert (seen["0"].attempts, seen["0"].due_us) == (1, NOW_US + 100)
        assert seen["0"].why.startswith("refused")
        assert (seen["1"].attempts, seen["1"].why) == (0, "")
        again = self.take(outbox, "one", now_us=NOW_US + 100)
        outbox.sent([one.number for one in again])
        again += self.take(outbox, "one", now_us=NOW_US + 100)
        assert [(one.message.id, one.attempts) for one in again] == [("0", 1), ("1", 0)]

    def test_one_that_was_given_up_is_seen_and_holds_up_none(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, "https://h/x", "https://h/x")
        first, second = self.take(outbox, "one", schemes=("https",))
        outbox.give_up(first.number, why="410 Gone")
        outbox.let_go([second.number], due_us=0)

        assert self.ids(self.take(outbox, "two", schemes=("https",))) == ["1"]
        (lost,) = outbox.outbox(given_up=True)
        assert (lost.message.id, lost.due_us, lost.why) == ("0", 0, "410 Gone")
        assert outbox.outbox_size() == 1
        assert self.ids(outbox.outbox(after=first.number)) == ["1"]

        assert outbox.send_again([first.number, second.number, 10**9], now_us=NOW_US) == 1
        (again,) = self.take(outbox, "two", schemes=("https",))
        assert (again.message.id, again.attempts) == ("0", 0)

    def test_those_that_waited_for_one_that_was_given_up_are_sent(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, *["https://h/x"] * 3)
        (first,) = self.take(outbox, "one", schemes=("https",), limit=1)
        before = self.take(outbox, "two", schemes=("https",))

        outbox.give_up(first.number, why="410 Gone")

        assert before == []
        assert self.ids(self.take(outbox, "two", schemes=("https",))) == ["1", "2"]

    def test_a_message_that_waits_is_sent_again_at_once_when_told(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, "kafka:a")
        (one,) = self.take(outbox, "one")
        outbox.postpone(one.number, due_us=NOW_US + 10**9, why="")

        assert outbox.send_again([one.number], now_us=NOW_US) == 1

        assert [waiting.attempts for waiting in self.take(outbox, "two")] == [0]

    def test_what_a_dead_sender_held_comes_again_in_order(
        self, events: EventStore, outbox: OutboxStore
    ) -> None:
        self.fill(events, *["kafka:a"] * 3)
        self.take(outbox, "dead", lease_us=10)

        assert self.take(outbox, "two", now_us=NOW_US + 9) == []
        got = self.take(outbox, "two", now_us=NOW_US + 10)
        assert [(one.message.id, one.attempts) for one in got] == [("0", 1), ("1", 1), ("2", 1)]

    @staticmethod
    def fill(events: EventStore, *targets: str, key: bytes | None = b"k") -> None:
        """Messages to these targets, their ids 0, 1, 2 and so on."""
        messages = [Message(str(n), target, key, b"{}") for n, target in enumerate(targets)]
        event = Event(Origin("kafka:in", 0, 0), None, None)
        events.settle([Settled(event, messages=tuple(messages))], now_us=NOW_US)

    @staticmethod
    def take(
        outbox: OutboxStore,
        who: str,
        *,
        schemes: Sequence[str] = ("kafka",),
        limit: int = 9,
        now_us: int = NOW_US,
        lease_us: int = LEASE_US,
        without: Sequence[str] = (),
    ) -> list[Waiting]:
        """What `who` gets."""
        return outbox.take_outbox(
            schemes, limit, who, now_us=now_us, lease_us=lease_us, without=without
        )

    @staticmethod
    def ids(some: Sequence[Waiting]) -> list[str]:
        """The ids of their messages."""
        return [one.message.id for one in some]
