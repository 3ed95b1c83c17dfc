"""Runs the benchmark of the console: how long each of its pages takes beside ten million calls.

The ledger is SQLite on this disk, made by the store and the chores that a server uses; the server
has core 0, who asks has core 1. A page is asked for as a browser does, its figures included, one
request after the other; the first request of each page, which fills caches, is a row of its own.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console import ledger, project
from environments import versions
from processes import on_core, only_on
from serve.subject import free_port, own_python

SUBJECTS = ("splice",)
LOADS = "10M"
SECONDS, ROUNDS = 0.0, 20
"""Rounds are requests for each page."""
SERVER_CORE, LOAD_CORE = "0", "1"
START_SECONDS = 60.0
LOG = "server.log"
PACKAGES = ("altair", "jinja2", "vl-convert-python", "numpy", "sqlalchemy")
CALLS: Mapping[str, int] = {"10M": 10_000_000, "1M": 1_000_000, "100k": 100_000}
_MEMBER = f"/console/integrations/{project.NAMES[0]}"
PAGES: Mapping[str, str] = {
    "portfolio": "/console?range=30d",
    "integration": f"{_MEMBER}?range=30d",
    "integration figures": f"{_MEMBER}/figures.json?range=30d",
    "integration 24 h": f"{_MEMBER}?range=24h",
    "drift": f"{_MEMBER}/drift?range=7d",
    "drift figures": f"{_MEMBER}/drift.json?range=7d",
    "accuracy": f"{_MEMBER}/accuracy?range=30d",
    "accuracy figures": f"{_MEMBER}/accuracy.json?range=30d",
    "experiments": f"{_MEMBER}/experiments",
    "alerts": "/console/alerts",
    "releases": f"{_MEMBER}/releases",
    "compare": f"{_MEMBER}/compare",
    "calls": "/console/calls",
    "calls of an integration": f"/console/calls?integration={project.NAMES[0]}",
    "calls of a card": "/console/calls?entity=card-004711",
    "failed calls": "/console/calls?status=failed",
}
"""What each is called in the rows, and where it is."""


@dataclass(frozen=True)
class Plan:
    """What the job measures: ledgers of so many calls, and how often each page is asked for."""

    calls: Mapping[str, int]
    rounds: int


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; `loads` are sizes of the ledger, comma-separated."""
    del seconds
    if list(names) != list(SUBJECTS) or every_variant:
        raise SystemExit("the job console has one subject, splice, and no variants")
    return Plan({load: CALLS[load] for load in loads.split(",")}, rounds)


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what the run was made with."""
    rows: list[dict[str, object]] = []
    sizes: dict[str, float] = {}
    for load, calls in plan.calls.items():
        place = cache / "places" / f"console-{load}"
        if not (place / "splice.toml").exists():
            project.write(place)
        ledger.make(place, calls)
        sizes[load] = round((place / ".splice" / "ledger.db").stat().st_size / 1e9, 2)
        with only_on(LOAD_CORE), _serving(place) as port:
            rows += _measured(port, load, plan.rounds)
    about = {"versions": versions(own_python(), PACKAGES), "rounds": plan.rounds}
    return rows, {**about, "ledger_gb": sizes, "pages": dict(PAGES)}


@contextmanager
def _serving(place: Path) -> Generator[int]:
    """The port of `splice serve` in the project, until the end."""
    port = free_port()
    command = (str(own_python().parent / "splice"), "serve", "--port", str(port))
    with on_core(SERVER_CORE, command, place, {}, LOG) as server:
        until = time.monotonic() + START_SECONDS
        while f":{port}" not in (said := (place / LOG).read_text()) or "ready" not in said:
            if time.monotonic() > until or server.poll() is not None:
                raise RuntimeError(f"the server did not start: {said[-2000:]}")
            time.sleep(0.1)
        yield port


def _measured(port: int, load: str, rounds: int) -> list[dict[str, object]]:
    """The first request of every page, then the median and the slowest of the others."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    first = {name: _asked(connection, path) for name, path in PAGES.items()}
    rest: dict[str, list[float]] = {name: [] for name in PAGES}
    for _ in range(rounds):
        for name, path in PAGES.items():
            rest[name].append(_asked(connection, path))
    connection.close()
    rows: list[dict[str, object]] = []
    for name, took in rest.items():
        figures = {
            "page_ms": statistics.median(took),
            "page_max_ms": max(took),
            "page_first_ms": first[name],
        }
        print(f"{load:5} {name:24} " + "  ".join(f"{m} {v:8.1f}" for m, v in figures.items()))
        rows += [
            {"subject": SUBJECTS[0], "load": name if load == LOADS else f"{name} at {load}",
             "metric": metric, "value": round(value, 2), "unit": "ms"}
            for metric, value in figures.items()
        ]  # fmt: skip
    return rows


def _asked(connection: http.client.HTTPConnection, path: str) -> float:
    """Milliseconds from the request to the last byte of the answer.

    Raises:
        RuntimeError: It was no page.
    """
    began = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    took = (time.perf_counter() - began) * 1e3
    if response.status != 200 or not body:
        raise RuntimeError(f"{path}: {response.status} {body[:500]!r}")
    if path.endswith(".json"):
        json.loads(body)
    return took
