"""What rollups say is what a full count says: the suite, for a ledger of any kind."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from reckoned import ALL, NOON_US, reckoned, roll_all, same, traffic_record

from splice.core.rollups import DAY_S, HOUR_S, MINUTES_KEPT_S, ProfileKey, Wanted, Window
from splice.monitor import traffic
from splice.monitor.rolling import Roller, fold
from splice.ports.rollups import Piece, RollupStore
from splice.ports.stores import RecordStore
from splice.testing.contracts.records import DAY_MS

_S = 1_000_000


class Counting:
    """Every call is counted once, at its time, whatever is appended again."""

    def test_rollups_say_what_a_full_count_says(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(1)
        some = [traffic_record(rng, NOON_US, 3 * DAY_S) for _ in range(1500)]
        for start in range(0, len(some), 300):
            records.append(some[start : start + 300])
            roll_all(rollups)

        assert same(traffic.totals(rollups, Wanted(ALL)), reckoned(some, ALL))
        assert rollups.waiting() == 0
        assert rollups.integrations() == ["credit", "triage"]

    def test_a_window_is_cut_at_the_minute(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(2)
        some = [traffic_record(rng, NOON_US, 3 * DAY_S) for _ in range(1000)]
        records.append(some)
        roll_all(rollups)
        minute, day = 60 * _S, DAY_S * _S

        for since, until in ((0, 2 * day), (7 * minute, 25 * 60 * minute), (minute, 2 * minute)):
            window = Window(NOON_US + since, NOON_US + until)
            found = traffic.totals(rollups, Wanted(window))
            assert same(found, reckoned(some, window)), (since, until)
            assert (found.window, found.granularity_s) == (window, 60)

    def test_an_edge_within_a_minute_is_counted_with_all_of_it(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(3)
        some = [traffic_record(rng, NOON_US, 240) for _ in range(200)]
        records.append(some)
        roll_all(rollups)

        found = traffic.totals(rollups, Wanted(Window(NOON_US + 61 * _S, NOON_US + 62 * _S)))

        assert found.window == Window(NOON_US + 60 * _S, NOON_US + 120 * _S)
        assert same(found, reckoned(some, found.window))

    def test_a_repeated_append_is_counted_once(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(4)
        some = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(300)]
        records.append(some[:200])
        roll_all(rollups)

        records.append(some[100:])
        records.append(some)
        roll_all(rollups)

        assert same(traffic.totals(rollups, Wanted(ALL)), reckoned(some, ALL))

    def test_calls_of_the_past_and_the_future_are_counted_at_their_time(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(5)
        times = (0, 1, NOON_US - 400 * DAY_S * _S, NOON_US, NOON_US + 400 * DAY_S * _S, 1 << 52)
        some = [
            msgspec.structs.replace(traffic_record(rng, NOON_US, 60), asked_us=at) for at in times
        ]
        records.append(some)
        roll_all(rollups)

        assert same(traffic.totals(rollups, Wanted(ALL)), reckoned(some, ALL))
        for at in times:
            found = traffic.totals(rollups, Wanted(Window(at, at + 1)))
            assert same(found, reckoned(some, found.window)), at
            assert found.calls + found.shadow.calls > 0

    def test_two_that_fold_at_once_count_once(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(6)
        some = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(600)]
        for start in range(0, len(some), 10):
            records.append(some[start : start + 10])

        with ThreadPoolExecutor(3) as pool:
            for ended in [pool.submit(roll_all, rollups) for _ in range(3)]:
                ended.result()
        roll_all(rollups)

        assert same(traffic.totals(rollups, Wanted(ALL)), reckoned(some, ALL))

    def test_a_batch_that_another_has_added_is_not_added_again(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(7)
        some = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(100)]
        records.append(some)
        one, other = rollups.take(1000), rollups.take(1000)
        assert one is not None
        assert other is not None

        added = [rollups.add(batch, fold(batch), bytes.__add__) for batch in (one, other)]

        assert added == [True, False]
        assert same(traffic.totals(rollups, Wanted(ALL)), reckoned(some, ALL))

    @pytest.mark.parametrize("count", [1, 5, 150])
    def test_calls_whose_ids_lie_among_others_are_taken_without_them(
        self, records: RecordStore, rollups: RollupStore, count: int
    ) -> None:
        rng = random.Random(13)
        others = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(200)]
        records.append(others)
        roll_all(rollups)
        some = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(count)]
        for start in range(0, count, 40):
            records.append(some[start : start + 40])

        batch = rollups.take(1000)

        assert batch is not None
        found = {one.call_id: one for one in batch.records}
        assert len(batch.records) == len(found)
        assert found == {one.call_id: one for one in some}

    def test_a_series_has_every_step_and_adds_up(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(8)
        some = [traffic_record(rng, NOON_US, 10 * DAY_S) for _ in range(500)]
        records.append(some)
        roll_all(rollups)

        for seconds, points in ((HOUR_S, 60), (6 * HOUR_S, 120), (10 * DAY_S, 30), (9999, 7)):
            window = Window(NOON_US + 90 * _S, NOON_US + (90 + seconds) * _S)
            found = traffic.series(rollups, Wanted(window, "credit"), points)
            assert 0 < len(found) <= points
            assert found[0].window.since_us <= window.since_us
            assert found[-1].window.until_us >= window.until_us
            own = [one for one in some if one.integration == "credit"]
            for before, after in itertools.pairwise(found):
                assert before.window.until_us == after.window.since_us
            for point in found:
                assert same(point.totals, reckoned(own, point.window)), point.window

    def test_breakdowns_add_up(self, records: RecordStore, rollups: RollupStore) -> None:
        rng = random.Random(9)
        some = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(500)]
        records.append(some)
        roll_all(rollups)

        for by in ("integration", "release", "surface", "status", "reason"):
            for part in traffic.breakdown(rollups, Wanted(ALL), by):
                own = [one for one in some if str(getattr(one, by)) == part.name]
                truth = reckoned(own, ALL)
                assert part.totals.calls == truth.calls, (by, part.name)
                assert part.totals.cost_nano == truth.cost_nano
                if by in ("integration", "release"):
                    assert same(part.totals, truth)
        shadows = traffic.breakdown(rollups, Wanted(ALL), "variant")
        shadow = next(part for part in shadows if part.name == "shadow")
        assert same(shadow.totals, reckoned(some, ALL, shadow=True))
        restricted = traffic.totals(rollups, Wanted(ALL, variant="shadow"))
        assert same(restricted, shadow.totals)

    def test_callers_and_attempts_add_up(self, records: RecordStore, rollups: RollupStore) -> None:
        rng = random.Random(10)
        some = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(300)]
        records.append(some)
        roll_all(rollups)
        own = [one for one in some if one.variant != "shadow"]

        found = traffic.callers(rollups, Wanted(ALL))
        tried = traffic.tried(rollups, Wanted(ALL))

        assert {one.caller: one.calls for one in found} == Counter(one.caller for one in own)
        assert [one.calls for one in found] == sorted((one.calls for one in found), reverse=True)
        attempts = [attempt for one in own for attempt in one.attempts]
        assert {(one.route, one.version): one.ended for one in tried} == {
            name: dict(Counter(a.ended for a in attempts if (a.route, a.version) == name))
            for name in {(a.route, a.version) for a in attempts}
        }

    def test_minutes_are_forgotten_and_hours_stay(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(11)
        some = [traffic_record(rng, NOON_US, 4 * DAY_S) for _ in range(400)]
        records.append(some)
        roll_all(rollups)
        now_us = NOON_US + 4 * DAY_S * _S

        while rollups.prune(now_us):
            pass
        old = traffic.totals(rollups, Wanted(Window(NOON_US + 61 * _S, NOON_US + 122 * _S)))
        new = traffic.totals(rollups, Wanted(Window(now_us - 122 * _S, now_us - 61 * _S)))

        assert rollups.kept_since()["minutes"] == now_us // _S - MINUTES_KEPT_S
        assert (old.granularity_s, new.granularity_s) == (HOUR_S, 60)
        assert old.window == Window(NOON_US, NOON_US + HOUR_S * _S)
        assert same(old, reckoned(some, old.window))
        assert same(new, reckoned(some, new.window))
        assert same(traffic.totals(rollups, Wanted(ALL)), reckoned(some, ALL))
        late = [traffic_record(rng, NOON_US, HOUR_S) for _ in range(20)]
        records.append(late)
        roll_all(rollups)
        again = traffic.totals(rollups, Wanted(old.window))
        assert same(again, reckoned([*some, *late], old.window))

    def test_absurd_numbers_hold_nobody_up(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        rng = random.Random(12)
        some = [
            msgspec.structs.replace(
                traffic_record(rng, NOON_US, 60),
                cost_nano=2**62, duration_us=2**62, variant="", caller="x" * 5000, attempts=(),
            )
            for _ in range(30)
        ]  # fmt: skip
        for one in some:
            records.append([one])
        plain = traffic_record(rng, NOON_US + DAY_MS * 1000, 60)
        records.append([plain])
        roll_all(rollups)

        found = traffic.totals(rollups, Wanted(ALL))

        assert found.calls + found.shadow.calls == 31
        assert found.cost_nano > 2**57
        assert rollups.waiting() == 0

    def test_profiles_are_merged_by_hour_and_day(
        self, records: RecordStore, rollups: RollupStore
    ) -> None:
        key = ProfileKey("credit", 3, "", "", "age")
        nul = ProfileKey("credit", 3, "", "country=\0", "x" * 3000)
        first_s = NOON_US // _S // DAY_S * DAY_S
        roller = Roller(
            rollups,
            lambda some: {
                (one.asked_us // _S // HOUR_S * HOUR_S, which): b"1"
                for one in some[:1]
                for which in (key, nul)
            },
            lambda one, other: b"%d" % (int(one) + int(other)),
        )
        rng = random.Random(13)
        for hour in (0, 0, 1):
            at = (first_s + hour * HOUR_S) * _S
            records.append([traffic_record(rng, at, 60)])
            while roller.step(NOON_US):
                pass

        wanted = Wanted(ALL, "credit")
        hours = rollups.profiles(wanted, [Piece(HOUR_S, first_s, first_s + DAY_S)], ["age"])
        days = rollups.profiles(wanted, [Piece(DAY_S, first_s, first_s + DAY_S)], segment="")
        every = rollups.profiles(Wanted(ALL), [Piece(DAY_S, first_s, first_s + DAY_S)])

        assert [(one.key, one.start_s, one.body) for one in hours] == [
            (key, first_s, b"2"), (key, first_s + HOUR_S, b"1"),
        ]  # fmt: skip
        assert [(one.key, one.body) for one in days] == [(key, b"3")]
        assert len(every) == 2
        assert rollups.profiles(wanted, [Piece(DAY_S, first_s, first_s + DAY_S)], []) == []
