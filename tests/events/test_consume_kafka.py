"""Real processes on a real Kafka: killed with their broker and their database, in the middle."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broker import Broker
from confluent_kafka import Consumer, Producer
from kafka_house import Topics, reader
from postgres_house import OwnPostgres
from stream_house import DECLARED, Consume, StreamProject, order, until, wrong_order

KILLS = int(os.environ.get("SPLICE_TEST_KILLS", "3"))
KEYS = 50
FAILING = """
    def context(self, order: Order, look: splice.Lookup) -> dict:
        if order.does == "fail" and not os.path.exists("mended"):
            raise OSError("not yet")
        return {"number": order.number, "does": ""}
"""


def toml(servers: str, source: str, target: str, *, ledger: str = "", more: str = "") -> str:
    url = ledger or "sqlite:///.splice/ledger.db"
    return f"""
[kafka]
servers = "{servers}"
options = {{ "session.timeout.ms" = 6000, "heartbeat.interval.ms" = 500 }}
[ledger]
url = "{url}"
[consume.orders]
source = "kafka:{source}"
targets = ["kafka:{target}"]
max_batch = 100
max_in_flight = 400
backoff_seconds = 0.05
attempts = 50
{more}
"""


class Writer:
    """Publishes numbered orders, each once, whatever becomes of the broker meanwhile."""

    def __init__(self, servers: str, topic: str, does: str = "") -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "message.timeout.ms": 300_000,
            }
        )
        self._topic, self._does = topic, does
        self.number = 0

    def write(self, count: int) -> None:
        for number in range(self.number, self.number + count):
            key = f"k{number % KEYS}"
            self._producer.produce(self._topic, order(key, number, self._does), key=key)
            self._producer.poll(0)
        self.number += count

    def flush(self) -> None:
        assert self._producer.flush(300) == 0


class Decisions:
    """What a reader of committed transactions sees, in its order."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.seen: list[tuple[str, int]] = []

    def read(self) -> int:
        for message in self._consumer.consume(500, 0.2):
            if message.error() is None:
                reply = json.loads(message.value())
                self.seen.append((reply["key"], reply["number"]))
        return len(self.seen)

    def numbers(self) -> list[int]:
        return sorted(number for _, number in self.seen)


@pytest.fixture
def decisions(kafka: str, topics: Topics) -> Iterator[tuple[str, Decisions]]:
    target = topics.make(partitions=2)
    with reader(kafka, target, isolation_level="read_committed") as consumer:
        yield target, Decisions(consumer)


@pytest.mark.parametrize("exactly_once", [True, False])
def test_every_event_on_a_topic_is_decided_on_once_and_in_order(
    kafka: str, topics: Topics, decisions: tuple[str, Decisions], tmp_path: Path,
    exactly_once: bool,
) -> None:  # fmt: skip
    source, (target, seen) = topics.make(partitions=3), decisions
    more = f"exactly_once = {str(exactly_once).lower()}"
    project = StreamProject(tmp_path / "p", toml(kafka, source, target, more=more))
    writer = Writer(kafka, source)
    writer.write(2000)
    writer.flush()
    with project.consume(workers=2) as running:
        until(lambda: seen.read() >= 2000, "all decisions")
        assert running.stop() == 0
    with project.consume() as running:  # what was committed does not come again
        writer.write(10)
        writer.flush()
        until(lambda: seen.read() >= 2010, "ten more")
        running.stop()

    assert seen.numbers() == list(range(2010))
    assert wrong_order(seen.seen) == []
    with project.stores() as stores:
        assert stores.records.count() == 2010
        assert stores.outbox.outbox_size() == 0


def test_an_event_that_kills_its_process_is_kept_and_published_as_a_dead_letter(
    kafka: str, topics: Topics, decisions: tuple[str, Decisions], tmp_path: Path
) -> None:
    source, dead, (target, seen) = topics.make(), topics.make(), decisions
    more = f'exactly_once = true\ndead = "kafka:{dead}"\n'
    text = toml(kafka, source, target, more=more).replace("attempts = 50", "attempts = 2")
    project = StreamProject(tmp_path / "p", text)
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(30):
        does = "die" if number == 11 else ""
        producer.produce(source, order("k", number, does), key="k", headers={"x": b"\xff"})
    producer.flush()
    with project.consume(), reader(kafka, dead, isolation_level="read_committed") as grave:
        until(lambda: seen.read() >= 29, "the others are answered")
        found: list = []
        until(lambda: found.extend(grave.consume(1, 0.5)) or found, "the dead letter")

    assert seen.numbers() == [n for n in range(30) if n != 11]
    assert wrong_order(seen.seen) == []
    headers = dict(found[0].headers())
    assert found[0].value() == order("k", 11, "die")
    assert headers["x"] == b"\xff"
    assert headers["splice-error"] == b"attempts_exhausted"
    assert headers["splice-attempts"] == b"2"
    assert headers["splice-origin"] == f"kafka:{source}/0@11".encode()


