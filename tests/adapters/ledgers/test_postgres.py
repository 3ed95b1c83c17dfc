"""The PostgreSQL ledger holds to the contracts, and to what is said of its server."""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url

from splice.adapters.ledgers.payloads import day_of
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.errors import StoreError
from splice.testing.contracts.figures import FigureStoreContract
from splice.testing.contracts.lifecycle import (
    AuditLogContract,
    LeaseStoreContract,
    ValidationStoreContract,
)
from splice.testing.contracts.models import ModelStoreContract
from splice.testing.contracts.outcomes import OutcomeStoreContract
from splice.testing.contracts.pipelines import PipelineStoreContract
from splice.testing.contracts.promotions import PromotionStoreContract
from splice.testing.contracts.records import (
    DAY_MS,
    NOON_MS,
    ClaimContract,
    RecordStoreContract,
    simple_record,
)
from splice.testing.contracts.releases import ReleaseStoreContract

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.postgres


@pytest.fixture
def ledger(postgres_url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(postgres_url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


class TestRecords(RecordStoreContract, ClaimContract):
    pass


class TestOutcomes(OutcomeStoreContract):
    pass


class TestReleases(ReleaseStoreContract):
    pass


class TestModels(ModelStoreContract):
    pass


class TestAudit(AuditLogContract):
    pass


class TestValidations(ValidationStoreContract):
    pass


class TestLeases(LeaseStoreContract):
    pass


class TestFigures(FigureStoreContract):
    pass


class TestPromotions(PromotionStoreContract):
    pass


class TestPipelines(PipelineStoreContract):
    pass


class Proxy:
    """A way to the server over TCP that a test can cut and restore."""

    def __init__(self, server: str) -> None:
        url = make_url(server)
        folder = str(url.host or url.normalized_query["host"][0])
        port = url.port or 5432
        self._unix = folder.startswith("/")
        self._target = f"{folder}/.s.PGSQL.{port}" if self._unix else (folder, port)
        self._open: list[socket.socket] = []
        self.port = 0
        self.restore()

    def restore(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        while self._open:
            side = self._open.pop()
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX if self._unix else socket.AF_INET)
                far.connect(self._target)
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while chunk := one.recv(65536):
                other.sendall(chunk)
            other.shutdown(socket.SHUT_RDWR)


def test_a_server_that_was_away_is_used_again(postgres_url: str, tmp_path: Path) -> None:
    proxy = Proxy(postgres_url)
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port, password="hunter2")
    through = url.set(query={}).render_as_string(hide_password=False)
    ledger = open_ledger(through, tmp_path, busy_timeout_s=2)
    rng = random.Random(1)
    some = [simple_record(rng) for _ in range(4)]
    ledger.records.append(some[:1])

    proxy.cut()
    with pytest.raises(StoreError, match="no connection") as caught:
        ledger.records.append(some[1:2])
    not_ready = ledger.check()
    proxy.restore()
    ledger.records.append(some[2:3])
    proxy.cut()
    proxy.restore()
    ledger.records.append(some[3:])

    assert "hunter2" not in str(caught.value)
    assert "no connection" in not_ready
    assert ledger.check() == ""
    assert set(ledger.records.get_many([r.call_id for r in some])) == {
        some[n].call_id for n in (0, 2, 3)
    }
    ledger.close()
    proxy.cut()


def test_a_call_is_looked_up_in_one_partition(ledger: Ledger, postgres_url: str) -> None:
    rng = random.Random(1)
    some = [simple_record(rng, NOON_MS + day * DAY_MS) for day in range(5)]
    ledger.records.append(some)

    with psycopg.connect(postgres_url) as connection:
        plan = "\n".join(
            line for (line,) in connection.execute(
                f"EXPLAIN SELECT * FROM calls WHERE id = '{some[3].call_id}'".encode()
            )
        )  # fmt: skip

    days = set(re.findall(r"calls_day_\d+", plan))
    assert len({name.removesuffix("_pkey") for name in days}) == 1


def test_a_day_that_was_dropped_can_be_written_again(ledger: Ledger, postgres_url: str) -> None:
    rng = random.Random(1)
    first, second = simple_record(rng), simple_record(rng)
    ledger.records.append([first])
    day = day_of(first.call_id)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE calls_day_{day}".encode())
        connection.execute(f"DROP TABLE blocks_day_{day}".encode())

    ledger.records.append([second])

    assert ledger.records.get(first.call_id) is None
    assert ledger.records.get(second.call_id) == second


def test_each_commit_waits_for_the_disk(ledger: Ledger) -> None:
    with ledger._database.read() as connection:
        settings = [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("synchronous_commit", "fsync")
        ]

    assert settings == ["on", "on"]
