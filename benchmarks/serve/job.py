"""Runs the benchmark of serving: every subject at every load, one server at a time, in rounds.

Server on core 0 and load on core 1, so that each subject has one core; the subjects take turns in
each round, so that a slow minute of the machine falls on all; the median of the rounds is given.
"""

from __future__ import annotations

import http.client
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environments import environment, versions
from load import Measured, Target, Wrk, find_wrk, write_lines
from processes import family_seconds, on_core
from serve.subject import HERE, Bench, Command, Row, Subject, free_port, own_python

SUBJECTS = ("raw", "splice", "fastapi", "bentoml", "mlserver")
LOADS = "1,32,128"
WARM_UP_SECONDS = 2.0
START_SECONDS = 60.0
TOLERANCE = 1e-5
SERVER_CORE, LOAD_CORE = "0", "1"
LOG = "server.log"

Figures = dict[tuple[str, int | str, str], list[float]]
"""What each round gave, by subject, load and metric."""

UNITS = {"rps": "requests/s", "p50_ms": "ms", "p99_ms": "ms"}


class WrongAnswerError(RuntimeError):
    """A server's answer is not the model's: its speed is of no interest."""


@dataclass(frozen=True)
class Asked:
    """The rows every subject is asked, and the model's own probability of each."""

    rows: Sequence[Row]
    probabilities: Sequence[float]


@dataclass(frozen=True)
class Plan:
    """What one job measures."""

    subjects: Sequence[tuple[Subject, str]]
    """Each subject with the variant of it to run."""
    loads: Sequence[int]
    """The connections of each."""
    seconds: float
    rounds: int
    plain: frozenset[str] = frozenset()
    """Subjects whose first variant rows call by the subject's name alone."""
    warm_up: float = WARM_UP_SECONDS
    """Seconds of load before each timed run."""

    def name(self, subject: Subject, variant: str) -> str:
        """What the rows call this subject."""
        plain = subject.name in self.plain and variant == next(iter(subject.variants))
        return subject.name if plain else f"{subject.name}:{variant}"


