"""Runs the benchmark of events: one subject at a time takes what is there, and is timed by Kafka.

The subject has core 0; the broker and the reader share core 1. The source is filled beforehand
with events of 1 KB, each under a key of its own. A `read_committed` reader reads every decision,
and all are checked: one an event, and the model's own. The rate is that of the broker's time
stamps in the target, without the first tenth.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from events.cluster import Cluster, cluster
from events.running import Run, run_embedded, run_on_kafka
from events.stream import source_events
from events.subjects import LOADS as EVERY_LOAD
from events.subjects import PROMISES, Load, Subject, place_of
from events.subjects import SUBJECTS as EVERY_SUBJECT
from processes import only_on
from serve.job import LOAD_CORE, Asked, model_and_rows

SUBJECTS = (
    "splice",
    "quix",
    "quix:at-least-once",
    "faststream single",
    "faststream batch",
    "aiokafka",
    "aiokafka:transactional",
)
LOADS = "kafka,kafka-4,embedded,embedded-2-workers"
EVENTS = 100_000
"""In each source."""
LEAST = 100
ROUNDS = 2

Figures = dict[tuple[str, str, str], list[float]]


@dataclass(frozen=True)
class Plan:
    """What one job measures."""

    subjects: Sequence[tuple[Subject, str]]
    loads: Sequence[Load]
    events: int
    rounds: int

    def runs(self) -> list[tuple[Subject, str, Load]]:
        """Each subject with its variant, at each load that it has; the loads one after another."""
        return [
            (subject, variant, load)
            for load in self.loads
            for subject, variant in self.subjects
            if load.partitions or subject.has_queue
        ]


def planned(
    names: Sequence[str], loads: str, events: int, rounds: int, *, every_variant: bool
) -> Plan:
    """The plan that a command line describes."""
    pairs: dict[str, tuple[Subject, str]] = {}
    for name in names:
        base, _, variant = name.partition(":")
        subject = EVERY_SUBJECT.get(base)
        if subject is None or (variant and variant not in subject.variants):
            all_of = EVERY_SUBJECT.values()
            there = ", ".join(f"{one.name}:{each}" for one in all_of for each in one.variants)
            raise SystemExit(f"there is no {name}; there are {there}")
        first = [variant or next(iter(subject.variants))]
        variants = list(subject.variants) if every_variant and not variant else first
        pairs |= {name_of(subject, each): (subject, each) for each in variants}
    chosen = loads.split(",")
    if unknown := set(chosen) - set(EVERY_LOAD):
        there = ", ".join(EVERY_LOAD)
        raise SystemExit(f"there is no load {', '.join(unknown)}; there are {there}")
    return Plan(list(pairs.values()), [EVERY_LOAD[load] for load in chosen], events, rounds)


def name_of(subject: Subject, variant: str) -> str:
    """What the rows call it."""
    return subject.name if variant == next(iter(subject.variants)) else f"{subject.name}:{variant}"


def run(plan: Plan, cache: Path) -> tuple[list[dict[str, object]], dict[str, object]]:
    """The rows of the plan, and beside them what the run was made with.

    Raises:
        WrongAnswerError: A decision is missing, doubled or not the model's.
        StalledError: A subject stopped before its end.
    """
    model, asked = model_and_rows(cache)
    figures: Figures = {}
    with ExitStack() as held:
        held.enter_context(only_on(LOAD_CORE))
        kafka = None
        if any(load.partitions for load in plan.loads):
            kafka = Sources(held.enter_context(cluster(cache, LOAD_CORE)), asked)
        for turn in range(plan.rounds):
            for subject, variant, load in plan.runs():
                events = events_of(subject, variant, plan.events)
                place = place_of(subject, variant, cache)
                one = Run(subject, variant, load, events, asked, model, place)
                if kafka is not None and load.partitions:
                    source = kafka.source(load.partitions, events)
                    values = run_on_kafka(one, kafka.cluster, source, cache)
                else:
                    values = run_embedded(one)
                name = name_of(subject, variant)
                for metric, value in values.items():
                    figures.setdefault((name, load.name, metric), []).append(value)
                _say(turn, name, load.name, values)
    return rows_of(figures), _meta(plan, cache, figures)


def events_of(subject: Subject, variant: str, events: int) -> int:
    """How many events it gets: the slow ones fewer."""
    return max(int(events * subject.variants[variant].share), LEAST)


class Sources:
    """Topics that are full of events, each filled once."""

    def __init__(self, on: Cluster, asked: Asked) -> None:
        self.cluster = on
        self._asked = asked
        self._made: dict[tuple[int, int], str] = {}

    def source(self, partitions: int, count: int) -> str:
        """A topic with so many events."""
        if (partitions, count) not in self._made:
            topic = self.cluster.topic(partitions)
            self.cluster.fill(topic, partitions, source_events(self._asked, count))
            self._made[partitions, count] = topic
        return self._made[partitions, count]


def rows_of(figures: Figures) -> list[dict[str, object]]:
    """The median of the rounds, as rows of the results file."""
    return [
        {
            "subject": subject,
            "load": load,
            "metric": metric,
            "value": round(statistics.median(values), 1),
            "unit": "events/s",
        }
        for (subject, load, metric), values in figures.items()
        if metric == "events_per_s"
    ]


def _meta(plan: Plan, cache: Path, figures: Figures) -> dict[str, object]:
    """What the run was made with, beside what any job's meta has, and each round by itself."""
    subjects: dict[str, object] = {}
    for subject, variant in plan.subjects:
        how = subject.variants[variant]
        subjects[name_of(subject, variant)] = {
            "variant": variant,
            "configuration": how.configuration,
            "promise": how.promise,
            "events": events_of(subject, variant, plan.events),
            "versions": subject.versions(cache),
        }
    return {
        "events": plan.events,
        "rounds": plan.rounds,
        "measured": f"{plan.events:,} events of 1 KB",
        "load": "Apache Kafka 4.3.1 and the reader",
        "cores": f"broker and reader {LOAD_CORE}, subject "
        + ", ".join(f"{load.cores.replace(',', ' and ')} at {load.name}" for load in plan.loads),
        "model": "200 trees on 30 features, ONNX, onnxruntime with one thread",
        "promises": dict(PROMISES),
        "subjects": subjects,
        "rounds_measured": [
            {"subject": name, "load": load, metric: [round(value, 3) for value in values]}
            for (name, load, metric), values in figures.items()
        ],
    }


def _say(turn: int, name: str, load: str, values: Mapping[str, float]) -> None:
    """Tell how the run goes."""
    told = "  ".join(f"{metric} {value:.1f}" for metric, value in values.items())
    print(f"round {turn + 1}  {name:24} {load:>14}  {told}", file=sys.stderr, flush=True)
