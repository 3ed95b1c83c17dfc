"""A real Kafka: topics of a test's own, and a broker that a test may kill."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_house import Topics
from postgres_house import OwnPostgres

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from broker import KAFKA, Broker, NoKafka


@pytest.fixture
def topics(kafka: str) -> Iterator[Topics]:
    """`topics.make(partitions=3)` is a topic that no other test has; deleted after the test."""
    made = Topics(kafka)
    yield made
    made.delete()


@pytest.fixture
def topic(topics: Topics) -> str:
    """A topic of one partition that no other test has."""
    return topics.make()


@pytest.fixture(scope="module")
def own_broker() -> Iterator[Broker]:
    """A broker that the tests of a file start, kill and start again; at first it does not run."""
    try:
        KAFKA.jars()
    except NoKafka as why:
        pytest.skip(f"no Kafka broker: {why}")
    folder = Path(tempfile.mkdtemp(prefix="splice-kafka-"))
    broker = Broker(folder)
    yield broker
    broker.kill()
    shutil.rmtree(folder)


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """It runs; kill it and start it again."""
    folder = Path(tempfile.mkdtemp(prefix="splice-pg-"))
    made = OwnPostgres(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)
