"""Promotions from several processes at once, and from processes that are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.audit import first_broken
from splice.testing.contracts.promotions import Stage

PROMOTER = Path(__file__).with_name("promoter.py")
KILLS = 15


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def shared(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


class Promoting:
    """A process that promotes when it is told."""

    def __init__(self, url: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROMOTER), url, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.read() == "ready"

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate()


def test_of_two_processes_that_saw_the_same_one_wins(
    url: str, shared: Ledger, tmp_path: Path
) -> None:
    stage = Stage(shared.models, shared.releases, tmp_path)
    both = [Promoting(url, tmp_path / "blobs") for _ in range(2)]
    wins = 0
    seen = 1
    for _ in range(6):
        for process, number in zip(both, {1, 2, 3} - {seen}, strict=True):
            process.tell(f"once {number} {seen}")
        said = [process.read() for process in both]
        assert sorted(said) == ["overtaken", "won"]
        seen = stage.state()[0]
        assert stage.state()[2] == [f"credit@{seen}"] * 2
        wins += 1
    for process in both:
        process.end()

    events = shared.audit.events()
    assert [one.action for one in events].count("model.promote") == wins
    assert first_broken(events) is None


def whole(stage: Stage) -> bool:
    """Whether what runs is what the alias says, as soon as a server has ended what it was at."""
    for _ in range(500):
        champion, _, runs = stage.state()
        if runs == [f"credit@{champion}"] * 2:
            return True
        time.sleep(0.01)
    return False


def test_a_killed_process_leaves_all_of_a_promotion_or_nothing(
    url: str, shared: Ledger, tmp_path: Path
) -> None:
    stage = Stage(shared.models, shared.releases, tmp_path, versions=2)
    promoting = Promoting(url, tmp_path / "blobs")
    pause = random.Random(4)
    for _ in range(KILLS):
        promoting.tell("go")
        words = sorted((promoting.read(), promoting.read()))  # the child's word and its id
        assert words[1] == "going"
        time.sleep(pause.uniform(0, 0.03))
        os.kill(int(words[0]), signal.SIGKILL)
        assert whole(stage)
    promoting.end()

    events = shared.audit.events(limit=100_000)
    promoted = [one for one in events if one.action == "model.promote"]
    assert len(promoted) >= KILLS  # each had done one, and was at the next
    assert promoted[-1].subject == f"credit@{stage.state()[0]}"
    assert first_broken(events) is None
