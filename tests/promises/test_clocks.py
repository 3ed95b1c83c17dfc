"""A wall clock that is set back and forward under a server that runs: no promise hangs on it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from promise_house import GOOD, HIGH, INTEGRATIONS, TOML, Clock, until

from splice.testing.project import Project

YEAR_S = 365 * 86_400.0


def test_calls_keys_and_the_switch_hold_while_the_clock_is_set(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    project = Project(tmp_path / "p", TOML)
    project.declare(INTEGRATIONS)
    calls: dict[float, str] = {}
    with project.serve(env=clock.env) as server:
        keyed = server.post(HIGH, GOOD, idempotency_key="one").json["call_id"]
        for off_s in (0.0, -YEAR_S, YEAR_S):
            clock.set(off_s)
            one = server.post(HIGH, GOOD)
            again = server.post(HIGH, GOOD, idempotency_key="one")
            assert (one.status, again.status) == (200, 200)
            assert again.json["call_id"] == keyed  # one key, one execution
            calls[off_s] = one.json["call_id"].replace("-", "")
        clock.set(-YEAR_S)
        assert project.run("stop", "high-orders", "--why", "test").returncode == 0
        until(lambda: server.post(HIGH, GOOD).status == 503)
        for off_s in (-YEAR_S, 0.0, YEAR_S):
            clock.set(off_s)
            assert server.post(HIGH, GOOD).json["code"] == "stopped"
        assert project.run("start", "high-orders").returncode == 0
        until(lambda: server.post(HIGH, GOOD).status == 200)

    with contextlib.closing(sqlite3.connect(project.folder / ".splice" / "ledger.db")) as ledger:
        stored = {bytes(row[0]).hex() for row in ledger.execute("SELECT id FROM calls")}
    assert {*calls.values(), keyed.replace("-", "")} <= stored
    for off_s, call_id in calls.items():  # it was set, as far as the server could see
        moved_s = (int(call_id[:12], 16) - int(calls[0.0][:12], 16)) / 1000
        assert abs(moved_s - off_s) < 3600
