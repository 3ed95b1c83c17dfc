"""Calls that move from the ledger to files: none is lost, none is doubled, all are read."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from reckoned import ALL, NOON_US, roll_all
from sqlalchemy import text

from splice.adapters.archives.parquet import ParquetArchive
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.duties import Freeze
from splice.core.errors import StoreError
from splice.core.rollups import Wanted
from splice.monitor import traffic
from splice.monitor.archiving import Archiver
from splice.ports.stores import CallFilter
from splice.testing.contracts.records import DAY_MS, NOON_MS, any_record, call_id, simple_record

KEEP_S = 10 * 86_400.0
NOW_US = NOON_US + 12 * DAY_MS * 1000  # the calls of the first two days are old enough


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path)
    yield ledger
    ledger.close()


@pytest.fixture
def files(ledger: Ledger, tmp_path: Path) -> ParquetArchive:
    return ParquetArchive(tmp_path / "archive", ledger.archives)


def calls_of_days(days: int, each: int, seed: int = 1) -> list[Record]:
    """Calls of all kinds on so many days."""
    rng = random.Random(seed)
    return [any_record(rng, NOON_MS + day * DAY_MS) for day in range(days) for _ in range(each)]


def roll(ledger: Ledger) -> None:
    """Count all calls, and make them leaves of the tree."""
    roll_all(ledger.rollups)
    while ledger.checkpoints.sequence(1000):
        pass


def fill(ledger: Ledger, records: Sequence[Record]) -> None:
    for start in range(0, len(records), 50):
        ledger.records.append(records[start : start + 50])
    roll(ledger)


def archive_all(ledger: Ledger, files: ParquetArchive, now_us: int = NOW_US) -> None:
    archiver = Archiver(ledger.archives, files, KEEP_S)
    for _ in range(1000):
        if not archiver.step(now_us):
            return
    raise AssertionError("the archiver never ended")


def read_back(ledger: Ledger, files: ParquetArchive, records: Sequence[Record]) -> list[str]:
    """Where each call is: once, in the ledger or in the archive, and whole."""
    places: list[str] = []
    for record in records:
        in_ledger, in_files = ledger.records.get(record.call_id), files.get(record.call_id)
        assert record in (in_ledger, in_files)
        places.append("ledger" if in_ledger is not None else "files")
    return places


def test_old_calls_move_whole_and_young_ones_stay(
    ledger: Ledger, files: ParquetArchive, tmp_path: Path
) -> None:
    records = calls_of_days(4, 12)
    fill(ledger, records)

    archive_all(ledger, files)

    assert read_back(ledger, files, records) == ["files"] * 24 + ["ledger"] * 24
    assert ledger.records.count() == 24
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    integrations = ("credit", "triage")
    assert names == [
        f"archive/2026-11-0{day}/{name}.1.parquet" for day in (5, 6) for name in integrations
    ]
    assert traffic.totals(ledger.rollups, Wanted(ALL)).calls == len(records)
    assert not [*tmp_path.rglob(".*.new")]


def test_what_is_moved_leaves_no_payload_behind(ledger: Ledger, files: ParquetArchive) -> None:
    fill(ledger, calls_of_days(1, 60))

    archive_all(ledger, files)

    with ledger._database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM blocks")).scalar() == 0
        states = connection.execute(text("SELECT DISTINCT state FROM archives")).scalars().all()
    assert states == ["removed"]


def test_archived_calls_are_found_as_others_are(ledger: Ledger, files: ParquetArchive) -> None:
    records = calls_of_days(2, 60)
    fill(ledger, records)
    wanted = [
        CallFilter(limit=1000), CallFilter(integration="credit", limit=7),
        CallFilter(status=records[0].status, limit=20), CallFilter(entity="customer-1"),
        CallFilter(release=2, variant="plain", limit=100), CallFilter(reason=records[3].reason),
        CallFilter(since_us=NOON_US + DAY_MS * 1000, limit=1000), CallFilter(integration="none"),
        CallFilter(route="rule:scorecard", limit=3),
    ]  # fmt: skip
    before = [ledger.records.find(one) for one in wanted]

    archive_all(ledger, files)

    assert [files.find(one) for one in wanted] == before
    assert ledger.records.find(CallFilter()) == []


def test_calls_that_are_in_no_rollup_yet_stay(ledger: Ledger, files: ParquetArchive) -> None:
    records = calls_of_days(1, 20)
    ledger.records.append(records)

    archive_all(ledger, files)
    assert ledger.records.count() == 20
    roll(ledger)
    archive_all(ledger, files)

    assert ledger.records.count() == 0


def test_calls_that_are_no_leaf_of_the_tree_yet_stay(ledger: Ledger, files: ParquetArchive) -> None:
    records = calls_of_days(1, 3)
    ledger.records.append(records)
    roll_all(ledger.rollups)

    archive_all(ledger, files)

    assert ledger.records.count() == 3


def test_a_late_call_makes_a_further_file(ledger: Ledger, files: ParquetArchive) -> None:
    records, late = calls_of_days(1, 20), calls_of_days(1, 5, seed=2)
    fill(ledger, records)
    archive_all(ledger, files)
    fill(ledger, late)

    archive_all(ledger, files)

    assert read_back(ledger, files, [*records, *late]) == ["files"] * 25
    assert {one.part for one in ledger.archives.files()} == {1, 2}
    assert sum(one.calls for one in ledger.archives.files()) == 25


def test_a_call_that_comes_while_its_day_moves_is_not_lost(
    ledger: Ledger, files: ParquetArchive
) -> None:
    records, late = calls_of_days(1, 20), calls_of_days(1, 5, seed=2)
    fill(ledger, records)
    move = ledger.archives.move

    def late_move(day, written, now_us):
        if late_move.first:
            late_move.first = False
            ledger.records.append(late)
        return move(day, written, now_us)

    late_move.first = True
    ledger.archives.move = late_move
    archive_all(ledger, files)

    assert ledger.records.count() == 25  # other calls than the files have: nothing was moved
    roll(ledger)
    archive_all(ledger, files)
    assert read_back(ledger, files, [*records, *late]) == ["files"] * 25
    assert sum(one.calls for one in ledger.archives.files()) == 25


def test_a_kept_claim_is_still_answered(ledger: Ledger, files: ParquetArchive) -> None:
    answered, failed = (simple_record(random.Random(n), NOON_MS) for n in (1, 2))
    failed = msgspec.structs.replace(failed, status=Status.FAILED, reason=Reason.EXHAUSTED)
    for record, key in ((answered, "k1"), (failed, "k2")):
        ledger.records.claim("credit", "app", key, record.call_id, b"body", NOON_US, 1)
    fill(ledger, [answered, failed])

    archive_all(ledger, files)
    new = call_id(random.Random(3), NOW_US // 1000)
    again = [
        ledger.records.claim("credit", "app", key, new, b"body", NOW_US, 1) for key in ("k1", "k2")
    ]

    assert (again[0].call_id, again[0].done, again[0].mine) == (answered.call_id, True, False)
    assert again[1].mine
    assert files.get(answered.call_id) == answered


def test_outcomes_of_archived_calls_are_joined(ledger: Ledger, files: ParquetArchive) -> None:
    record = simple_record(random.Random(1), NOON_MS)
    fill(ledger, [record])
    archive_all(ledger, files)
    outcome = Outcome("credit", "paid", True, NOW_US, entity=record.entity)

    ledger.outcomes.append_outcomes([outcome], NOW_US)

    found = files.get(record.call_id)
    assert found is not None
    assert ledger.outcomes.outcomes_of(found) == [outcome]


@pytest.mark.parametrize(
    ("url", "step"),
    [
        *(("sqlite", step) for step in ("write", "move", "ids", "delete", "delete_blocks")),
        # PostgreSQL drops the partition as it lists the files: there are no further steps.
        *(pytest.param("postgres", step, marks=pytest.mark.postgres) for step in ("write", "move")),
    ],
    indirect=["url"],
)
def test_interrupted_anywhere_nothing_is_lost_or_doubled(
    ledger: Ledger, files: ParquetArchive, step: str
) -> None:
    records = calls_of_days(2, 8)
    fill(ledger, records)
    broken = files if step in ("write", "ids") else ledger.archives
    plain = getattr(broken, step)
    count = 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        done = plain(*arguments)
        if count in (1, 3, 4, 8):
            raise KeyboardInterrupt  # after it took effect, before anybody knew
        return done

    setattr(broken, step, interrupted)
    archiver = Archiver(ledger.archives, files, KEEP_S)
    for _ in range(100):
        try:
            if not archiver.step(NOW_US):
                break
        except KeyboardInterrupt:
            read_back(ledger, files, records)
    else:
        raise AssertionError("the archiver never ended")

    assert read_back(ledger, files, records) == ["files"] * 16
    assert ledger.records.count() == 0
    assert sum(one.calls for one in ledger.archives.files()) == 16


def test_a_day_with_a_damaged_payload_stays_and_the_next_moves(
    ledger: Ledger, files: ParquetArchive, url: str
) -> None:
    records = calls_of_days(2, 10)
    fill(ledger, records)
    _damage(ledger, url, "day = (SELECT min(day) FROM blocks)")

    archiver = Archiver(ledger.archives, files, KEEP_S)
    while archiver.step(NOW_US):
        if not ledger.archives.removing() and ledger.records.count() == 10:
            break
    with pytest.raises(StoreError, match="damaged"):
        archiver.step(NOW_US)

    assert ledger.records.count() == 10
    assert read_back(ledger, files, records[10:]) == ["files"] * 10


def test_a_file_that_reads_otherwise_than_written_moves_nothing(
    ledger: Ledger, files: ParquetArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, calls_of_days(1, 10))
    from splice.adapters.archives import parquet

    plain = parquet._batch
    monkeypatch.setattr(parquet, "_batch", lambda page: plain(page[1:]))

    with pytest.raises(StoreError, match="reads otherwise"):
        archive_all(ledger, files)

    assert ledger.records.count() == 10
    assert ledger.archives.files() == []


def test_a_file_that_is_gone_is_told(ledger: Ledger, files: ParquetArchive, tmp_path: Path) -> None:
    records = calls_of_days(1, 10)
    fill(ledger, records)
    archive_all(ledger, files)
    for path in tmp_path.rglob("*.parquet"):
        path.unlink()

    with pytest.raises(StoreError, match="no such file"):
        files.get(records[0].call_id)


def _damage(ledger: Ledger, url: str, where: str) -> None:
    """Change payload blocks past the triggers."""
    with ledger._database.write() as connection:
        if url.startswith("sqlite"):
            connection.execute(text("DROP TRIGGER blocks_no_update"))
            connection.execute(text(f"UPDATE blocks SET body = x'00' WHERE {where}"))
        else:
            connection.execute(text("ALTER TABLE blocks DISABLE TRIGGER USER"))
            connection.execute(text(f"UPDATE blocks SET body = '\\x00' WHERE {where}"))


def test_frozen_evidence_stays_in_the_ledger_until_it_is_let_go(
    ledger: Ledger, files: ParquetArchive
) -> None:
    records = calls_of_days(3, 6)
    fill(ledger, records)
    of_first_day = records[0]
    begin = of_first_day.asked_us // (DAY_MS * 1000) * DAY_MS * 1000
    ends = begin + DAY_MS * 1000
    freeze = Freeze("f", of_first_day.integration, begin, ends, NOW_US, "ada", "why")
    kept = [freeze]
    archiver = Archiver(ledger.archives, files, KEEP_S, lambda: kept)

    while archiver.step(NOW_US):
        pass
    frozen = read_back(ledger, files, records)
    kept.clear()
    while archiver.step(NOW_US):
        pass

    assert frozen == ["ledger"] * 6 + ["files"] * 6 + ["ledger"] * 6
    assert read_back(ledger, files, records) == ["files"] * 12 + ["ledger"] * 6
