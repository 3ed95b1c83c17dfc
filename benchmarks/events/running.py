"""One run of one subject: from its start over its decisions to its end, all of them checked."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from events import project
from events.cluster import PATIENCE_SECONDS, Cluster, StalledError
from events.stream import check, source_events
from events.subjects import Load, Subject, Wiring, peer_command
from processes import family_memory, family_seconds, on_core
from serve.job import Asked, WrongAnswerError

LOG = "subject.log"
LOOK_SECONDS = 0.25
"""Between two looks into a ledger, each of which takes a core for some milliseconds."""
SKIPPED = 0.1
"""The share of the decisions before the clock starts."""


@dataclass(frozen=True)
class Run:
    """What is run, on how much, and in which folder."""

    subject: Subject
    variant: str
    load: Load
    events: int
    asked: Asked
    model: Path
    place: Path
    when_warm: Callable[[int], None] | None = None
    """Called once, with the subject's process, when the clock starts."""


@dataclass(frozen=True)
class Sample:
    """How far a subject was, and what it and the broker had cost."""

    at: float
    seen: int
    cpu_s: float
    broker_cpu_s: float
    memory: int


class Watch:
    """Looks at a subject, and at a broker, while they work."""

    def __init__(self, subject: int, broker: int | None = None) -> None:
        self.subject, self._broker = subject, broker
        self.samples: list[Sample] = []

    def look(self, seen: int) -> None:
        """Once more."""
        if not family_memory(self.subject):
            raise StalledError(f"the subject ended by itself, after {seen} decisions")
        broker = family_seconds(self._broker) if self._broker else 0.0
        cpu, memory = family_seconds(self.subject), family_memory(self.subject)
        self.samples.append(Sample(time.monotonic(), seen, cpu, broker, memory))

    def figures(self, events: int) -> dict[str, float]:
        """Processor time an event, shares of the cores, and the most memory held."""
        late = [one for one in self.samples if one.seen >= SKIPPED * events]
        first, last = late[0], late[-1]
        seen = max(last.seen - first.seen, 1)
        seconds = max(last.at - first.at, 1e-9)
        return {
            "cpu_us": (last.cpu_s - first.cpu_s) / seen * 1e6,
            "core_share": (last.cpu_s - first.cpu_s) / seconds,
            "broker_share": (last.broker_cpu_s - first.broker_cpu_s) / seconds,
            "memory_mb": max(one.memory for one in self.samples) / 1e6,
        }


def run_on_kafka(run: Run, kafka: Cluster, source: str, cache: Path) -> dict[str, float]:
    """The figures of a subject that reads `source` for the first time, in a group of its own.

    Raises:
        WrongAnswerError: A decision is missing, doubled or not the model's, or its event was not
            committed at the end.
        StalledError: It stopped before its end.
    """
    partitions = run.load.partitions
    target = kafka.topic(partitions, message_timestamp_type="LogAppendTime")
    wiring = Wiring(kafka.servers, source, target, f"group-{uuid.uuid4().hex[:12]}")
    if run.subject.needs is None:
        project.on_kafka(run.place, run.variant, wiring, run.model)
        argv, env = project.CONSUME, {}
    else:
        argv, env = peer_command(run.subject, run.variant, wiring, run.model, cache)
    with kafka.reading(target, partitions) as reading:
        with on_core(run.load.cores, argv, run.place, env, LOG) as process:
            watch = Watch(process.pid, kafka.process)
            with log_told(run):
                if run.when_warm:
                    reading.until(int(SKIPPED * run.events), watch.look)
                    run.when_warm(process.pid)
                reading.until(run.events, watch.look)
        reading.rest()
    check(reading.arrived.values, run.asked, run.events)
    committed = kafka.committed(wiring.group, source, partitions)
    if committed != run.events:
        raise WrongAnswerError(f"{run.events} decisions, but {committed} events are committed")
    if run.subject.needs is None:
        check_recorded(run.place, run.events)
    kafka.delete(target)
    return {"events_per_s": reading.arrived.events_per_s(SKIPPED)} | watch.figures(run.events)


def run_embedded(run: Run) -> dict[str, float]:
    """The figures of Splice on its own queue; the rate is that of the times in its table.

    Raises:
        WrongAnswerError: A decision is missing, doubled or not the model's.
        StalledError: It stopped before its end.
    """
    project.on_queue(run.place, run.load, run.model)
    with project.publishing(run.place) as put:
        put(source_events(run.asked, run.events))
    with on_core(run.load.cores, project.CONSUME, run.place, {}, LOG) as process:
        watch = Watch(process.pid)
        with log_told(run):
            wait_for_decisions(run, watch)
    arrived = project.decisions(run.place)
    check(arrived.values, run.asked, run.events)
    check_recorded(run.place, run.events)
    return {"events_per_s": arrived.events_per_s(SKIPPED)} | watch.figures(run.events)


def wait_for_decisions(run: Run, watch: Watch) -> None:
    """Return once the ledger's table has a decision about each event."""
    seen, last = 0, time.monotonic()
    while seen < run.events:
        time.sleep(LOOK_SECONDS)
        # Nothing is ever deleted there; to count would take a core that the subject has, too.
        found = project.one_number(run.place, f"SELECT max(rowid) FROM {project.DECISIONS}")
        if found > seen:
            seen, last = found, time.monotonic()
        elif time.monotonic() - last > PATIENCE_SECONDS:
            raise StalledError(f"{seen} of {run.events} decisions came")
        watch.look(seen)
        if run.when_warm and seen >= SKIPPED * run.events:
            run.when_warm(watch.subject)
            run = replace(run, when_warm=None)


def check_recorded(place: Path, events: int) -> None:
    """Splice's ledger must hold the call of every event.

    Raises:
        WrongAnswerError: It holds another number.
    """
    recorded = project.one_number(place, "SELECT count(*) FROM calls")
    if recorded != events:
        raise WrongAnswerError(f"{events} events, but {recorded} recorded calls")


@contextmanager
def log_told(run: Run) -> Generator[None]:
    """What the subject said, where it stopped."""
    try:
        yield
    except StalledError as error:
        raise StalledError(f"{error}: {(run.place / LOG).read_text()[-3000:]}") from error
