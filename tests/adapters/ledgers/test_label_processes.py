"""Two processes that join outcomes at once, killed again and again, count each label once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from labels_house import NOON_US, TRUTHS, by_hand, call, enter, outcome, rounded, stored

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.call import Outcome, Record
from splice.monitor.labelling import Labeller
from splice.testing.contracts.releases import add, manifest

WORKER = Path(__file__).with_name("label_worker.py")
NOW_US = NOON_US + 10**12
KILLS = 4


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def shared(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    add(ledger.releases, msgspec.structs.replace(manifest(), truths=TRUTHS))
    yield ledger
    ledger.close()


def worker(url: str, folder: Path) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, str(WORKER), url, str(folder), str(NOW_US)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_workers_that_are_killed_count_each_label_once(
    url: str, shared: Ledger, tmp_path: Path
) -> None:
    rng = random.Random(7)
    calls: list[Record] = []
    told: list[Outcome] = []
    workers = [worker(url, tmp_path / "blobs") for _ in range(2)]

    for kill in range(KILLS):
        more = [call(rng, entity="anna" if kill % 2 else None) for _ in range(150)]
        calls += more
        outcomes = [outcome(rng, calls) for _ in range(200)]
        outcomes = [one for one in dict.fromkeys(outcomes) if one not in told]
        told += outcomes
        shared.outcomes.append_outcomes(outcomes[:100], NOON_US)
        enter(shared, more)
        shared.outcomes.append_outcomes(outcomes[100:], NOON_US)
        time.sleep(rng.random() * 0.1)  # somewhere in the middle of it
        victim = workers.pop(0)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        workers.append(worker(url, tmp_path / "blobs"))
    for one in workers:
        one.communicate(timeout=120)
        assert one.returncode == 0
    Labeller(shared.labels, shared.releases).catch_up(NOW_US)

    assert rounded(stored(shared)) == rounded(by_hand(calls, told, NOW_US))
