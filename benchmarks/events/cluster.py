"""A Kafka of the benchmark's own: its topics, what goes in, and what comes out and when."""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic

from processes import only_on

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from broker import Broker

PATIENCE_SECONDS = 120.0
"""A subject that adds nothing for so long will not any more."""
LOOK_SECONDS = 0.25
LOOK_MESSAGES = 50_000
QUIET = {"log_level": 2}
"""Of our own clients: they outlive the broker by a moment, and would say so."""
SETTINGS = {"log.retention.check.interval.ms": "10000"}


class StalledError(RuntimeError):
    """A subject stopped before it had answered everything."""


@dataclass
class Arrived:
    """The decisions of a topic, or of a table, and when each was written."""

    values: list[bytes] = field(default_factory=list[bytes])
    stamps_ms: list[int] = field(default_factory=list[int])
    """The clock of the broker as it appended each, or of the ledger as it stored it."""

    def clear(self) -> None:
        """Forget them."""
        self.values.clear()
        self.stamps_ms.clear()

    def events_per_s(self, skipped: float) -> float:
        """How many were written a second, without the first share of them: a warm-up."""
        stamps = sorted(self.stamps_ms)
        began = int(len(stamps) * skipped)
        # A batch has one stamp: what was written as the clock starts is not counted.
        counted = sum(stamp > stamps[began] for stamp in stamps)
        return counted / max((stamps[-1] - stamps[began]) / 1000, 1e-3)


class Reading:
    """A reader, and what it has seen."""

    def __init__(self, reader: Consumer) -> None:
        self._reader = reader
        self.arrived = Arrived()

    def until(self, count: int, look: Callable[[int], None]) -> None:
        """Read until there are so many; `look` is told how many, several times a second.

        Raises:
            StalledError: Nothing came any more.
        """
        last = time.monotonic()
        while (seen := len(self.arrived.values)) < count:
            if self.take(LOOK_SECONDS):
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE_SECONDS:
                raise StalledError(f"{seen} of {count} decisions came")
            look(len(self.arrived.values))

    def rest(self) -> None:
        """Read what else there is, once nothing is added any more."""
        while self.take(4 * LOOK_SECONDS):
            pass

    def take(self, seconds: float) -> bool:
        """Read on; whether there was any."""
        found = self._reader.consume(LOOK_MESSAGES, seconds)
        for message in found:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            self.arrived.values.append(message.value() or b"")
            self.arrived.stamps_ms.append(message.timestamp()[1])
        return bool(found)


class Cluster:
    """A broker, and what the benchmark asks of it."""

    def __init__(self, servers: str, process: int | None = None) -> None:
        self.servers = servers
        self.process = process
        """Of the broker, where it is ours."""
        self._admin = AdminClient({"bootstrap.servers": self.servers} | QUIET)

    def topic(self, partitions: int, **settings: str) -> str:
        """A new topic; settings by Kafka's names, with _ for each point."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        config = {key.replace("_", "."): value for key, value in settings.items()}
        made = self._admin.create_topics([NewTopic(name, partitions, 1, config=config)])
        made[name].result(PATIENCE_SECONDS)
        return name

    def delete(self, topic: str) -> None:
        """Forget a topic."""
        self._admin.delete_topics([topic])[topic].result(PATIENCE_SECONDS)

    def fill(self, topic: str, partitions: int, events: Iterable[tuple[bytes, bytes]]) -> None:
        """Put events in, one partition after the other."""
        producer = self.producer()
        for number, (key, value) in enumerate(events):
            send(producer, topic, value, key, number % partitions)
        if producer.flush(PATIENCE_SECONDS):
            raise RuntimeError(f"{topic} was not filled")

    def producer(self) -> Producer:
        """One that sends large batches."""
        settings = {"bootstrap.servers": self.servers, "linger.ms": 50, "batch.size": 1 << 19}
        return Producer(settings | QUIET)

    def committed(self, group: str, topic: str, partitions: int) -> int:
        """How many events of the topic the group says that it has finished."""
        asked = ConsumerGroupTopicPartitions(group, [Place(topic, n) for n in range(partitions)])
        found = self._admin.list_consumer_group_offsets([asked])[group].result(PATIENCE_SECONDS)
        return sum(max(place.offset, 0) for place in found.topic_partitions or ())

    @contextmanager
    def reading(self, topic: str, partitions: int) -> Generator[Reading]:
        """A `read_committed` reader of decisions, from the beginning of the topic."""
        reader = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": f"reader-{uuid.uuid4().hex}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
            | QUIET
        )
        reader.assign([Place(topic, number, 0) for number in range(partitions)])
        try:
            yield Reading(reader)
        finally:
            reader.close()


def send(producer: Producer, topic: str, value: bytes, key: bytes, partition: int) -> None:
    """Put one in, and wait while the producer is full."""
    while True:
        try:
            producer.produce(topic, value, key, partition)
        except BufferError:
            producer.poll(0.1)
        else:
            return


@contextmanager
def cluster(cache: Path, core: str) -> Generator[Cluster]:
    """A fresh broker on a core, until the end."""
    folder = cache / "kafka"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    broker = Broker(folder, settings=SETTINGS, java=())
    with only_on(core):
        broker.start()
    try:
        yield Cluster(broker.servers, broker.process.pid if broker.process else None)
    finally:
        broker.stop()
        shutil.rmtree(folder)
