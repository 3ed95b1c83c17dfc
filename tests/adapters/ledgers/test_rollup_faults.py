"""Whatever is killed, damaged, away or odd: each recorded call is in the rollups once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from older import go_back
from reckoned import ALL, NOON_US, reckoned, roll_all, same, traffic_record
from sqlalchemy import text

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Record
from splice.core.errors import StoreError
from splice.core.rollups import DAY_S, HOUR_S, ProfileKey, Wanted
from splice.monitor import rolling, traffic
from splice.monitor.rolling import Roller
from splice.ports.stores import CallFilter
from splice.testing.contracts.records import NOON_MS, simple_record

HERE = Path(__file__).parent
REFUSE = """
CREATE TRIGGER refuse BEFORE INSERT ON roll_cost WHEN typeof(NEW.start_s) = 'text'
BEGIN SELECT RAISE(ABORT, 'no number'); END
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path)
    yield ledger
    ledger.close()


def calls_of(seed: int, count: int, seconds: float = 2 * DAY_S) -> list[Record]:
    rng = random.Random(seed)
    return [traffic_record(rng, NOON_US, seconds) for _ in range(count)]


def counted_once(ledger: Ledger, records: Sequence[Record]) -> bool:
    """Whether the rollups say what going through all of these says."""
    return same(traffic.totals(ledger.rollups, Wanted(ALL)), reckoned(records, ALL))


def everything(ledger: Ledger) -> list[Record]:
    """All that the ledger has, whole."""
    found = ledger.records.find(CallFilter(limit=1_000_000))
    return list(ledger.records.get_many([one.call_id for one in found]).values())


def test_killed_in_the_middle_each_call_is_counted_once(
    url: str, ledger: Ledger, tmp_path: Path
) -> None:
    appended = [sys.executable, str(HERE / "appender.py"), url, str(tmp_path)]
    folding = [sys.executable, str(HERE / "roller.py"), url, str(tmp_path)]
    rng = random.Random(1)
    for seed in (1, 2):
        appender = subprocess.Popen([*appended, str(seed), "15", "70"], stdout=subprocess.PIPE)
        rollers = [subprocess.Popen(folding, stdout=subprocess.PIPE) for _ in range(2)]
        for process in rollers:
            assert process.stdout is not None
            process.stdout.readline()
        # Killed at a moment that only chance knows, while calls still come.
        assert appender.stdout is not None
        for _ in range(rng.randrange(4, 12)):
            appender.stdout.readline()
        for process in rollers:
            process.kill()
            process.communicate()
        appender.communicate()

    roll_all(ledger.rollups)

    records = everything(ledger)
    assert len(records) == 2 * 15 * 70
    assert counted_once(ledger, records)


def test_a_ledger_from_before_is_counted_as_calls_go_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, late = calls_of(1, 250), calls_of(2, 100), calls_of(3, 50)
    ledger = open_ledger(url, tmp_path)
    for start in range(0, 250, 50):
        ledger.records.append(old[start : start + 50])
    ledger.close()
    go_back(url, "0004")
    monkeypatch.setattr(rolling, "BATCH", 60)

    ledger = open_ledger(url, tmp_path)
    ledger.records.append(new)
    roller = Roller(ledger.rollups)
    for _ in range(3):
        assert roller.step(1)
    ledger.records.append(late)
    roll_all(ledger.rollups)

    assert counted_once(ledger, [*old, *new, *late])
    assert ledger.rollups.take(1) is None
    ledger.close()


def test_a_ledger_from_before_is_counted_once_by_two(url: str, tmp_path: Path) -> None:
    old = calls_of(1, 100)
    ledger = open_ledger(url, tmp_path)
    ledger.records.append(old)
    ledger.close()
    go_back(url, "0004")
    ledger = open_ledger(url, tmp_path)
    one, other = ledger.rollups.take(40), ledger.rollups.take(40)
    assert one is not None
    assert other is not None

    added = [ledger.rollups.add(b, rolling.fold(b), bytes.__add__) for b in (one, other)]
    roll_all(ledger.rollups)

    assert added == [True, False]
    assert counted_once(ledger, old)
    ledger.close()