def planned(
    names: Sequence[str], loads: str, seconds: float, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes; `loads` are connections, comma-separated."""
    return Plan(
        subjects=chosen(names, every_variant=every_variant),
        loads=[int(load) for load in loads.split(",")],
        seconds=seconds,
        rounds=rounds,
        plain=frozenset() if every_variant else frozenset(names),
    )


def chosen(names: Sequence[str], *, every_variant: bool) -> list[tuple[Subject, str]]:
    """The subjects that `names` name (`NAME` or `NAME:VARIANT`), each with its variant."""
    pairs: list[tuple[Subject, str]] = []
    for name in names:
        base, _, variant = name.partition(":")
        subject = Subject(base, importlib.import_module(f"serve.subject_{base}"))
        if variant and variant not in subject.variants:
            there = ", ".join(subject.variants)
            raise SystemExit(f"{base} has no variant {variant}; it has {there}")
        first = [variant or next(iter(subject.variants))]
        variants = list(subject.variants) if every_variant and not variant else first
        pairs += [(subject, each) for each in variants]
    return pairs


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what the run was made with.

    Raises:
        WrongAnswerError: A server answered something else than the model.
        LoadError: A load met anything but success.
    """
    running = Running(plan, cache)
    for turn in range(plan.rounds):
        for subject, variant in plan.subjects:
            running.subject(turn, subject, variant)
    return rows_of(running.figures), running.meta() | disturbance(running.figures)


class Running:
    """A plan being carried out: what it uses, and what it has found."""

    def __init__(self, plan: Plan, cache: Path) -> None:
        self._plan, self._cache = plan, cache
        self._wrk = find_wrk(cache)
        self._pinned = Wrk(("taskset", "-c", LOAD_CORE, *self._wrk.argv), self._wrk.version)
        self._model, self._asked = model_and_rows(cache)
        self.figures: Figures = {}

    def subject(
        self, turn: int, subject: Subject, variant: str, models: int = 1, load: str = "{}"
    ) -> None:
        """Every load at one subject that serves so many models.

        `load` is how rows name a load, with its connections at `{}`; just these where it is `{}`.
        """
        plan = self._plan
        name = plan.name(subject, variant)
        python = _python(subject, self._cache)
        bench = Bench(self._cache, self._model, free_port(), variant, python, models)
        command = subject.prepare(bench)
        measuring = _measured(command, bench.port, self._asked, plan, self._pinned)
        for connections, measured, cpu in measuring:
            named = connections if load == "{}" else load.format(connections)
            values = {metric: getattr(measured, metric) for metric in UNITS}
            values["cpu_us"] = cpu / measured.requests * 1e6
            values["core_share"] = cpu * measured.rps / measured.requests
            for metric, value in values.items():
                self.figures.setdefault((name, named, metric), []).append(value)
            _say(turn, name, named, values)

    def meta(self) -> dict[str, object]:
        """What the run was made with, beside what any job's meta has."""
        return _meta(self._plan, self._cache, self._wrk)


def _measured(
    command: Command, port: int, asked: Asked, plan: Plan, wrk: Wrk
) -> Generator[tuple[int, Measured, float]]:
    """What one server gave at each load, and the processor time it took for it, in seconds.

    All its answers have been found right before.
    """
    bodies = command.cwd / "bodies.txt"
    write_lines(bodies, command.lines(asked.rows))
    target = Target(f"http://127.0.0.1:{port}{command.paths[0]}", bodies, command.headers)
    answered = len(asked.rows) * len(command.paths)
    with serving(command, port, asked.rows[0]) as server:
        _check_answers(command, port, asked)
        for load in plan.loads:
            answered += wrk.run(target, load, plan.warm_up).requests
            before = family_seconds(server.pid)
            measured = wrk.run(target, load, plan.seconds)
            answered += measured.requests
            yield load, measured, family_seconds(server.pid) - before
    if command.check_after:
        command.check_after(answered)


def model_and_rows(cache: Path) -> tuple[Path, Asked]:
    """The ONNX file, and what is asked of it."""
    directory = cache / "model"
    if not (directory / "rows.json").exists():
        python = environment("model", HERE / "requirements-model.txt", cache)
        subprocess.run([str(python), str(HERE / "make_model.py"), str(directory)], check=True)
    written = json.loads((directory / "rows.json").read_text())
    return directory / "model.onnx", Asked(written["rows"], written["probabilities"])


def _python(subject: Subject, cache: Path) -> Path:
    """The interpreter that the subject's server runs on."""
    if not subject.needs:
        return own_python()
    return environment(subject.needs, HERE / f"requirements-{subject.needs}.txt", cache)


@contextmanager
def serving(
    command: Command, port: int, row: Row, core: str = SERVER_CORE
) -> Generator[subprocess.Popen[bytes]]:
    """The server of `command`, from when it answers to when it has ended."""
    with on_core(core, command.argv, command.cwd, command.env, LOG) as server:
        for path in command.paths:
            _wait_for(server, command, port, path, row)
        yield server


def _wait_for(
    server: subprocess.Popen[bytes], command: Command, port: int, path: str, row: Row
) -> None:
    """Return once the server answers `row` with success (it may listen before it has the model)."""
    last = "nothing"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", path, command.make_body(row), dict(command.headers))
            response = connection.getresponse()
            last = f"{response.status} {response.read()[:500]!r}"
            if 200 <= response.status < 300:
                return
        except OSError as error:
            last = str(error)
        finally:
            connection.close()
        time.sleep(0.1)
    log = (command.cwd / LOG).read_text()[-2000:]
    raise RuntimeError(f"the server did not come to answer (last: {last}): {log}")


def _check_answers(command: Command, port: int, asked: Asked) -> None:
    """Ask every model every row once; each answer must be the model's own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path in command.paths:
        for row, expected in zip(asked.rows, asked.probabilities, strict=True):
            connection.request("POST", path, command.make_body(row), dict(command.headers))
            response = connection.getresponse()
            body = response.read()
            if not 200 <= response.status < 300:
                raise WrongAnswerError(f"{path}: {response.status} {body[:500]!r}")
            got = command.read_probability(body)
            if abs(got - expected) > TOLERANCE:
                raise WrongAnswerError(f"{path}: got {got}, the model says {expected}")
    connection.close()


def rows_of(figures: Figures) -> list[dict[str, object]]:
    """The median of the rounds, as rows of the results file."""
    return [
        {
            "subject": subject,
            "load": load,
            "metric": metric,
            "value": round(statistics.median(values), 3 if metric != "rps" else 1),
            "unit": UNITS[metric],
        }
        for (subject, load, metric), values in figures.items()
        if metric in UNITS
    ]


def disturbance(figures: Figures) -> dict[str, object]:
    """Each round's throughput, and the server's share of its core and processor time a request.

    A share well below 1 at many connections says that something else held the core: such a round's
    throughput is too low, while its processor time a request still compares.
    """
    rounds = [
        {"subject": subject, "load": load, metric: [round(value, 3) for value in values]}
        for (subject, load, metric), values in figures.items()
        if metric in ("rps", "cpu_us", "core_share")
    ]
    return {"rounds_measured": rounds}


def _meta(plan: Plan, cache: Path, wrk: Wrk) -> dict[str, object]:
    """What the run was made with, beside what any job's meta has."""
    subjects: dict[str, object] = {}
    for subject, variant in plan.subjects:
        subjects[plan.name(subject, variant)] = {
            "variant": variant,
            "configuration": subject.variants[variant],
            "versions": versions(_python(subject, cache), subject.packages),
        }
    return {
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "warm_up_seconds": plan.warm_up,
        "load": f"wrk {wrk.version}, one thread, closed loop, 64 bodies in turn",
        "cores": f"server {SERVER_CORE}, load {LOAD_CORE}",
        "model": "200 trees on 30 features, ONNX, onnxruntime with one thread",
        "subjects": subjects,
    }


def _say(turn: int, name: str, load: int | str, values: Mapping[str, float]) -> None:
    """Tell how the run goes."""
    told = f"{values['rps']:8.0f} rps  p50 {values['p50_ms']:7.3f}  p99 {values['p99_ms']:7.3f} ms"
    told += f"  {values['cpu_us']:6.1f} us CPU  {values['core_share']:4.0%} of its core"
    print(f"round {turn + 1}  {name:28} {load!s:>5}  {told}", file=sys.stderr, flush=True)
