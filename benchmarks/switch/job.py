"""Runs the benchmark of switching: changes are made while 2,000 calls a second come in.

Not one of them may be dropped: each gets the right answer of a version that was live, or, while the
integration is stopped, the refusal that says so. Every worker has connections of its own. The
server is on core 0; the load and the commands, behind everything else, on core 1. What a command
costs by itself shows the first row, which changes nothing.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from environments import versions
from load import Wrk, find_wrk
from processes import only_on
from serve.job import LOAD_CORE, SERVER_CORE, Asked, model_and_rows, serving
from serve.subject import Bench, Command, free_port, own_python
from serve.subject_splice import PACKAGES, VARIANTS
from switch import changes
from switch.changes import Script, figures, judged
from switch.constant import Constant
from switch.costs import costs
from switch.project import SECOND, expected, make
from switch.project import run as splice
from switch.workers import spread

SUBJECTS = ("splice",)
LOADS = "1,2"
SECONDS, ROUNDS = 4.0, 2
"""With these a run takes less than three minutes."""
RATE = 2000.0
CONNECTIONS = 32
QUIET_S = 1.0
VARIANT = next(iter(VARIANTS))
UNITS = {"rps": "requests/s", "cpu_us": "us/request", "shadowed": "share of calls"}


@dataclass(frozen=True)
class Plan:
    """What the job measures."""

    workers: Sequence[int]
    seconds: float
    """Of each timed run of the costs."""
    rounds: int
    """Of the costs: a change is made once."""


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; `loads` are numbers of workers, comma-separated."""
    if list(names) != list(SUBJECTS) or every_variant:
        raise SystemExit("the job switch has one subject, splice, and no variants")
    return Plan([int(load) for load in loads.split(",")], seconds, rounds)


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what the run was made with.

    Raises:
        NotFollowedError: A change was not made, or not followed by every worker.
        LoadError: A load for the costs met anything but success.
    """
    wrk = find_wrk(cache)
    model, asked = model_and_rows(cache)
    rows: list[dict[str, object]] = []
    notes: dict[str, object] = {}
    for workers in plan.workers:
        bench = Bench(cache, model, free_port(), VARIANT, own_python())
        found, notes[_workers(workers)] = _switched(bench, asked, workers)
        rows += found
    pinned = Wrk(("taskset", "-c", LOAD_CORE, *wrk.argv), wrk.version)
    bench = Bench(cache, model, free_port(), VARIANT, own_python())
    rows += _cost_rows(bench, asked, pinned, plan)
    return rows, _meta(plan, wrk, notes)


def _switched(
    bench: Bench, asked: Asked, workers: int
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Every change under load, at a server of so many workers."""
    command = make(bench, workers)
    splice(command.cwd, "models", "promote", SECOND, "--yes")
    with serving(command, bench.port, asked.rows[0]) as server, only_on(LOAD_CORE):
        links = spread(server.pid, bench.port, workers, CONNECTIONS)
        load = Constant(links, _requests(command, bench.port, asked), RATE)
        script = Script(load, command.cwd, QUIET_S)
        try:
            load.run(iter(script))
        finally:
            load.close()
    wrong = judged(load.samples, script.windows, expected(asked))
    rows: list[dict[str, object]] = []
    for window in script.windows:
        values = figures(load.samples, wrong, window)
        _say(window.change.name, workers, values)
        rows += _rows(window.change.name, _workers(workers), values)
    total = {"sent": float(len(wrong)), "dropped": float(sum(map(bool, wrong)))}
    rows += _rows("all", _workers(workers), total)
    if command.check_after:
        command.check_after(sum(sample.status == 200 for sample in load.samples))
    late = changes.percentile([(one.sent - one.due) * 1e3 for one in load.samples], 99)
    return rows, {
        "connections_closed_between_calls": load.reopened,
        "sent_late_p99_ms": round(late, 3),
        "wrong": sorted({why for why in wrong if why})[:20],
    }


def _requests(command: Command, port: int, asked: Asked) -> list[bytes]:
    """The bytes of one request a row."""
    found: list[bytes] = []
    for row in asked.rows:
        body = command.make_body(row)
        head = f"POST {command.paths[0]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in command.headers.items())
        found.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return found


def _cost_rows(bench: Bench, asked: Asked, wrk: Wrk, plan: Plan) -> list[dict[str, object]]:
    """The median of the rounds, for plain calls, split ones and shadowed ones."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for cost in costs(bench, asked, wrk, plan.seconds, plan.rounds):
        values = {
            "rps": cost.measured.rps,
            "p50_ms": cost.measured.p50_ms,
            "p99_ms": cost.measured.p99_ms,
            "cpu_us": cost.cpu_us,
            "shadowed": cost.shadowed,
        }
        _say(f"{cost.state} at {cost.connections}", 1, values)
        for metric, value in values.items():
            kept = found.setdefault((cost.state, cost.connections), {})
            kept.setdefault(metric, []).append(value)
    rows: list[dict[str, object]] = []
    for (state, connections), kept in found.items():
        medians = {metric: statistics.median(values) for metric, values in kept.items()}
        rows += _rows(state, connections, medians)
    return rows


def _rows(name: str, load: int | str, values: Mapping[str, float]) -> list[dict[str, object]]:
    """The figures as rows of the results file."""
    return [
        {
            "subject": name,
            "load": load,
            "metric": metric,
            "value": round(value, 3),
            "unit": UNITS.get(metric, "ms" if metric.endswith("_ms") else "calls"),
        }
        for metric, value in values.items()
    ]


def _workers(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def _meta(plan: Plan, wrk: Wrk, notes: Mapping[str, object]) -> dict[str, object]:
    """What the run was made with, beside what any job's meta has."""
    return {
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "load": f"{RATE:g} calls a second over {CONNECTIONS} connections, open loop; for the costs "
        f"wrk {wrk.version}, one thread, closed loop",
        "cores": f"server {SERVER_CORE}, load and commands {LOAD_CORE}",
        "model": "two versions of 200 trees on 30 features, ONNX, and a rule behind them",
        "notes": notes,
        "subjects": {
            "splice": {
                "variant": VARIANT,
                "configuration": VARIANTS[VARIANT],
                "versions": versions(own_python(), PACKAGES),
            }
        },
    }


def _say(name: str, workers: int, values: Mapping[str, float]) -> None:
    """Tell how the run goes."""
    told = "  ".join(f"{metric} {value:.4g}" for metric, value in values.items())
    print(f"{workers} x {name:30} {told}", file=sys.stderr, flush=True)