def test_a_damaged_payload_is_told_and_holds_nobody_up(url: str, ledger: Ledger) -> None:
    records = calls_of(1, 100, HOUR_S)
    ledger.records.append(records[:64])
    ledger.records.append(records[64:])
    first = "id = (SELECT min(id) FROM blocks)"
    with ledger._database.write() as connection:
        if url.startswith("sqlite"):
            connection.execute(text("DROP TRIGGER blocks_no_update"))
            connection.execute(text(f"UPDATE blocks SET body = x'00' WHERE {first}"))
        else:
            connection.execute(text("ALTER TABLE blocks DISABLE TRIGGER USER"))
            connection.execute(text(f"UPDATE blocks SET body = '\\x00' WHERE {first}"))

    roll_all(ledger.rollups, now_us=5)

    damaged = {one.call_id for one in ledger.rollups.damaged()}
    found = traffic.totals(ledger.rollups, Wanted(ALL))
    truth = reckoned(records, ALL)
    assert damaged == {one.call_id for one in records[:64]}
    assert (found.calls, found.answered, found.duration_us, found.latency_p99) == (
        truth.calls, truth.answered, truth.duration_us, found.latency_p99,
    )  # fmt: skip
    assert found.attempts < truth.attempts
    assert ledger.rollups.waiting() == 0


def test_what_breaks_a_profile_is_counted_and_told(ledger: Ledger) -> None:
    records = calls_of(1, 50, HOUR_S)
    ledger.records.append(records)

    def picky(some: Sequence[Record]) -> Mapping[tuple[int, ProfileKey], bytes]:
        if any(one.call_id == records[7].call_id for one in some):
            raise ZeroDivisionError
        return {(0, ProfileKey("credit", 1, "", "", "age")): b"%d" % len(some)}

    while Roller(ledger.rollups, picky, lambda one, other: b"%d" % (int(one) + int(other))).step(3):
        pass

    (damage,) = ledger.rollups.damaged()
    assert (damage.call_id, damage.at_us) == (records[7].call_id, 3)
    assert "ZeroDivisionError" in damage.why
    assert counted_once(ledger, records)


def test_what_breaks_the_merging_of_profiles_stops_no_counting(ledger: Ledger) -> None:
    records = calls_of(1, 60, HOUR_S)
    key = ProfileKey("credit", 1, "", "", "age")

    def broken(one: bytes, other: bytes) -> bytes:
        raise ValueError

    roller, refused = Roller(ledger.rollups, lambda _: {(0, key): b"1"}, broken), 0
    for start in range(0, 60, 10):
        ledger.records.append(records[start : start + 10])
        try:
            roller.step(1)
        except StoreError:  # there is a profile already, and it cannot be merged
            refused += 1
    roll_all(ledger.rollups)

    assert refused >= 1
    assert counted_once(ledger, records)


def test_calls_that_the_store_always_refuses_are_set_aside_at_last(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = calls_of(1, 20, HOUR_S), calls_of(2, 30, HOUR_S)
    ledger.records.append(bad)
    ledger.records.append(good)
    ids = {one.call_id for one in bad}
    plain = rolling.fold

    def fold(batch):  # what no database can hold
        rolled = plain(batch)
        if any(one.call_id in ids for one in batch.records):
            rolled.spent = {(60, "x", key): [1] * 8 for _, _, key in rolled.spent}
        return rolled

    monkeypatch.setattr(rolling, "fold", fold)
    monkeypatch.setattr(rolling, "_TRIES", 3)
    if ledger._database.engine.dialect.name == "sqlite":  # it holds text where numbers should be
        with ledger._database.write() as connection:
            connection.execute(text(REFUSE))
    roller, refused = Roller(ledger.rollups), 0
    for _ in range(20):
        try:
            if not roller.step(9):
                break
        except StoreError:
            refused += 1

    assert refused == 3
    assert {one.call_id for one in ledger.rollups.damaged()} == ids
    assert counted_once(ledger, good)


def test_a_ledger_that_is_locked_is_folded_later(sqlite_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(sqlite_url, tmp_path, busy_timeout_s=0.05)
    records = calls_of(1, 50)
    ledger.records.append(records)
    roller = Roller(ledger.rollups)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    for _ in range(3):
        with pytest.raises(StoreError, match="locked"):
            roller.step(1)
    other.execute("ROLLBACK")
    other.close()
    roll_all(ledger.rollups)

    assert counted_once(ledger, records)
    assert ledger.rollups.damaged() == []
    ledger.close()


def test_words_that_a_database_cannot_hold_are_counted_together(ledger: Ledger) -> None:
    rng = random.Random(1)
    records = [simple_record(rng, NOON_MS) for _ in range(6)]
    for record, caller in zip(
        records, ("a", "a\0", "a\u2400", "x" * 3000, "x" * 3001, ""), strict=True
    ):
        record.caller = caller
    for record in records:
        ledger.records.append([record])

    roll_all(ledger.rollups)

    found = traffic.callers(ledger.rollups, Wanted(ALL))
    assert sum(one.calls for one in found) == 6
    assert len(found) == 5
