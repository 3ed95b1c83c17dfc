"""`python benchmarks/events/hot.py [LOAD] [SUBJECT]`: where a subject spends its time, by py-spy.

A run of the benchmark whose figures are thrown away; the stacks are left in `.bench`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from environments import environment
from events.cluster import cluster
from events.job import planned
from events.running import Run, run_embedded, run_on_kafka
from events.stream import source_events
from events.subjects import place_of
from gateway.hot import tell
from processes import only_on
from run import CACHE
from serve.job import LOAD_CORE, model_and_rows

EVENTS = 100_000
REQUIREMENTS = Path(__file__).parents[1] / "gateway" / "requirements-py-spy.txt"
SECONDS = 4
"""Of recording; a subject that is done sooner is recorded as long as it works."""


def main(argv: Sequence[str]) -> None:
    """Record the stacks of the subject while it works."""
    load_name, name = (list(argv) + ["kafka", "splice"][len(argv) :])[:2]
    plan = planned([name], load_name, EVENTS, 1, every_variant=False)
    subject, variant, load = plan.runs()[0]
    spy = environment("py-spy", REQUIREMENTS, CACHE).parent / "py-spy"
    stacks = CACHE / f"hot-events-{load.name}.txt"
    recording: list[subprocess.Popen[bytes]] = []

    def record(process: int) -> None:
        options = f"record --duration {SECONDS} --rate 200 --format raw --subprocesses"
        spying = [str(spy), *options.split(), "--output", str(stacks), "--pid", str(process)]
        recording.append(subprocess.Popen(["taskset", "-c", LOAD_CORE, *spying]))

    model, asked = model_and_rows(CACHE)
    place = place_of(subject, variant, CACHE)
    run = Run(subject, variant, load, EVENTS, asked, model, place, record)
    with only_on(LOAD_CORE):
        if load.partitions:
            with cluster(CACHE, LOAD_CORE) as kafka:
                source = kafka.topic(load.partitions)
                kafka.fill(source, load.partitions, source_events(asked, EVENTS))
                print(run_on_kafka(run, kafka, source, CACHE))
        else:
            print(run_embedded(run))
    for one in recording:
        one.wait()
    tell(stacks)


if __name__ == "__main__":
    main(sys.argv[1:])
