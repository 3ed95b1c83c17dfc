"""Several processes on one ledger, and processes that are killed."""

from __future__ import annotations

import random
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Record
from splice.core.errors import StoreError
from splice.testing.contracts.records import simple_record

APPENDER = Path(__file__).with_name("appender.py")


def batch(seed: int, number: int, size: int) -> list[Record]:
    """The same calls as the process makes: see `appender.py`."""
    rng = random.Random(f"{seed}/{number}")
    return [simple_record(rng) for _ in range(size)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


def start(
    url: str, folder: Path, seed: int, *, batches: int, size: int, under: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    argv = [*under, sys.executable, str(APPENDER), url, str(folder)]
    argv += [str(n) for n in (seed, batches, size)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


def stored(ledger: Ledger, seed: int, number: int, size: int) -> int:
    """How many calls of a batch are there, each of them whole."""
    wanted = {record.call_id: record for record in batch(seed, number, size)}
    found = ledger.records.get_many(list(wanted))
    assert all(wanted[call_id] == record for call_id, record in found.items())
    return len(found)


def test_processes_that_append_at_once_lose_and_double_nothing(url: str, tmp_path: Path) -> None:
    # Two of the four append the very same calls.
    running = [start(url, tmp_path, seed, batches=20, size=70) for seed in (1, 2, 3, 3)]

    ended = [process.wait(60) for process in running]

    for process in running:
        process.communicate()
    ledger = open_ledger(url, tmp_path)
    assert ended == [0, 0, 0, 0]
    assert ledger.records.count() == 3 * 20 * 70
    for seed in (1, 2, 3):
        assert [stored(ledger, seed, number, 70) for number in range(20)] == [70] * 20
    ledger.close()


def test_a_killed_process_leaves_what_was_acknowledged_and_no_half_batch(
    url: str, tmp_path: Path
) -> None:
    rng, size = random.Random(1), 100
    ledger = open_ledger(url, tmp_path)
    for seed in range(8):
        process = start(url, tmp_path, seed, batches=10_000, size=size)
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
        time.sleep(rng.random() * 0.15)
        process.kill()
        acknowledged = len(process.communicate()[0].split())

        found = [stored(ledger, seed, number, size) for number in range(acknowledged + 3)]

        assert found[:acknowledged] == [size] * acknowledged
        assert found[acknowledged] in (0, size)  # committed, but killed before it could say so
        assert found[acknowledged + 1 :] == [0, 0]
    ledger.close()


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new/ledger.db"

    running = [start(url, tmp_path, seed, batches=1, size=1) for seed in range(5)]
    ended = [process.wait(60) for process in running]

    for process in running:
        process.communicate()
    ledger = open_ledger(url, tmp_path, migrate=False)
    assert ended == [0] * 5
    assert ledger.check() == ""
    assert ledger.records.count() == 5
    ledger.close()


@pytest.mark.postgres
def test_processes_that_start_at_once_migrate_a_server_once(
    postgres_template: tuple[object, str], tmp_path: Path
) -> None:
    databases, _ = postgres_template
    name = f"splice_new_{time.time_ns()}"
    databases.run(f"CREATE DATABASE {name}")  # type: ignore[attr-defined]
    url = databases.url(name)  # type: ignore[attr-defined]
    try:
        running = [start(url, tmp_path, seed, batches=1, size=1) for seed in range(5)]
        ended = [process.wait(60) for process in running]
        for process in running:
            process.communicate()
        ledger = open_ledger(url, tmp_path, migrate=False)
        assert ended == [0] * 5
        assert ledger.records.count() == 5
        ledger.close()
    finally:
        databases.run(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[attr-defined]


def test_an_append_is_synced_before_it_returns(sqlite_url: str, tmp_path: Path) -> None:
    """A process that is killed keeps its writes even without fsync; a machine does not."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: the order of system calls was not checked")
    log = tmp_path / "calls.log"
    calls = "trace=pwrite64,write,fsync,fdatasync"
    process = start(
        sqlite_url, tmp_path, 1, batches=12, size=3,
        under=[strace, "-f", "-y", "-e", calls, "-o", str(log)],
    )  # fmt: skip
    said = process.communicate(timeout=60)[0].split()
    if process.returncode and not said:
        pytest.skip("strace may not trace here: the order of system calls was not checked")

    unsynced, written, acknowledged = False, False, 0
    for line in log.read_text().splitlines():
        if re.search(r"pwrite64\(\d+<[^>]*ledger\.db-wal>", line):
            unsynced = written = True
        elif re.search(r"(fsync|fdatasync)\(\d+<[^>]*ledger\.db-wal>", line):
            unsynced = False
        elif match := re.search(r'write\(1<[^>]*>, "(\d+)\\n"', line):
            assert written, f"batch {match[1]} was acknowledged without being written"
            assert not unsynced, f"batch {match[1]} was acknowledged before it was synced"
            acknowledged += 1
            written = False

    assert acknowledged == 12


def test_a_locked_file_is_told_and_harms_nothing(sqlite_url: str, tmp_path: Path) -> None:
    import sqlite3

    ledger = open_ledger(sqlite_url, tmp_path, busy_timeout_s=0.2)
    rng = random.Random(1)
    ledger.records.append([simple_record(rng)])
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match=r"ledger\.db: got a database .* locked for 0\.2 s"):
        ledger.records.append([simple_record(rng)])
    while_locked = ledger.records.count()
    other.execute("ROLLBACK")
    other.close()
    ledger.records.append([simple_record(rng)])

    assert while_locked == 1
    assert ledger.records.count() == 2
    ledger.close()


def test_a_new_ledger_is_private(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/a/b/ledger.db", tmp_path / "blobs")
    ledger.records.append([simple_record(random.Random(1))])

    files = [file for file in (tmp_path / "a" / "b").iterdir() if file.name.startswith("ledger")]

    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len(files) == 3  # with -wal and -shm
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    ledger.close()


def test_two_processes_never_take_the_same_blocks(url: str, tmp_path: Path) -> None:
    first, second = open_ledger(url, tmp_path), open_ledger(url, tmp_path)

    taken = [n for ledger in (first, second, first) for n in ledger.records._take_blocks()]

    assert len(set(taken)) == len(taken)
    first.close()
    second.close()


def test_waiting_for_this_process_and_for_another_takes_no_longer_than_for_one(
    tmp_path: Path,
) -> None:
    import sqlite3
    import threading
    import time

    from sqlalchemy import event

    from splice.adapters.ledgers.sqlite import SqliteDatabase

    database = SqliteDatabase(tmp_path / "ledger.db", busy_s=1.5)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    said: list[str] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda *given: said.append(str(given[2]))
    )
    mine = threading.Event()

    def another_thread_writes() -> None:
        with database.turn():
            mine.set()
            time.sleep(0.8)

    thread = threading.Thread(target=another_thread_writes)
    thread.start()
    mine.wait()
    with pytest.raises(StoreError, match="kept locked"), database.write():
        pass
    thread.join()

    given, restored = (int(text.rpartition("=")[2]) for text in said if "busy_timeout" in text)
    assert 0 <= given < 1500  # ms: what was left of it after the turn
    assert restored == 1500
    other.close()
    database.close()
