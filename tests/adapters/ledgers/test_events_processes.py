"""Several processes that settle events, and processes that are killed while they do."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.events import Event, Origin
from splice.ports.stores import CallFilter

WORKER = Path(__file__).with_name("event_worker.py")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


def start(url: str, folder: Path, name: str, *words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, str(WORKER), url, str(folder), name, *words]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


class Stored(NamedTuple):
    """Numbers of events, by what of them is stored."""

    queued: list[int]
    recorded: list[int]
    answered: int
    sent: list[int]
    handed_on: list[int]
    in_table: list[int]


def stored(ledger: Ledger) -> Stored:
    def numbers(query: str) -> list[int]:
        with ledger._database.read() as connection:
            return sorted(int(row[0]) for row in connection.execute(text(query)))

    review = ledger.queue.take("review", 10**5, "test", now_us=10, lease_us=1)
    ledger.queue.give_back("review", review, due_us=0, tried=False)
    return Stored(
        numbers("SELECT number FROM queued WHERE queue = 'queue:orders'"),
        sorted(int(one.entity or "") for one in ledger.records.find(CallFilter(limit=10**5))),
        numbers("SELECT count(*) FROM inbox")[0],
        sorted(int(one.message.id) for one in ledger.outbox.outbox(limit=10**5)),
        sorted(int((event.value or b"")[5:-1]) for event in review),
        numbers("SELECT id FROM decisions"),
    )


def test_a_process_killed_while_it_settles_leaves_nothing_half(url: str, tmp_path: Path) -> None:
    ledger, rng = open_ledger(url, tmp_path), random.Random(1)
    ledger.events.prepare(["table:decisions"])
    events = [Event(Origin("", 0, 0), b"%d" % (n % 50), b"v") for n in range(3000)]
    numbers = ledger.queue.put("orders", events, now_us=1)

    for name in "abcd":
        process = start(url, tmp_path, name, "drain")
        time.sleep(0.02 + rng.random() * 0.1)
        process.kill()
        acknowledged = sum(map(int, process.communicate()[0].split()))

        now = stored(ledger)
        while now != (now := stored(ledger)):  # a server may still commit for the dead
            continue
        done = sorted(set(numbers) - set(now.queued))
        assert len(done) >= acknowledged
        assert now.recorded == now.sent == now.handed_on == now.in_table == done
        assert now.answered == len(done)

        with ledger._database.write() as connection:  # the leases of the dead run out
            connection.execute(text("UPDATE queued SET state = 0, when_us = 0 WHERE state = 1"))
    ledger.close()


def test_processes_that_drain_a_queue_settle_each_event_once(url: str, tmp_path: Path) -> None:
    ledger = open_ledger(url, tmp_path)
    events = [Event(Origin("", 0, 0), b"%d" % (n % 30), b"v") for n in range(600)]
    numbers = ledger.queue.put("orders", events, now_us=1)

    running = [start(url, tmp_path, name, "drain") for name in "abc"]
    said = [process.communicate(timeout=120)[0].split() for process in running]

    now = stored(ledger)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(int(count) for counts in said for count in counts) == len(numbers)
    assert now.recorded == now.sent == now.handed_on == now.in_table == numbers
    assert (now.queued, now.answered) == ([], len(numbers))
    ledger.close()


def test_of_two_processes_that_settle_the_same_events_one_wins_each(
    url: str, tmp_path: Path
) -> None:
    running = [start(url, tmp_path, name, "same", "200") for name in ("left", "right")]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()

    won = [sum(map(int, p.communicate(timeout=120)[0].split())) for p in running]

    ledger = open_ledger(url, tmp_path)
    now = stored(ledger)
    assert [process.returncode for process in running] == [0, 0]
    assert sum(won) == 200
    assert now.sent == now.handed_on == now.in_table == list(range(200))
    assert now.answered == 200
    assert set(Counter(now.recorded).values()) == {2}  # both calls were made
    late = [
        one
        for one in ledger.records.find(CallFilter(limit=1000))
        if (whole := ledger.records.get(one.call_id)) is not None and whole.notes
    ]
    assert len(late) == 200
    ledger.close()
