"""Runs the benchmark of gateways: every subject at every load, one at a time, in rounds.

The gateway has core 0 for itself; the mock provider and the load share core 1. What those two can
do is measured as `direct`, the load straight at the provider: a subject that came near it would be
held back by it. The subjects take turns in each round, so that a slow minute of the machine falls
on all; the median of the rounds is given.

A streamed reply counts when its regular end came and all its pieces were in it, in their order:
the load looks at each one. Before and after each timed run one reply is also taken apart and
checked in full: its text, its end, its count of tokens. And the provider must have been asked as
often as the subject answered: no answer is from a cache.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from environments import MissingToolError
from gateway.asking import Asking, NotUpError, Provider, provider, serving
from gateway.replies import MODEL, PIECES, WrongReplyError
from gateway.subject import Bench, Subject, free_port
from load import LoadError, Wrk, find_wrk
from processes import family_memory, family_seconds

SUBJECTS = ("passthrough", "splice", "tensorzero", "portkey", "litellm")
LOADS = "1,16,64,stream-16"
DIRECT = "direct"
OURS = "splice"
STREAM = "stream-"
WARM_UP_SECONDS = 2.0
SERVER_CORE, LOAD_CORE = "0", "1"
TOGETHER = 1
"""Events of a stream that the provider sends at once: as tokens come, each for itself."""
UNITS = {
    "rps": "requests/s",
    "p50_ms": "ms",
    "p99_ms": "ms",
    "cpu_us": "us/request",
    "memory_mb": "MB",
}

Figures = dict[tuple[str, int | str, str], list[float]]
"""What each round gave, by subject, load and metric."""


@dataclass(frozen=True)
class Load:
    """So many connections, whole or streamed replies."""

    connections: int
    stream: bool

    @classmethod
    def named(cls, name: str) -> Load:
        """`16` or `stream-16`."""
        return cls(int(name.removeprefix(STREAM)), name.startswith(STREAM))

    @property
    def name(self) -> int | str:
        """What the rows call it."""
        return f"{STREAM}{self.connections}" if self.stream else self.connections


@dataclass(frozen=True)
class Plan:
    """What one job measures."""

    subjects: Sequence[tuple[Subject, str]]
    """Each subject with the variant of it to run."""
    loads: Sequence[Load]
    seconds: float
    rounds: int
    named_by_variant: bool
    """Whether rows name the variant too (`litellm:granian`)."""

    def name(self, subject: Subject, variant: str) -> str:
        """What the rows call this subject."""
        return f"{subject.name}:{variant}" if self.named_by_variant else subject.name


@dataclass
class Answered:
    """How many whole and how many streamed answers one server has given at least."""

    whole: int = 0
    streamed: int = 0


@dataclass
class Run:
    """A plan being carried out: what it uses, and what it has found."""

    plan: Plan
    cache: Path
    wrk: Wrk
    figures: Figures = field(default_factory=dict[tuple[str, int | str, str], list[float]])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """Why a neighbour lacks figures."""

    def direct(self, mock: Provider) -> None:
        """The load straight at the provider."""
        asking = Asking(f"{mock.url}/chat/completions", MODEL, {})
        for load in self.plan.loads:
            self._timed(DIRECT, load, asking, None, mock)

    def subject(self, subject: Subject, variant: str, mock: Provider) -> None:
        """Every load at one subject, from its start to its end.

        Raises:
            WrongReplyError: It answered something else than the provider.
            LoadError: The load met anything but success.
            NotUpError: It did not come to answer.
            MissingToolError: It cannot be installed here.
        """
        bench = Bench(self.cache, free_port(), mock.url, variant)
        command = subject.prepare(bench)
        answered = Answered()
        with serving(command, bench.port, SERVER_CORE) as (process, asking):
            for load in self.plan.loads:
                count = self._timed(self.plan.name(subject, variant), load, asking, process, mock)
                if load.stream:
                    answered.streamed += count
                else:
                    answered.whole += count
        if command.check_after:
            command.check_after(answered.whole, answered.streamed)

    def _timed(
        self, name: str, load: Load, asking: Asking, process: int | None, mock: Provider
    ) -> int:
        """One load at one subject, warmed up and checked; how many answers were given."""
        place = self.cache / "places"
        target = asking.target(place, stream=load.stream)
        asked_before = mock.asked(stream=load.stream)
        asking.once(stream=load.stream)
        warm = self.wrk.run(target, load.connections, WARM_UP_SECONDS).requests
        cpu = family_seconds(process) if process else 0.0
        measured = self.wrk.run(target, load.connections, self.plan.seconds)
        values = {"rps": measured.rps, "p50_ms": measured.p50_ms, "p99_ms": measured.p99_ms}
        if process:
            cpu = family_seconds(process) - cpu
            values["cpu_us"] = cpu / measured.requests * 1e6
            values["core_share"] = cpu * measured.rps / measured.requests
            values["memory_mb"] = family_memory(process) / 1e6
        asking.once(stream=load.stream)
        answered = warm + measured.requests + 2
        asked = mock.asked(stream=load.stream) - asked_before
        if asked < answered:
            raise WrongReplyError(f"{name}: {answered} answers, but the provider gave {asked}")
        for metric, value in values.items():
            self.figures.setdefault((name, load.name, metric), []).append(value)
        _say(name, load, values)
        return answered


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; `loads` as `16` or `stream-16`, comma-separated."""
    pairs: list[tuple[Subject, str]] = []
    for name in names:
        base, _, variant = name.partition(":")
        subject = Subject(base)
        if variant and variant not in subject.variants:
            there = ", ".join(subject.variants)
            raise SystemExit(f"{base} has no variant {variant}; it has {there}")
        first = [variant or next(iter(subject.variants))]
        variants = list(subject.variants) if every_variant and not variant else first
        pairs += [(subject, each) for each in variants]
    return Plan(
        subjects=pairs,
        loads=[Load.named(load) for load in loads.split(",")],
        seconds=seconds,
        rounds=rounds,
        named_by_variant=every_variant or any(":" in name for name in names),
    )


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what the run was made with.

    Raises:
        WrongReplyError: Splice, or the provider itself, answered something else than the provider.
        LoadError: A load on one of them met anything but success. What befalls a neighbour is told
            in the meta file, and it lacks the figures.
    """
    wrk = find_wrk(cache)
    (cache / "places").mkdir(parents=True, exist_ok=True)
    running = Run(plan, cache, Wrk(("taskset", "-c", LOAD_CORE, *wrk.argv), wrk.version))
    for turn in range(plan.rounds):
        print(f"round {turn + 1}", file=sys.stderr, flush=True)
        with provider(cache, LOAD_CORE, TOGETHER) as mock:
            running.direct(mock)
            for subject, variant in plan.subjects:
                try:
                    running.subject(subject, variant, mock)
                except (MissingToolError, WrongReplyError, LoadError, NotUpError) as error:
                    if subject.name == OURS:
                        raise
                    name = plan.name(subject, variant)
                    running.failures[name] = str(error)
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
    return _rows(running.figures), _meta(running)


def _rows(figures: Figures) -> list[dict[str, object]]:
    """The median of the rounds, as rows of the results file."""
    return [
        {
            "subject": subject,
            "load": load,
            "metric": metric,
            "value": round(statistics.median(values), 3 if metric.endswith("_ms") else 1),
            "unit": UNITS[metric],
        }
        for (subject, load, metric), values in figures.items()
        if metric in UNITS
    ]


def _meta(running: Run) -> dict[str, object]:
    """What the run was made with, beside what any job's meta has; each round's throughput too.

    `core_share` is the server's share of its core: well below 1 at many connections, something else
    held the core, or the server waited for the provider.
    """
    plan = running.plan
    subjects: dict[str, object] = {}
    for subject, variant in plan.subjects:
        name = plan.name(subject, variant)
        told: dict[str, object] = {
            "variant": variant,
            "configuration": subject.variants[variant],
        }
        if name in running.failures:
            told["failed"] = running.failures[name]
        try:
            told["versions"] = subject.versions(running.cache, variant)
        except MissingToolError:
            told["versions"] = {}
        subjects[name] = told
    return {
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "warm_up_seconds": WARM_UP_SECONDS,
        "load": f"wrk {running.wrk.version}, one thread, closed loop",
        "cores": f"gateway {SERVER_CORE}; mock provider and load {LOAD_CORE}",
        "model": f"a mock provider that answers at once, and streams {PIECES} events one by one",
        "subjects": subjects,
        "rounds_measured": [
            {"subject": subject, "load": load, metric: [round(value, 3) for value in values]}
            for (subject, load, metric), values in running.figures.items()
            if metric in ("rps", "cpu_us", "core_share")
        ],
    }


def _say(name: str, load: Load, values: Mapping[str, float]) -> None:
    """Tell how the run goes."""
    told = f"{values['rps']:8.0f} rps  p50 {values['p50_ms']:7.3f}  p99 {values['p99_ms']:7.3f} ms"
    if "cpu_us" in values:
        told += f"  {values['cpu_us']:7.1f} us CPU  {values['core_share']:4.0%} of its core"
        told += f"  {values['memory_mb']:5.0f} MB"
    print(f"{name:24} {load.name!s:>9}  {told}", file=sys.stderr, flush=True)
