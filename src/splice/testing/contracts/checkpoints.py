"""What every CheckpointStore must hold to.

Inherit `CheckpointContract` and give it fixtures `checkpoints`, `records` and `audit`: the stores
of one empty ledger.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from splice.core import merkle
from splice.core.call import Record
from splice.core.heads import Head, Note, PublicKey, note
from splice.core.merkle import leaf_hash
from splice.ports.audit import AuditLog
from splice.ports.checkpoints import CALLS, EVENTS, CheckpointStore, TreeView
from splice.ports.stores import RecordStore
from splice.testing.contracts.records import any_record, simple_record

_KEY = PublicKey("contract", bytes(32))


def some_calls(count: int, seed: int = 1) -> list[Record]:
    """Calls, every fifth of them odd."""
    rng = random.Random(seed)
    return [any_record(rng) if n % 5 == 0 else simple_record(rng) for n in range(count)]


def sequence_all(store: CheckpointStore) -> None:
    """Make leaves of all that waits."""
    while store.sequence(100):
        pass


def ids_of(store: CheckpointStore) -> list[str]:
    """The calls that are leaves, in their order."""
    return [one for some in store.leaves(0, 1 << 40) for one in some.ids]


def signed(last: Note | None, calls: TreeView, events: TreeView) -> tuple[Head, str]:
    """The next head of what is there, under a signature that is none."""
    head = Head(
        "contract", last.head.number + 1 if last else 1, 5, calls.size,
        merkle.root(calls.size, calls.subtree).hex(), events.size,
        merkle.root(events.size, events.subtree).hex(),
    )  # fmt: skip
    return head, note(head, _KEY, bytes(64))


class CheckpointContract:
    """Inherit it, and give the fixtures `checkpoints`, `records` and `audit`."""

    def test_each_call_is_a_leaf_once_in_the_order_of_the_queue(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        calls = some_calls(700)
        for start in range(0, 700, 150):
            records.append(calls[start : start + 150])

        sequence_all(checkpoints)

        assert ids_of(checkpoints) == [one.call_id for one in calls]
        assert checkpoints.waiting() == 0
        assert [checkpoints.index_of(calls[n].call_id) for n in (0, 333, 699)] == [0, 333, 699]

    def test_the_leaf_is_what_the_stored_call_hashes_to(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        calls = some_calls(300)
        records.append(calls)
        sequence_all(checkpoints)

        stored = checkpoints.stored([one.call_id for one in calls])
        hashes = [stored[one.call_id].leaf for one in calls]

        leaves = [leaf.hashed() for leaf in hashes if leaf is not None]
        with checkpoints.tree(CALLS) as tree:
            assert tree.size == len(leaves) == 300
            assert merkle.root(300, tree.subtree) == merkle.root(300, merkle.of_leaves(leaves))

    def test_calls_that_are_stored_again_are_no_further_leaves(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        calls = some_calls(90)
        records.append(calls[:50])
        records.append(calls)  # as after a crash: fifty of them are there
        sequence_all(checkpoints)
        records.append(calls)
        sequence_all(checkpoints)

        assert sorted(ids_of(checkpoints)) == sorted(one.call_id for one in calls)

    def test_two_who_sequence_at_once_make_each_call_a_leaf_once(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        calls = some_calls(1200)
        with ThreadPoolExecutor(4) as threads:
            stored = [
                threads.submit(records.append, calls[at : at + 30]) for at in range(0, 1200, 30)
            ]
            sequenced = [threads.submit(checkpoints.sequence, 50) for _ in range(40)]
            for each in (*stored, *sequenced):
                each.result()
        sequence_all(checkpoints)

        found = ids_of(checkpoints)
        assert sorted(found) == sorted(one.call_id for one in calls)
        with checkpoints.tree(CALLS) as tree:
            assert tree.size == 1200

    def test_events_are_leaves_in_their_order(
        self, checkpoints: CheckpointStore, audit: AuditLog
    ) -> None:
        events = [audit.add_event("a.b", f"s{n}", by="ada", now_us=n) for n in range(300)]
        sequence_all(checkpoints)

        leaves = [leaf_hash(event.canonical()) for event in events]
        with checkpoints.tree(EVENTS) as tree:
            assert tree.size == 300
            assert merkle.root(300, tree.subtree) == merkle.root(300, merkle.of_leaves(leaves))

    def test_a_part_of_the_leaves_can_be_read(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        calls = some_calls(2500)
        records.append(calls)
        sequence_all(checkpoints)

        found = [
            (some.first + at, one)
            for some in checkpoints.leaves(1000, 2100)
            for at, one in enumerate(some.ids)
        ]

        assert found == [(n, calls[n].call_id) for n in range(1000, 2100)]
        assert list(checkpoints.leaves(2500, 1 << 40)) == []

    def test_a_call_that_is_unknown_has_no_leaf(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        known, unknown = some_calls(2)
        records.append([known])
        waiting = checkpoints.waiting()
        sequence_all(checkpoints)

        assert waiting == 1
        assert checkpoints.index_of(unknown.call_id) is None
        assert checkpoints.index_of("no id") is None
        assert checkpoints.stored([unknown.call_id]) == {}
        assert checkpoints.strangers(10) == []

    def test_heads_are_numbered_and_kept_in_their_order(
        self, checkpoints: CheckpointStore, records: RecordStore
    ) -> None:
        assert checkpoints.newest_head() is None
        for call in some_calls(3):
            records.append([call])
            sequence_all(checkpoints)
            checkpoints.add_head(signed)

        found = checkpoints.heads()

        assert [(one.head.number, one.head.calls) for one in found] == [(1, 1), (2, 2), (3, 3)]
        assert checkpoints.heads(after=1, limit=1) == found[1:2]
        assert checkpoints.newest_head() == found[-1]

    def test_a_head_that_is_not_made_is_not_stored(self, checkpoints: CheckpointStore) -> None:
        assert checkpoints.add_head(lambda last, calls, events: None) is None

        assert checkpoints.heads() == []

    def test_two_who_add_heads_at_once_have_two_numbers(self, checkpoints: CheckpointStore) -> None:
        with ThreadPoolExecutor(4) as threads:
            added = [threads.submit(checkpoints.add_head, signed) for _ in range(8)]
            for each in added:
                each.result()

        assert [one.head.number for one in checkpoints.heads()] == [1, 2, 3, 4, 5, 6, 7, 8]
