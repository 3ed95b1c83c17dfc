"""What every QueueStore must hold to.

Inherit `QueueStoreContract` and give it the fixtures `queue` and `events`: the stores of one empty
ledger.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from splice.core.events import Event, Origin, Settled
from splice.ports.events import EventStore, QueueStore

NOW_US = 1_793_880_000_000_000
LEASE_US = 30_000_000


def order(number: int, key: bytes | None = None) -> Event:
    """An event to be put: its value is its number."""
    return Event(Origin("", 0, 0), key, b"%d" % number, (), NOW_US)


def numbers_of(events: Sequence[Event]) -> list[int]:
    """The numbers that `order` gave them."""
    return [int(event.value or b"") for event in events]


def settle(events: EventStore, some: Sequence[Event]) -> list[Event]:
    """Those that came too late."""
    late = events.settle([Settled(event) for event in some], now_us=NOW_US)
    return [one.event for one in late]


class QueueStoreContract:
    """First in, first out a key; each event is held by one at a time, and none is lost."""

    def test_an_event_comes_out_as_it_went_in(self, queue: QueueStore) -> None:
        odd = [
            Event(Origin("x", 9, 9), b"", b"", (("a", b"\xff"), ("a", b"")), 1, 7, 7),
            Event(Origin("x", 9, 9), b"\xff\0", None, (), 4_102_444_800_000_000),
            Event(Origin("x", 9, 9), None, b"\0" * 100_000, (("ü", b"\0"),), -5),
        ]

        numbers = queue.put("q", odd, now_us=NOW_US)
        taken = queue.take("q", 9, "me", now_us=NOW_US, lease_us=LEASE_US)

        assert [event.origin for event in taken] == [Origin("queue:q", 0, n) for n in numbers]
        assert [(e.key, e.value, e.headers, e.at_us, e.attempts) for e in taken] == [
            (e.key, e.value, e.headers, e.at_us, 0) for e in odd
        ]
        assert all(event.token for event in taken)
        assert numbers == sorted(set(numbers))

    def test_the_oldest_come_first_and_are_held(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        queue.put("q", [order(n, b"%d" % n) for n in range(5)], now_us=NOW_US)
        queue.put("other", [order(9)], now_us=NOW_US)

        first = queue.take("q", 2, "a", now_us=NOW_US, lease_us=LEASE_US)
        second = queue.take("q", 9, "b", now_us=NOW_US, lease_us=LEASE_US)

        assert (numbers_of(first), numbers_of(second)) == ([0, 1], [2, 3, 4])
        assert queue.take("q", 9, "c", now_us=NOW_US, lease_us=LEASE_US) == []
        assert (queue.depth("q"), queue.depth("other"), queue.depth("none")) == (5, 1, 0)
        assert settle(events, first) == []
        assert queue.depth("q") == 3
        assert queue.put("q", [], now_us=NOW_US) == []

    def test_numbers_are_never_used_again(self, queue: QueueStore, events: EventStore) -> None:
        (first,) = queue.put("q", [order(1)], now_us=NOW_US)
        settle(events, queue.take("q", 1, "a", now_us=NOW_US, lease_us=LEASE_US))

        (second,) = queue.put("q", [order(1)], now_us=NOW_US)

        assert second > first

    def test_events_of_a_key_wait_while_another_holds_an_earlier_one(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        keys = (b"a", b"a", b"b", b"a", None, b"b", None)
        queue.put("q", [order(n, key) for n, key in enumerate(keys)], now_us=NOW_US)

        def take(who: str, limit: int = 9) -> list[Event]:
            return queue.take("q", limit, who, now_us=NOW_US, lease_us=LEASE_US)

        first, second = take("one", 1), take("two")
        assert (numbers_of(first), numbers_of(second)) == ([0], [2, 4, 5, 6])
        assert take("two") == []
        mine = take("one", 1)
        assert numbers_of(mine) in ([1], [])  # his own are in nobody's way
        queue.put("q", [order(7, b"a"), order(8, b"c")], now_us=NOW_US)
        assert numbers_of(take("two")) == [8]
        settle(events, [*first, *mine])
        assert numbers_of(take("two")) == ([3, 7] if mine else [1, 3, 7])

    def test_events_of_a_key_wait_for_one_that_waits(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        queue.put("q", [order(0, b"a"), order(1, b"a"), order(2)], now_us=NOW_US)
        (first,) = queue.take("q", 1, "one", now_us=NOW_US, lease_us=LEASE_US)
        queue.give_back("q", [first], due_us=NOW_US + 100, tried=True)

        others = queue.take("q", 9, "one", now_us=NOW_US + 99, lease_us=LEASE_US)
        due = queue.take("q", 9, "two", now_us=NOW_US + 100, lease_us=LEASE_US)

        assert numbers_of(others) == [2]
        assert numbers_of(due)[0] == 0
        settle(events, due)
        rest = queue.take("q", 9, "one", now_us=NOW_US + 100, lease_us=LEASE_US)
        assert numbers_of([*due, *rest]) == [0, 1]

    def test_a_long_line_of_one_key_holds_up_no_other(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        queue.put("q", [order(n, b"hot") for n in range(700)], now_us=NOW_US)
        queue.put("q", [order(n, b"%d" % n) for n in range(700, 705)], now_us=NOW_US)
        held = queue.take("q", 3, "one", now_us=NOW_US, lease_us=LEASE_US)

        others = queue.take("q", 5, "two", now_us=NOW_US, lease_us=LEASE_US)

        assert numbers_of(others) == [700, 701, 702, 703, 704]
        seen = numbers_of(held)
        while held:
            settle(events, held)
            held = queue.take("q", 100, "two", now_us=NOW_US, lease_us=LEASE_US)
            seen += numbers_of(held)
        assert seen == list(range(700))

    def test_attempts_are_counted_when_they_begin(self, queue: QueueStore) -> None:
        queue.put("q", [order(0)], now_us=NOW_US)
        seen: list[tuple[int, int]] = []
        for tried in (True, False, True, True):
            (event,) = queue.take("q", 9, "me", now_us=NOW_US, lease_us=LEASE_US)
            queue.give_back("q", [event], due_us=NOW_US, tried=tried)
            seen.append((event.attempts, event.token))

        assert [attempts for attempts, _ in seen] == [0, 1, 1, 2]
        assert len({token for _, token in seen}) == 4

    def test_events_whose_lease_ran_out_come_alone_before_the_others(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        keys = (b"a", b"a", b"b", None)
        queue.put("q", [order(n, key) for n, key in enumerate(keys)], now_us=NOW_US)
        old = queue.take("q", 9, "dead", now_us=NOW_US, lease_us=10)
        queue.put("q", [order(n) for n in (4, 5)], now_us=NOW_US)
        after = NOW_US + 11

        def take() -> list[Event]:
            return queue.take("q", 9, "two", now_us=after, lease_us=LEASE_US)

        alone = [take() for _ in range(3)]
        assert sorted(numbers_of([one for some in alone for one in some])) == [0, 2, 3]
        assert [len(some) for some in alone] == [1, 1, 1]
        assert {some[0].attempts for some in alone} == {1}
        assert numbers_of(take()) == [4, 5]  # 1 is of the key of 0, which is held
        assert settle(events, old) == old  # also 1: it must not overtake 0
        assert settle(events, [some[0] for some in alone]) == []
        (last,) = take()
        assert (numbers_of([last]), last.attempts) == ([1], 1)

    def test_a_lease_that_ran_out_holds_as_long_as_nobody_takes_it(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        queue.put("q", [order(0)], now_us=NOW_US)
        held = queue.take("q", 9, "slow", now_us=NOW_US, lease_us=10)
        queue.take("other", 9, "two", now_us=NOW_US + 11, lease_us=LEASE_US)

        assert settle(events, held) == []
        assert queue.depth("q") == 0

    def test_a_lease_that_is_extended_does_not_run_out(self, queue: QueueStore) -> None:
        queue.put("q", [order(0), order(1)], now_us=NOW_US)
        held = queue.take("q", 9, "one", now_us=NOW_US, lease_us=10)

        assert queue.extend("q", held[:1], until_us=NOW_US + 100) == []

        taken = queue.take("q", 9, "two", now_us=NOW_US + 50, lease_us=LEASE_US)
        assert numbers_of(taken) == [1]
        assert queue.extend("q", held, until_us=NOW_US + 200) == [held[1]]
        assert queue.take("q", 9, "two", now_us=NOW_US + 199, lease_us=LEASE_US) == []
        assert queue.extend("q", [], until_us=1) == []

    def test_who_lost_his_lease_gives_nothing_back(self, queue: QueueStore) -> None:
        queue.put("q", [order(0)], now_us=NOW_US)
        old = queue.take("q", 9, "one", now_us=NOW_US, lease_us=10)
        new = queue.take("q", 9, "two", now_us=NOW_US + 11, lease_us=LEASE_US)

        queue.give_back("q", old, due_us=NOW_US, tried=False)

        assert queue.take("q", 9, "three", now_us=NOW_US + 11, lease_us=LEASE_US) == []
        assert queue.extend("q", new, until_us=NOW_US + LEASE_US) == []

    def test_takers_at_once_never_hold_the_same_event_or_key(
        self, queue: QueueStore, events: EventStore
    ) -> None:
        total, seen, mixed = 300, list[int](), list[bytes]()
        queue.put("q", [order(n, b"%d" % (n % 7)) for n in range(total)], now_us=NOW_US)
        held: dict[bytes, str] = {}
        lock = threading.Lock()

        def work(who: str) -> None:
            rng = random.Random(who)
            while queue.depth("q"):
                some = queue.take("q", rng.randrange(1, 20), who, now_us=NOW_US, lease_us=LEASE_US)
                with lock:
                    for event in some:
                        if held.setdefault(event.key or b"", who) != who:
                            mixed.append(event.key or b"")
                    seen.extend(numbers_of(some))
                    for event in some:
                        held.pop(event.key or b"", None)
                settle(events, some)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, "abcd"))

        assert mixed == []
        assert sorted(seen) == list(range(total))
        for key in range(7):
            of_key = [n for n in seen if n % 7 == key]
            assert of_key == sorted(of_key)

    @pytest.mark.parametrize("seed", range(5))
    def test_whatever_happens_keys_keep_their_order_and_no_event_is_lost(
        self, queue: QueueStore, events: EventStore, seed: int
    ) -> None:
        """Two holders; leases that run out, waits and refusals, in any order."""
        rng = random.Random(seed)
        now_us, put = NOW_US, 0
        held: dict[str, list[Event]] = {"a": [], "b": []}
        done: dict[bytes | None, list[int]] = defaultdict(list)
        for step in range(160):
            who = rng.choice("ab")
            some = rng.sample(held[who], rng.randrange(len(held[who]) + 1))
            match rng.randrange(7):
                case 0 if step < 100:
                    keys = [rng.choice((b"x", b"y", b"z", None)) for _ in range(rng.randrange(9))]
                    queue.put("q", [order(put + n, k) for n, k in enumerate(keys)], now_us=now_us)
                    put += len(keys)
                case 1 | 2 | 0:
                    held[who] += queue.take(
                        "q", rng.randrange(1, 9), who, now_us=now_us, lease_us=1000
                    )
                case 3 | 4:
                    some = held[who][: rng.randrange(len(held[who]) + 1)]
                    late = settle(events, some)
                    for event in some:
                        if event not in late:
                            done[event.key] += numbers_of([event])
                    held[who] = [event for event in held[who] if event not in some]
                case 5:
                    due_us = now_us + rng.choice((0, 0, 300))
                    first = min((held[who].index(event) for event in some), default=0)
                    some = held[who][first:]  # those behind it must not run before it
                    queue.give_back("q", some, due_us=due_us, tried=rng.random() < 0.5)
                    held[who] = held[who][:first]
                case _:
                    now_us += rng.choice((1, 100, 1100))

        while queue.depth("q"):
            now_us += 1500
            some = queue.take("q", 5, "c", now_us=now_us, lease_us=1000)
            assert some, "a row that nobody gets"
            assert settle(events, some) == []
            for event in some:
                done[event.key] += numbers_of([event])

        assert sorted(n for numbers in done.values() for n in numbers) == list(range(put))
        assert [key for key, ns in done.items() if key is not None and ns != sorted(ns)] == []
