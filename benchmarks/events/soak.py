"""`python benchmarks/events/soak.py [kafka|embedded]`: five million events, and Splice meanwhile.

Events come at a steady rate, whatever becomes of the earlier ones: on Kafka into one partition,
with `exactly_once`; embedded into the queue, from a process beside. What is published and not yet
answered (the lag), and the resident sets of all processes, are read each time that so many have
been published; in the end every event must have one decision and one recorded call. The rows go to
`results/events-soak-LOAD.json`, all readings to its meta file. The lag is bounded where its slope
over the second half is about 0, and the memory is flat where its slope is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from events import project
from events.cluster import PATIENCE_SECONDS, StalledError, cluster, send
from events.running import LOG, check_recorded
from events.stream import number_of, source_events
from events.subjects import LOADS, SUBJECTS, Load, Wiring, place_of
from processes import family_memory, on_core, only_on
from run import CACHE, RESULTS, machine
from serve.job import LOAD_CORE, Asked, WrongAnswerError, model_and_rows

EVENTS, RATE, EVERY = 5_000_000, 8000, 50_000
VARIANT = "exactly-once"
TICK_SECONDS = 0.1
"""Between two portions of events."""
DRAIN_SECONDS = 1.0
"""Between two looks once all are published."""
KEPT = {"retention_bytes": str(1 << 29), "segment_bytes": str(1 << 26)}
"""What the topics keep: the disk need not hold five million events."""


@dataclass(frozen=True)
class Soak:
    """So many events at such a rate, with a look every so many."""

    load: Load
    events: int
    rate: float
    every: int
    place: Path


@dataclass(frozen=True)
class Reading:
    """How things stood."""

    at: float
    published: int
    lag: int
    memory_mb: float


@dataclass(frozen=True)
class Stream:
    """Where events go in, and where it shows how many were answered."""

    publish: Callable[[Iterable[tuple[bytes, bytes]]], None]
    answered: Callable[[], int]


def main(argv: Sequence[str]) -> None:
    """Run it, print the figures and write them."""
    options = _options(argv)
    place = place_of(SUBJECTS["splice"], "soak", CACHE)
    soak = Soak(LOADS[options.load], options.events, options.rate, options.every, place)
    about = machine()
    model, asked = model_and_rows(CACHE)
    opened = on_kafka if soak.load.partitions else on_queue
    with only_on(LOAD_CORE), opened(soak, model) as stream:
        with on_core(soak.load.cores, project.CONSUME, place, {}, LOG) as process:
            try:
                readings = run(soak, stream, process.pid, asked)
            except StalledError as error:
                raise StalledError(f"{error}: {(place / LOG).read_text()[-3000:]}") from error
        check_recorded(place, soak.events)
    rows = rows_of(soak, readings)
    for row in rows:
        print(f"{row['metric']:18} {row['value']} {row['unit']}")
    about |= {
        "configuration": SUBJECTS["splice"].variants[VARIANT].configuration,
        "versions": SUBJECTS["splice"].versions(CACHE),
        "rate": soak.rate,
        "readings": [
            [round(one.at, 1), one.published, one.lag, round(one.memory_mb, 1)] for one in readings
        ],
    }
    name = f"events-soak-{soak.load.name}"
    options.results.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    (options.results / f"{name}.json").write_text(f"[\n{lines}\n]\n")
    (options.results / f"{name}.meta.json").write_text(json.dumps(about, indent=2) + "\n")


def run(soak: Soak, stream: Stream, process: int, asked: Asked) -> list[Reading]:
    """The readings, the last when everything was answered.

    Raises:
        StalledError: It ended, or answered nothing any more.
    """
    readings: list[Reading] = []
    events, published = source_events(asked, soak.events), 0
    began = time.monotonic()
    while published < soak.events:
        due = min(int((time.monotonic() - began) * soak.rate), soak.events)
        stream.publish(islice(events, due - published))
        published = due
        if published >= len(readings) * soak.every:
            readings.append(_read(stream, process, published, began))
        time.sleep(TICK_SECONDS)
    last = _read(stream, process, published, began)
    moved, least = time.monotonic(), last.lag
    while last.lag:
        time.sleep(DRAIN_SECONDS)
        last = _read(stream, process, published, began)
        if last.lag < least:
            moved, least = time.monotonic(), last.lag
        elif time.monotonic() - moved > PATIENCE_SECONDS:
            raise StalledError(f"{last.lag} events were not answered")
    return [*readings, last]


@contextmanager
def on_kafka(soak: Soak, model: Path) -> Generator[Stream]:
    """A topic, and the decisions of another as a `read_committed` reader sees them.

    Raises:
        WrongAnswerError: At the end, an event has no decision, or two.
    """
    seen = bytearray(soak.events)
    with cluster(CACHE, LOAD_CORE) as kafka:
        source, target = kafka.topic(1, **KEPT), kafka.topic(1, **KEPT)
        wiring = Wiring(kafka.servers, source, target, f"group-{uuid.uuid4().hex[:12]}")
        project.on_kafka(soak.place, VARIANT, wiring, model)
        producer = kafka.producer()
        with kafka.reading(target, 1) as decisions:

            def publish(events: Iterable[tuple[bytes, bytes]]) -> None:
                for key, value in events:
                    send(producer, source, value, key, 0)
                producer.poll(0)

            def answered() -> int:
                while decisions.take(TICK_SECONDS / 10):
                    for value in decisions.arrived.values:
                        seen[number_of(value)] += 1
                    decisions.arrived.clear()
                return len(seen) - seen.count(0)

            yield Stream(publish, answered)
            decisions.rest()
            answered()
    if missing := seen.count(0) or seen.count(1) != len(seen):
        raise WrongAnswerError(f"{missing} decisions are missing, or some are doubled")


@contextmanager
def on_queue(soak: Soak, model: Path) -> Generator[Stream]:
    """The embedded queue, and how much is left in it."""
    project.on_queue(soak.place, soak.load, model)
    published = 0
    with project.publishing(soak.place) as put:

        def publish(events: Iterable[tuple[bytes, bytes]]) -> None:
            nonlocal published
            published += put(events)

        def answered() -> int:
            left = project.one_number(soak.place, "SELECT count(*) FROM queued")
            return published - left

        yield Stream(publish, answered)
    count = f"SELECT count(*) FROM {project.DECISIONS}"
    if (decided := project.one_number(soak.place, count)) != soak.events:
        raise WrongAnswerError(f"{decided} decisions about {soak.events} events")


def rows_of(soak: Soak, readings: Sequence[Reading]) -> list[dict[str, object]]:
    """The figures, in the form of every job's rows."""
    timed = [one for one in readings if one.published < soak.events]
    late = timed[len(timed) // 2 :]
    lag = statistics.linear_regression([one.at for one in late], [one.lag for one in late])
    memory = statistics.linear_regression(
        [one.published for one in late], [one.memory_mb * 1e6 for one in late]
    )
    found: list[tuple[str, float, str]] = [
        ("events", readings[-1].published, "events"),
        ("events_per_s", readings[-1].published / readings[-1].at, "events/s"),
        ("lag_max", max(one.lag for one in late), "events"),
        ("lag_slope", lag.slope, "events/s"),
        ("memory_first_mb", timed[1].memory_mb, "MB"),
        ("memory_last_mb", timed[-1].memory_mb, "MB"),
        ("memory_max_mb", max(one.memory_mb for one in readings), "MB"),
        ("memory_slope", memory.slope, "bytes/event"),
    ]
    return [
        {
            "subject": "splice",
            "load": f"soak-{soak.load.name}",
            "metric": metric,
            "value": round(value, 2),
            "unit": unit,
        }
        for metric, value, unit in found
    ]


def _read(stream: Stream, process: int, published: int, began: float) -> Reading:
    """How things stand."""
    memory = family_memory(process)
    if not memory:
        raise StalledError("it ended by itself")
    lag = published - stream.answered()
    reading = Reading(time.monotonic() - began, published, lag, memory / 1e6)
    told = f"{published:9} events  lag {lag:7}  {reading.memory_mb:7.1f} MB"
    print(told, file=sys.stderr, flush=True)
    return reading


def _options(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description="Five million events, and Splice meanwhile.")
    parser.add_argument("load", nargs="?", choices=list(LOADS), default="kafka")
    parser.add_argument("--events", type=int, default=EVENTS, help="how many (5,000,000)")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second (8,000)")
    parser.add_argument("--every", type=int, default=EVERY, help="events a reading (50,000)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
