"""`python benchmarks/gateway/soak.py`: half a million calls, and the memory of Splice meanwhile.

The load is that of the benchmark at 64 connections, in runs of ten seconds, so that connections
come and go. Memory is the sum of the resident sets of all processes, read each time that another
20,000 calls have reached the mock provider. The rows go to `results/gateway-soak.json`: first, last
and most memory, and the slope of a line through the second half of the readings, in bytes a call;
all readings are in the meta file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.asking import Asking, Provider, provider, serving
from gateway.job import LOAD_CORE, OURS, SERVER_CORE, TOGETHER
from gateway.subject import Bench, Subject, free_port
from load import Measured, Target, Wrk, find_wrk
from processes import family_memory
from run import CACHE, RESULTS, machine

RUN_SECONDS = 10.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Reading:
    """The memory held after so many calls."""

    calls: int
    memory_mb: float


@dataclass(frozen=True)
class Soak:
    """So many calls at so many connections, the memory read every so often."""

    calls: int
    every: int
    connections: int
    stream: bool

    def run(
        self, wrk: Wrk, asking: Asking, mock: Provider, process: int
    ) -> tuple[list[Reading], list[Measured]]:
        """The readings, and what each run of the load measured.

        Raises:
            LoadError: A call was not answered well.
        """
        target = asking.target(CACHE / "places", stream=self.stream)
        enough = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(_load, wrk, target, self.connections, enough)
            try:
                readings = self._readings(mock, process, loading.done)
            finally:
                enough.set()
            return readings, loading.result()

    def _readings(self, mock: Provider, process: int, over: Callable[[], bool]) -> list[Reading]:
        """One reading at the start, then one each time that enough calls have come."""
        readings: list[Reading] = []
        before = mock.asked(stream=self.stream)
        while not over() and (not readings or readings[-1].calls < self.calls):
            calls = mock.asked(stream=self.stream) - before
            if calls >= len(readings) * self.every:
                readings.append(Reading(calls, family_memory(process) / 1e6))
                print(f"{calls:8} calls  {readings[-1].memory_mb:7.1f} MB", file=sys.stderr)
            time.sleep(POLL_SECONDS)
        return readings


def main(argv: Sequence[str]) -> None:
    """Run it, print the figures and write them."""
    options = _options(argv)
    soak = Soak(options.calls, options.every, options.connections, options.stream)
    about = machine()
    found = find_wrk(CACHE)
    wrk = Wrk(("taskset", "-c", LOAD_CORE, *found.argv), found.version)
    name, _, variant = options.subject.partition(":")
    subject = Subject(name)
    variant = variant or next(iter(subject.variants))
    with provider(CACHE, LOAD_CORE, TOGETHER) as mock:
        bench = Bench(CACHE, free_port(), mock.url, variant)
        command = subject.prepare(bench)
        with serving(command, bench.port, SERVER_CORE) as (process, asking):
            readings, measured = soak.run(wrk, asking, mock, process)
            asking.once(stream=soak.stream)
        answered = sum(one.requests for one in measured)
        if command.check_after:
            command.check_after(*((0, answered) if soak.stream else (answered, 0)))
    rows = _rows(options.subject, soak, readings, measured)
    for row in rows:
        print(f"{row['metric']:16} {row['value']} {row['unit']}")
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "gateway-soak.json").write_text(f"[\n{lines}\n]\n")
    about |= {
        "configuration": subject.variants[variant],
        "versions": subject.versions(CACHE, variant),
        "readings": [[one.calls, round(one.memory_mb, 2)] for one in readings],
    }
    (options.results / "gateway-soak.meta.json").write_text(json.dumps(about, indent=2) + "\n")


def slope_bytes(readings: Sequence[Reading]) -> float:
    """How much memory grew with each call, over the second half: after the pools have filled."""
    late = readings[len(readings) // 2 :]
    fit = statistics.linear_regression(
        [float(one.calls) for one in late], [one.memory_mb * 1e6 for one in late]
    )
    return fit.slope


def _load(wrk: Wrk, target: Target, connections: int, enough: threading.Event) -> list[Measured]:
    """Run after run, until it is enough."""
    measured: list[Measured] = []
    while not enough.is_set():
        measured.append(wrk.run(target, connections, RUN_SECONDS))
    return measured


def _rows(
    subject: str, soak: Soak, readings: Sequence[Reading], measured: Sequence[Measured]
) -> list[dict[str, object]]:
    """The figures, in the form of every job's rows."""
    load = f"soak-{'stream-' if soak.stream else ''}{soak.connections}"
    found: list[tuple[str, float, str]] = [
        ("calls", readings[-1].calls, "calls"),
        ("rps", statistics.median(one.rps for one in measured), "requests/s"),
        ("memory_first_mb", readings[0].memory_mb, "MB"),
        ("memory_last_mb", readings[-1].memory_mb, "MB"),
        ("memory_max_mb", max(one.memory_mb for one in readings), "MB"),
        ("memory_slope", slope_bytes(readings), "bytes/call"),
    ]
    return [
        {"subject": subject, "load": load, "metric": metric, "value": round(value, 2), "unit": unit}
        for metric, value, unit in found
    ]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description="Half a million calls, and the memory meanwhile.")
    parser.add_argument("--calls", type=int, default=500_000, help="how many (500,000)")
    parser.add_argument("--every", type=int, default=20_000, help="calls a reading (20,000)")
    parser.add_argument("--connections", type=int, default=64, help="at once (64)")
    parser.add_argument("--stream", action="store_true", help="streamed replies")
    parser.add_argument("--subject", default=OURS, help="NAME or NAME:VARIANT (splice)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
