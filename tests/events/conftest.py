"""A real Kafka: topics of a test's own, and a broker that a test may kill."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from kafka_house import Topics

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


def _services() -> ModuleType:
    """scripts/services as a module: it is a command, and has no ending."""
    file = str(Path(__file__).parents[2] / "scripts" / "services")
    loader = SourceFileLoader("splice_services", file)
    spec = importlib.util.spec_from_loader("splice_services", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class OwnPostgres:
    """A PostgreSQL server that a test may kill."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the server's own user must reach what is in it
        self._server = _services().Postgres()
        self._server.data, self._server.sockets = folder / "data", folder / "run"

    @property
    def url(self) -> str:
        return self._server.env["SPLICE_TEST_POSTGRES"]

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        """SIGKILL, as the power goes: its children end by themselves."""
        pid = int((self._server.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """It runs; kill it and start it again."""
    folder = Path(tempfile.mkdtemp(prefix="splice-pg-"))
    made = OwnPostgres(folder)
    made.start()
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)
