"""Topics, writers and readers for tests with a real Kafka."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE_S = 60  # nothing is measured here: a machine that is slower than this is broken


class Topics:
    """Makes topics under names that nobody else has, and deletes them."""

    def __init__(self, servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": servers})
        self._made: list[str] = []

    def make(self, partitions: int = 1, name: str = "", **settings: str) -> str:
        """A new topic; settings by Kafka's names, with _ for each point."""
        name = name or f"splice-test-{uuid.uuid4().hex}"
        config = {key.replace("_", "."): value for key, value in settings.items()}
        wanted = NewTopic(name, partitions, 1, config=config)
        self._admin.create_topics([wanted])[name].result(PATIENCE_S)
        self._made.append(name)
        give_up = time.monotonic() + PATIENCE_S
        while len(self._admin.list_topics(name).topics[name].partitions) < partitions:
            assert time.monotonic() < give_up, f"the broker does not know {name}"
            time.sleep(0.01)
        return name

    def delete(self) -> None:
        """Delete what was made here."""
        if self._made:
            for gone in self._admin.delete_topics(self._made).values():
                gone.result(PATIENCE_S)
        self._made.clear()


def produce(servers: str, topic: str, *values: bytes) -> None:
    """Write records, and wait until the broker has them."""
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 32_000_000})
    refused: list[KafkaError] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda e, _: refused.append(e) if e else None)
    assert producer.flush(PATIENCE_S) == 0, "not all was written"
    assert refused == []


@contextlib.contextmanager
def reader(servers: str, *topics: str, **settings: str | int | bool) -> Iterator[Consumer]:
    """A consumer from the beginning, in a group of its own; settings as in `Topics.make`."""
    given = {key.replace("_", "."): value for key, value in settings.items()}
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"splice-test-{uuid.uuid4().hex}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        | given
    )
    consumer.subscribe(list(topics))
    try:
        yield consumer
    finally:
        consumer.close()


def read(consumer: Consumer, count: int) -> list[Message]:
    """The next records, exactly so many."""
    found: list[Message] = []
    give_up = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < give_up, f"{len(found)} of {count} records came"
        message = consumer.poll(1)
        if message is None:
            continue
        if (error := message.error()) is not None:
            raise KafkaException(error)
        found.append(message)
    return found


def read_all(servers: str, topic: str, count: int, **settings: str | int | bool) -> list[bytes]:
    """The values of a topic's first records."""
    with reader(servers, topic, **settings) as consumer:
        return [message.value() or b"" for message in read(consumer, count)]
