"""What every RollupStore must hold to.

Inherit `RollupStoreContract` and give it the fixtures `records` and `rollups`: stores of one ledger
that is empty. Batches are counted here by hand; what folding makes of calls is told elsewhere.
"""

from __future__ import annotations

import random

from splice.core.rollups import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    CallerKey,
    Counted,
    Kind,
    Profiled,
    ProfileKey,
    SpentKey,
    Wanted,
    Window,
)
from splice.ports.rollups import Batch, Piece, Rolled, RollupStore, TimedKey
from splice.ports.stores import RecordStore
from splice.testing.contracts.records import NOON_MS, simple_record

NOON_S = NOON_MS // 1000
_KIND = Kind("credit", 3, "answered", "first", "http", "model:credit", "", "credit@3")
_EVER = Wanted(Window(0, 1 << 62))
_HOUR = (Piece(HOUR_S, NOON_S, NOON_S + HOUR_S),)


def rolled_of(batch: Batch, body: bytes = b"1") -> Rolled:
    """A batch of simple records of noon, in a span of an hour, all of them alike."""
    calls, at = len(batch.records), (HOUR_S, NOON_S)
    timed = TimedKey("credit", 3, "", "model:credit")
    spent = SpentKey("credit", 3, "", "model:credit", "credit@3", "answered")
    return Rolled(
        {(*at, _KIND): [calls, 12 * calls, calls, 900 * calls]},
        {(*at, timed): {100: calls}},
        {},
        {(*at, spent): [calls, calls, 12 * calls, calls, 7, 3, 2, 800]},
        {(*at, CallerKey("credit", 3, "", "app")): [calls, calls, 12 * calls, calls, 7, 3, 2]},
        {(*at, ProfileKey("credit", 3, "", "", "age")): [body]},
    )


def plus(one: bytes, other: bytes) -> bytes:
    """Profiles of these tests are numbers."""
    return b"%d" % (int(one) + int(other))


class RollupStoreContract:
    """What is appended waits, is taken whole, and is added once."""

    def test_nothing_waits_in_an_empty_ledger(self, rollups: RollupStore) -> None:
        assert rollups.take(100) is None
        assert rollups.waiting() == 0
        assert rollups.counted(_EVER, _HOUR) == []
        assert rollups.kept_since() == {}
        assert rollups.damaged() == []

    def test_what_was_appended_is_taken_whole(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        some = [simple_record(random.Random(n)) for n in range(70)]
        records.append(some)

        batch = rollups.take(1000)

        assert batch is not None
        assert sorted(batch.records, key=lambda one: one.call_id) == sorted(
            some, key=lambda one: one.call_id
        )
        assert not batch.more
        assert rollups.waiting() == 2

    def test_a_batch_is_about_as_large_as_asked_for(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        for n in range(5):
            records.append([simple_record(random.Random(100 * n + m)) for m in range(10)])

        batch = rollups.take(20)

        assert batch is not None
        assert len(batch.records) == 20
        assert batch.more

    def test_a_batch_is_added_once(self, records: RecordStore, rollups: RollupStore) -> None:
        records.append([simple_record(random.Random(n)) for n in range(10)])
        one, other = rollups.take(100), rollups.take(100)
        assert one is not None
        assert other is not None

        added = [rollups.add(batch, rolled_of(batch), plus) for batch in (one, other)]

        assert added == [True, False]
        assert rollups.counted(_EVER, _HOUR) == [Counted(_KIND, 0, 10, 120, 10, 9000)]
        assert rollups.take(100) is None

    def test_batches_add_up(self, records: RecordStore, rollups: RollupStore) -> None:
        for n in range(3):
            records.append([simple_record(random.Random(10 * n + m)) for m in range(2)])
            batch = rollups.take(100)
            assert batch is not None
            assert rollups.add(batch, rolled_of(batch), plus)

        assert rollups.counted(_EVER, _HOUR)[0].calls == 6
        (timed,) = rollups.timed(_EVER, _HOUR)
        assert (timed.durations[:2], timed.durations[2:]) == (b"d\0", b"\6\0\0\0")
        (spent,) = rollups.spent(_EVER, _HOUR)
        assert (spent.calls, spent.attempts, spent.input_tokens) == (6, 6, 21)
        (caller,) = rollups.callers(_EVER, _HOUR)
        assert (caller.caller, caller.calls, caller.output_tokens) == ("app", 6, 9)
        (profile,) = rollups.profiles(_EVER, _HOUR)
        assert profile == Profiled(ProfileKey("credit", 3, "", "", "age"), NOON_S, b"3")
        assert rollups.integrations() == ["credit"]

    def test_only_what_is_wanted_is_read(self, records: RecordStore, rollups: RollupStore) -> None:
        records.append([simple_record(random.Random(1))])
        batch = rollups.take(100)
        assert batch is not None
        rollups.add(batch, rolled_of(batch), plus)
        window = _EVER.window

        others = (
            Wanted(window, "triage"), Wanted(window, release=4), Wanted(window, variant="shadow"),
            Wanted(window, route="model:other"),
        )  # fmt: skip
        for wanted in others:
            assert rollups.counted(wanted, _HOUR) == [], wanted
            assert rollups.timed(wanted, _HOUR) == [], wanted
            assert rollups.spent(wanted, _HOUR) == [], wanted
        for piece in (
            Piece(HOUR_S, NOON_S + 1, NOON_S + HOUR_S), Piece(HOUR_S, NOON_S - HOUR_S, NOON_S),
            Piece(DAY_S, 0, 1 << 40), Piece(MINUTE_S, 0, 1 << 40),
        ):  # fmt: skip
            assert rollups.counted(_EVER, [piece]) == [], piece
            assert rollups.profiles(_EVER, [piece]) == [], piece
        assert len(rollups.counted(Wanted(window, "credit", 3, "", "model:credit"), _HOUR)) == 1

    def test_what_is_set_aside_is_told(self, records: RecordStore, rollups: RollupStore) -> None:
        record = simple_record(random.Random(1))
        records.append([record])
        batch = rollups.take(100)
        assert batch is not None
        batch.damaged[record.call_id] = "it is odd"

        rollups.add(batch, Rolled(), plus, now_us=7)

        (damage,) = rollups.damaged()
        assert (damage.call_id, damage.at_us, damage.why) == (record.call_id, 7, "it is odd")
        assert rollups.waiting() == 0
