"""A wall clock that is set back and forward under a server that runs: no promise hangs on it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from promise_house import GOOD, HIGH, INTEGRATIONS, TOML, Clock, until

from splice.testing.project import Project

YEAR_S = 365 * 86_400.0


@pytest.mark.parametrize("off_s", [-YEAR_S, YEAR_S])
def test_calls_keys_and_the_switch_hold_while_the_clock_is_set(
    tmp_path: Path, off_s: float
) -> None:
    clock = Clock(tmp_path / "clock")
    project = Project(tmp_path / "p", TOML)
    project.declare(INTEGRATIONS)
    with project.serve(env=clock.env) as server:
        first = [server.post(HIGH, GOOD) for _ in range(10)]
        keyed = server.post(HIGH, GOOD, idempotency_key="one")
        clock.set(off_s)
        later = [server.post(HIGH, GOOD) for _ in range(10)]
        again = server.post(HIGH, GOOD, idempotency_key="one")
        assert project.run("stop", "high-orders", "--why", "test").returncode == 0
        until(lambda: server.post(HIGH, GOOD).status == 503)
        stopped = server.post(HIGH, GOOD).json["code"]
        clock.set(0)
        still = server.post(HIGH, GOOD).json["code"]
        assert project.run("start", "high-orders").returncode == 0
        until(lambda: server.post(HIGH, GOOD).status == 200)

    assert {one.status for one in (*first, *later, keyed, again)} == {200}
    assert again.json["call_id"] == keyed.json["call_id"]  # one key, one execution
    assert (stopped, still) == ("stopped", "stopped")
    with contextlib.closing(sqlite3.connect(project.folder / ".splice" / "ledger.db")) as ledger:
        stored = [bytes(row[0]).hex() for row in ledger.execute("SELECT id FROM calls")]
    ids = [one.json["call_id"].replace("-", "") for one in (*first, *later, keyed)]
    assert len(set(ids)) == len(ids) == 21
    assert set(ids) <= set(stored)
    moved_s = (int(ids[10][:12], 16) - int(ids[9][:12], 16)) / 1000
    assert abs(moved_s - off_s) < 3600  # it was set, as far as the server could see