def test_a_failing_event_comes_again_from_its_delayed_topic_and_the_next_one_goes_on(
    kafka: str, topics: Topics, decisions: tuple[str, Decisions], tmp_path: Path
) -> None:
    source, (target, seen) = topics.make(), decisions
    for delay in ("1s", "2s"):
        topics.make(name=f"{source}.retry-{delay}")
    more = 'exactly_once = true\nretry_delays = ["1 s", "2 s"]\n'
    project = StreamProject(tmp_path / "p", toml(kafka, source, target, more=more))
    project.declare(DECLARED + FAILING)
    assert project.run("release", "apply", "--yes").returncode == 0
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(10):
        producer.produce(source, order("k", number, "fail" if number == 3 else ""), key="k")
    producer.flush()
    with project.consume() as running:
        until(lambda: seen.read() >= 9, "the others are answered")
        without = seen.numbers()
        (project.folder / "mended").touch()
        until(lambda: seen.read() >= 10, "and the one that failed, later")
        running.stop()

    assert without == [n for n in range(10) if n != 3]
    assert seen.seen[-1] == ("k", 3)
    with project.stores() as stores:
        assert stores.dead_letters.dead_letters() == []


def test_workers_that_come_and_go_under_load_lose_double_and_reorder_nothing(
    kafka: str, topics: Topics, decisions: tuple[str, Decisions], tmp_path: Path
) -> None:
    source, (target, seen) = topics.make(partitions=4), decisions
    project = StreamProject(tmp_path / "p", toml(kafka, source, target, more="exactly_once = true"))
    writer = Writer(kafka, source, "linger")
    writer.write(1800)
    writer.flush()
    with project.consume():
        until(lambda: seen.read() > 100, "the first works")
        second = Consume(project.folder, "--workers", "1").ready()
        until(lambda: seen.read() > 700, "both work")
        second.stop()
        third = Consume(project.folder, "--workers", "1").ready()
        until(lambda: seen.read() >= 1800, "all decisions")
        third.stop()

    assert seen.numbers() == list(range(1800))
    assert wrong_order(seen.seen) == []


@pytest.mark.postgres
def test_kill_9_of_consumer_broker_and_database_loses_doubles_and_reorders_nothing(
    own_broker: Broker, own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    own_broker.start()
    topics = Topics(own_broker.servers)
    source, target = topics.make(partitions=3), topics.make(partitions=2)
    text = toml(
        own_broker.servers, source, target, ledger=own_postgres.url, more="exactly_once = true"
    )
    project = StreamProject(tmp_path / "p", text)
    writer = Writer(own_broker.servers, source, "linger")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            writer.write(20)
            time.sleep(0.05)

    chance = random.Random(7)
    with reader(own_broker.servers, target, isolation_level="read_committed") as consumer:
        seen = Decisions(consumer)
        with project.consume(workers=2) as running:

            def kill_broker() -> None:
                own_broker.kill()
                time.sleep(chance.uniform(0, 1))
                own_broker.start()

            def kill_database() -> None:
                own_postgres.kill()
                time.sleep(chance.uniform(0, 1))
                own_postgres.start()

            kinds: list[Callable[[], None]] = [
                running.kill_worker, kill_database, running.kill_worker, kill_broker,
            ]  # fmt: skip
            writing = threading.Thread(target=write)
            writing.start()
            try:
                for number in range(KILLS):
                    have = seen.read()
                    until(lambda have=have: seen.read() > have, f"work goes on after {number}")
                    kinds[number % len(kinds)]()
            finally:
                stop.set()
                writing.join()
            writer.flush()
            until(lambda: seen.read() >= writer.number, "all decisions", 300)
            time.sleep(1)
            seen.read()

    assert seen.numbers() == list(range(writer.number))
    assert wrong_order(seen.seen) == []
    with project.stores() as stores:
        assert stores.dead_letters.dead_letters() == []
