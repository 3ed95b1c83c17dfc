"""What a rollout and a shadow cost the caller: the same server with and without them, in turn."""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from load import Measured, Target, Wrk, write_lines
from processes import family_seconds
from serve.job import Asked, serving
from serve.subject import Bench, Command
from switch.project import NAME, SECOND, make, run

STATES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "plain": ((), ()),
    "split": (
        ("rollout", "start", NAME, SECOND, "--share", "50 %", "--yes"),
        ("rollout", "stop", NAME, "--yes"),
    ),
    "shadow": (
        ("rollout", "shadow", NAME, SECOND),
        ("rollout", "shadow", NAME, SECOND, "--off"),
    ),
}
"""What is on, and the commands that switch it on and off."""
LOADS = (1, 32)
WARM_UP_SECONDS = 1.0
FOLLOW_S = 20.0


@dataclass(frozen=True)
class Cost:
    """One timed run."""

    state: str
    connections: int
    measured: Measured
    cpu_us: float
    """Processor time of the server for one answer, its shadows included."""
    shadowed: float
    """Share of the calls that a shadow repeated."""


def costs(bench: Bench, asked: Asked, wrk: Wrk, seconds: float, rounds: int) -> list[Cost]:
    """Every state at every load, in rounds."""
    command = make(bench, 1)
    bodies = command.cwd / "bodies.txt"
    write_lines(bodies, command.lines(asked.rows))
    target = Target(f"http://127.0.0.1:{bench.port}{command.paths[0]}", bodies, command.headers)
    ledger = command.cwd / ".splice" / "ledger.db"
    found: list[Cost] = []
    with serving(command, bench.port, asked.rows[0]) as server:
        for _ in range(rounds):
            for state, (on, off) in STATES.items():
                _switched(command, bench.port, asked, on)
                for connections in LOADS:
                    wrk.run(target, connections, WARM_UP_SECONDS)
                    repeated = shadows(ledger)
                    cpu = family_seconds(server.pid)
                    measured = wrk.run(target, connections, seconds)
                    cpu = family_seconds(server.pid) - cpu
                    share = (shadows(ledger) - repeated) / measured.requests
                    each = cpu / measured.requests * 1e6
                    found.append(Cost(state, connections, measured, each, share))
                _switched(command, bench.port, asked, off)
    return found


def _switched(command: Command, port: int, asked: Asked, change: Sequence[str]) -> None:
    """Make the change, and return once the server has followed it."""
    if not change:
        return
    before = _release(command, port, asked)
    run(command.cwd, *change)
    give_up = time.monotonic() + FOLLOW_S
    while _release(command, port, asked) == before:
        if time.monotonic() > give_up:
            raise RuntimeError(f"the server did not follow splice {' '.join(change)}")
        time.sleep(0.05)


def _release(command: Command, port: int, asked: Asked) -> int:
    """The number of the release that answers now."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = command.make_body(asked.rows[0])
        link.request("POST", command.paths[0], body, dict(command.headers))
        return int(json.loads(link.getresponse().read())["release"])
    finally:
        link.close()


def shadows(ledger: Path) -> int:
    """How many calls of shadows the ledger holds; those that run just now are not in it yet."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)
    try:
        counted: int = connection.execute(
            "SELECT count(*) FROM calls JOIN call_kinds ON call_kinds.id = calls.kind "
            "WHERE call_kinds.surface = 'shadow'"
        ).fetchone()[0]
    finally:
        connection.close()
    return counted
