"""`python benchmarks/table.py [JOB] [--check]`: a job's results as the README's Markdown table.

With `--check`, also whether Splice keeps each floor; exit 1 if it keeps not all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from table_drift import drift_floors, drift_markdown
from table_events import events_floors, events_markdown
from table_lifecycle import models_floors, models_markdown, switch_floors, switch_markdown

RESULTS = Path(__file__).parent / "results"
OURS = "splice"
DIRECT = "direct"
"""What is measured without any server between the load and what it asks."""
STREAMING = "stream-16"
COMPARED: Mapping[str, tuple[int | str, ...]] = {"serve": (32,), "gateway": (64, STREAMING)}
"""The loads at which each job compares throughput."""

SERVE_FLOOR = "raw"
SERVE_TIMES_FASTER = {"fastapi": 3.0, "mlserver": 9.0, "bentoml": 25.0}
"""How many times each neighbour's throughput Splice must give, at 32 connections."""
ABOVE_RAW_MS = 0.2
"""How far Splice's p50 at one connection may lie above the raw handler's."""

GATEWAY_TIMES_FASTER = {"tensorzero": 1.0, "litellm": 60.0}
"""The same at 64 connections."""
GATEWAY_STREAMING = "tensorzero"
GATEWAY_STREAMING_TIMES = 5.0
"""How many times its streamed replies Splice must give."""
ADDED_MS = 0.5
"""How much Splice's p50 at one connection may lie above that without a gateway."""
MEMORY_MB = 200.0
"""What Splice may hold in memory after a load."""

Table = Mapping[tuple[str, int | str, str], float]


def main(argv: list[str]) -> int:
    """Print the table, and with `--check` the floors; the exit code."""
    parser = argparse.ArgumentParser(description="A job's results as a Markdown table.")
    parser.add_argument("job", nargs="?", default="serve")
    parser.add_argument("--check", action="store_true", help="tell whether the floors are kept")
    options = parser.parse_args(argv)
    table = read(RESULTS / f"{options.job}.json")
    print(markdown(table, options.job))
    if not options.check:
        return 0
    kept = FLOORS[options.job](table)
    print()
    for sentence, holds in kept.items():
        print(f"{'kept  ' if holds else 'broken'}  {sentence}")
    return 0 if all(kept.values()) else 1


def read(path: Path) -> Table:
    """The rows of a results file by subject, load and metric."""
    rows = json.loads(path.read_text())
    return {(row["subject"], row["load"], row["metric"]): row["value"] for row in rows}


def markdown(table: Table, job: str = "serve") -> str:
    """One line a subject: throughput and latencies at each load, and how it compares with Splice.

    The last columns are Splice's throughput over the subject's; they are left out where the results
    have no Splice, as is what a gateway adds to a reply at one connection, and the most memory it
    held, where that was not measured.
    """
    base = job.removesuffix("-variants")
    if base in OTHER_TABLES:
        return OTHER_TABLES[base](table)
    subjects = list(dict.fromkeys(subject for subject, _, _ in table))
    loads = sorted({load for _, load, _ in table}, key=lambda load: (isinstance(load, str), load))
    compared = [load for load in COMPARED[base] if (OURS, load, "rps") in table]
    adds = (DIRECT, 1, "p50_ms") in table
    weighs = any(metric == "memory_mb" for _, _, metric in table)
    heads = ["subject"]
    for load in loads:
        heads += [f"rps at {load}", f"p50 ms at {load}", f"p99 ms at {load}"]
    heads += ["p50 ms added at 1"] if adds else []
    heads += ["MB"] if weighs else []
    heads += [f"Splice's rps is, at {load}" for load in compared]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for subject in subjects:
        cells = [subject]
        for load in loads:
            cells.append(_shown(table, subject, load, "rps", ",.0f"))
            cells.append(_shown(table, subject, load, "p50_ms", ".2f"))
            cells.append(_shown(table, subject, load, "p99_ms", ".2f"))
        if adds:
            measured = subject != DIRECT and (subject, 1, "p50_ms") in table
            cells.append(f"{_added(table, subject):.2f}" if measured else "")
        if weighs:
            held = memory(table, subject)
            cells.append("" if held is None else f"{held:.0f}")
        for load in compared:
            ratio = _ratio(table, subject, load)
            cells.append(f"{ratio:.1f} times" if ratio and subject != OURS else "")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def serve_floors(table: Table) -> dict[str, bool]:
    """Each floor of serving with its figures, and whether it is kept.

    Raises:
        KeyError: The results lack a subject or a load that a floor speaks of.
    """
    kept: dict[str, bool] = {}
    (load,) = COMPARED["serve"]
    ours = table[OURS, load, "p99_ms"]
    for subject, least in SERVE_TIMES_FASTER.items():
        ratio = table[OURS, load, "rps"] / table[subject, load, "rps"]
        kept[f"{ratio:.1f} times the throughput of {subject}, at least {least:g}"] = ratio >= least
        theirs = table[subject, load, "p99_ms"]
        kept[f"p99 {ours:.2f} ms, below the {theirs:.2f} of {subject}"] = ours < theirs
    above = table[OURS, 1, "p50_ms"] - table[SERVE_FLOOR, 1, "p50_ms"]
    kept[f"p50 {above:.3f} ms above {SERVE_FLOOR}, at most {ABOVE_RAW_MS}"] = above <= ABOVE_RAW_MS
    return kept


