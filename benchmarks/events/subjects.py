"""The subjects of the benchmark of events: what each is, and what it promises."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from environments import environment, versions
from serve.subject import own_python

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent


@dataclass(frozen=True)
class Load:
    """Where the events of a run are, and what the subject runs on."""

    name: str
    partitions: int = 0
    """Of the source and of the target; 0: the events are in Splice's own queue."""
    batch: int = 0
    """In how many events the queue is taken at once."""
    workers: int = 1
    """Processes that take from the queue."""
    cores: str = "0"
    """Of the subject. Kafka and the reader are on core 1; without Kafka there is nobody there."""


LOADS: Mapping[str, Load] = {
    load.name: load
    for load in (
        Load("kafka", partitions=1),
        Load("kafka-4", partitions=4),
        Load("kafka-2-cores", partitions=1, cores="0,1"),
        Load("embedded", batch=100, cores="0,1"),
        Load("embedded-2-workers", batch=100, workers=2, cores="0,1"),
        Load("embedded-1-core", batch=100),
        Load("embedded-1000", batch=1000, cores="0,1"),
    )
}


@dataclass(frozen=True)
class Variant:
    """One way to run a subject: how, and what becomes of events when it dies."""

    configuration: str
    promise: str
    """In a few words; `PROMISES` tells what they mean."""
    share: float = 1.0
    """How much of the events it gets: the slow ones fewer."""


@dataclass(frozen=True)
class Subject:
    """A program that takes payments and gives decisions."""

    name: str
    packages: tuple[str, ...]
    variants: Mapping[str, Variant]
    """The first is the one that is compared."""
    needs: str | None = None
    """Its requirements file; None: the interpreter that runs the benchmark."""
    has_queue: bool = False
    """Whether it can take events from a queue of its own."""

    def python(self, cache: Path) -> Path:
        """The interpreter that it runs on."""
        if self.needs is None:
            return own_python()
        return environment(self.needs, HERE / f"requirements-{self.needs}.txt", cache)

    def versions(self, cache: Path) -> dict[str, str]:
        """Of its packages."""
        return versions(self.python(cache), self.packages)


@dataclass(frozen=True)
class Wiring:
    """Where a subject reads and writes."""

    servers: str
    source: str
    target: str
    group: str


def place_of(subject: Subject, variant: str, cache: Path) -> Path:
    """The folder it works in."""
    return cache / "places" / f"events-{subject.name.replace(' ', '-')}-{variant}"


def peer_command(
    subject: Subject, variant: str, wiring: Wiring, model: Path, cache: Path
) -> tuple[list[str], dict[str, str]]:
    """How a peer is started in its folder, which is made anew: arguments and environment."""
    place = place_of(subject, variant, cache)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shutil.copyfile(model, place / "model.onnx")
    env = {
        "PYTHONPATH": f"{HERE}:{BENCHMARKS / 'serve'}",
        "SERVERS": wiring.servers,
        "SOURCE": wiring.source,
        "TARGET": wiring.target,
        "GROUP": wiring.group,
        "VARIANT": variant,
    }
    argv = [str(subject.python(cache)), str(HERE / f"app_{subject.needs}.py")]
    return argv, env


MODEL = ("onnxruntime", "numpy", "msgspec")
RECORDED = "exactly once, answered once, recorded"
RECORDED_ONCE_OR_MORE = "at least once, answered once, recorded"
EXACTLY_ONCE = "exactly once"
AT_LEAST_ONCE = "at least once"
PROMISES: Mapping[str, str] = {
    EXACTLY_ONCE: "after a crash a read_committed reader of Kafka still finds one decision an event"
    " (decisions and offsets are one transaction); the model may be asked again; nothing is kept",
    AT_LEAST_ONCE: "after a crash some events have a second decision, which may differ; the model "
    "is asked again; nothing is kept",
    RECORDED: "as exactly once; besides, the call's record is on disk before its decision can be "
    "read, and an event that comes again is answered from it, without the model",
    RECORDED_ONCE_OR_MORE: "as that, but a crash may send a decision twice, the same one",
}
SINGLE = Variant(
    "typed subscriber and publisher, one message at a time, NACK_ON_ERROR, msgspec",
    AT_LEAST_ONCE,
    share=0.05,
)
BATCH = Variant(
    "batch=True, max_records=1000, one model run a batch, NACK_ON_ERROR, msgspec", AT_LEAST_ONCE
)

SUBJECTS: Mapping[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject(
            "splice",
            ("splice-ai", "confluent-kafka", *MODEL),
            {
                "exactly-once": Variant(
                    "splice consume, exactly_once, every call recorded in SQLite, inbox",
                    RECORDED,
                ),
                "at-least-once": Variant(
                    "splice consume, every call recorded in SQLite, inbox and outbox",
                    RECORDED_ONCE_OR_MORE,
                ),
            },
            has_queue=True,
        ),
        Subject(
            "quix",
            ("quixstreams", "confluent-kafka", *MODEL),
            {
                "exactly-once": Variant(
                    "one dataframe, one event at a time, a commit each second, msgspec",
                    EXACTLY_ONCE,
                ),
                "at-least-once": Variant(
                    "one dataframe, one event at a time, a commit each second, msgspec",
                    AT_LEAST_ONCE,
                ),
            },
            needs="quix",
        ),
        Subject(
            "faststream single",
            ("faststream", "confluent-kafka", "uvloop", *MODEL),
            {"single": SINGLE},
            needs="faststream",
        ),
        Subject(
            "faststream batch",
            ("faststream", "confluent-kafka", "uvloop", *MODEL),
            {"batch": BATCH},
            needs="faststream",
        ),
        Subject(
            "aiokafka",
            ("aiokafka", "uvloop", *MODEL),
            {
                "at-least-once": Variant(
                    "getmany of 1000, one model run a batch, commit after each", AT_LEAST_ONCE
                ),
                "transactional": Variant(
                    "getmany of 1000, one model run and one transaction a batch", EXACTLY_ONCE
                ),
            },
            needs="aiokafka",
        ),
    )
}
