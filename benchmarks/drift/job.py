"""Runs the benchmark of drift: two Parquet files, from their names to a verdict on each column.

One subject at a time has both cores, in a process of its own. What each flags is held against what
was planted (`data.py`): that is told beside the times, and is no condition of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drift.data import SHIFTED, UNSHIFTED, files
from environments import environment, versions

HERE = Path(__file__).parent
SUBJECTS = ("evidently", "nannyml", "splice", "splice profiles")
LOADS = "1Mx30"
ROUNDS = 3
PATIENCE_S = 3600.0

_PEERS = ("evidently", "nannyml")
_APPS = {
    "evidently": "app_evidently.py",
    "nannyml": "app_nannyml.py",
    "splice": "app_splice.py",
    "splice profiles": "app_profiles.py",
}
_PACKAGES = ("evidently", "nannyml", "splice-ai", "pandas", "numpy", "scipy", "pyarrow",
             "datasketches")  # fmt: skip
_ABOUT = {
    "evidently": "DataDriftPreset with its defaults, pandas",
    "nannyml": "UnivariateDriftCalculator with its defaults (Jensen-Shannon, ten chunks), pandas; "
    "a column counts as flagged where more than half of its chunks are",
    "splice": "splice drift --rows, every row, two threads",
    "splice profiles": "24 hourly profiles of each column merged, against one of the reference; "
    "making them is no part of the time",
}
# Telemetry off: it would be timed, too.
_ENVIRONMENT = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}

Figures = dict[tuple[str, str, str], list[float]]


@dataclass(frozen=True)
class Plan:
    """What one job measures."""

    subjects: Sequence[str]
    loads: Sequence[tuple[str, int]]
    rounds: int


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; there are no variants, and nothing is timed by it."""
    del seconds, every_variant
    if unknown := set(names) - set(SUBJECTS):
        there = ", ".join(SUBJECTS)
        raise SystemExit(f"there is no {', '.join(unknown)}; there are {there}")
    return Plan(names, [(load, rows_of_load(load)) for load in loads.split(",")], rounds)


def rows_of_load(load: str) -> int:
    """`1Mx30` is a million rows of the 30 columns; `100kx30` a tenth."""
    rows, _, columns = load.partition("x")
    sizes = {"k": 1000, "M": 1_000_000}
    if columns != str(len(SHIFTED) + len(UNSHIFTED)) or rows[-1:] not in sizes:
        raise SystemExit(f"there is no load {load}; write it like 1Mx30")
    return int(rows[:-1]) * sizes[rows[-1]]


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what each subject flagged.

    Raises:
        RuntimeError: A subject failed.
    """
    figures: Figures = {}
    flagged: dict[str, dict[str, list[str]]] = {}
    pythons = {
        name: environment(name, HERE / f"requirements-{name}.txt", cache)
        if name in _PEERS
        else Path(sys.executable)
        for name in plan.subjects
    }
    for load, rows in plan.loads:
        made = files(cache, rows)
        for turn in range(plan.rounds):
            for name in plan.subjects:
                told = _run(pythons[name], name, made)
                for metric in ("seconds", "cpu_s", "memory_mb"):
                    figures.setdefault((name, load, metric), []).append(told[metric])
                flagged.setdefault(load, {})[name] = sorted(told["flagged"])
                print(f"{turn + 1}  {name:16} {load:8} {told['seconds']:9.3f} s "
                      f"{told['memory_mb']:7.0f} MB", file=sys.stderr)  # fmt: skip
    shown = [
        *rows_of(figures),
        *(row for load in flagged for row in verdicts(load, flagged[load])),
    ]
    return shown, _meta(plan, pythons, figures, flagged)


def _run(python: Path, name: str, made: tuple[Path, Path]) -> dict[str, object]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    argv = [str(python), "-W", "ignore", str(HERE / _APPS[name]), *map(str, made)]
    ran = subprocess.run(
        argv, env=env | _ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(f"{name} failed: {ran.stderr[-2000:]}")
    return json.loads(ran.stdout.splitlines()[-1])


def rows_of(figures: Figures) -> list[dict[str, object]]:
    """The median of the rounds, as rows of the results file."""
    units = {"seconds": "s", "cpu_s": "s", "memory_mb": "MB"}
    return [
        {
            "subject": name, "load": load, "metric": metric,
            "value": round(statistics.median(values), 4), "unit": units[metric],
        }
        for (name, load, metric), values in figures.items()
    ]  # fmt: skip


def verdicts(load: str, flagged: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    """Of the planted shifts how many were flagged, and of the unmoved columns how many."""
    return [
        {"subject": name, "load": load, "metric": metric, "unit": "columns",
         "value": len(set(found) & of.keys())}
        for name, found in flagged.items()
        for metric, of in (("shifts_found", SHIFTED), ("false_alarms", UNSHIFTED))
    ]  # fmt: skip


def _meta(
    plan: Plan,
    pythons: Mapping[str, Path],
    figures: Figures,
    flagged: Mapping[str, Mapping[str, Sequence[str]]],
) -> dict[str, object]:
    return {
        "rounds": plan.rounds,
        "subjects": {
            name: {"configuration": _ABOUT[name], "versions": versions(pythons[name], _PACKAGES)}
            for name in plan.subjects
        },
        "planted": {"shifted": list(SHIFTED), "unshifted": list(UNSHIFTED)},
        "flagged": flagged,
        "each_round": [
            {"subject": name, "load": load, metric: [round(value, 4) for value in values]}
            for (name, load, metric), values in figures.items()
        ],
    }