def gateway_floors(table: Table) -> dict[str, bool]:
    """Each floor of the gateway with its figures, and whether it is kept.

    Raises:
        KeyError: The results lack a subject or a load that a floor speaks of.
    """
    kept: dict[str, bool] = {}
    for subject, least in GATEWAY_TIMES_FASTER.items():
        ratio = table[OURS, 64, "rps"] / table[subject, 64, "rps"]
        kept[f"{ratio:.1f} times the throughput of {subject}, at least {least:g}"] = ratio >= least
    ratio = table[OURS, STREAMING, "rps"] / table[GATEWAY_STREAMING, STREAMING, "rps"]
    least = GATEWAY_STREAMING_TIMES
    kept[f"{ratio:.1f} times the streams of {GATEWAY_STREAMING}, at least {least:g}"] = (
        ratio >= least
    )
    added = _added(table, OURS)
    kept[f"p50 {added:.3f} ms added at one connection, below {ADDED_MS}"] = added < ADDED_MS
    held = memory(table, OURS) or 0.0
    kept[f"{held:.0f} MB after load, below {MEMORY_MB:g}"] = 0 < held < MEMORY_MB
    return kept


FLOORS: Mapping[str, Callable[[Table], dict[str, bool]]] = {
    "serve": serve_floors,
    "gateway": gateway_floors,
    "models": models_floors,
    "switch": switch_floors,
    "events": events_floors,
    "drift": drift_floors,
}
OTHER_TABLES: Mapping[str, Callable[[Table], str]] = {
    "models": models_markdown,
    "switch": switch_markdown,
    "events": events_markdown,
    "drift": drift_markdown,
}
"""Jobs whose table is not one line a subject."""


def memory(table: Table, subject: str) -> float | None:
    """The most a subject held in memory after any load, in MB."""
    held = [
        mb for (name, _, metric), mb in table.items() if (name, metric) == (subject, "memory_mb")
    ]
    return max(held, default=None)


def _added(table: Table, subject: str) -> float:
    """What a gateway adds to the p50 at one connection, in ms."""
    return table[subject, 1, "p50_ms"] - table[DIRECT, 1, "p50_ms"]


def _shown(table: Table, subject: str, load: int | str, metric: str, form: str) -> str:
    """One figure, or nothing where it was not measured."""
    value = table.get((subject, load, metric))
    return "" if value is None else format(value, form)


def _ratio(table: Table, subject: str, load: int | str) -> float | None:
    """Splice's throughput over the subject's."""
    theirs = table.get((subject, load, "rps"))
    return table[OURS, load, "rps"] / theirs if theirs else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
