"""The SQLite ledger holds to the contracts, and to what is said of its file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.database import Into
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.adapters.ledgers.sqlite import SqliteDatabase
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
from splice.testing.contracts.records import ClaimContract, RecordStoreContract
from splice.testing.contracts.releases import ReleaseStoreContract


@pytest.fixture
def ledger(sqlite_url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(sqlite_url, tmp_path / "blobs", migrate=False)
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


def test_bytes_of_every_kind_are_read_as_they_were_stored(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "some.db", busy_s=1.0)
    chance = random.Random(7)
    kept: list[tuple[int, bytes, bytes | None]] = [
        (n, chance.randbytes(n % 70), chance.randbytes(size))
        for n, size in enumerate([*range(60), 1000, 4096, 70_000])
    ]
    edges = [
        b"",
        b"\0",
        b"\0\0",
        b"a\0b",
        b"\xff\xfe\0",
        "\u20ac\0\u20ac".encode(),
        b"\xe2\x82",
        None,
    ]
    kept += [(1000 + n, b"\0" * n, edge) for n, edge in enumerate(edges)]
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (id INTEGER PRIMARY KEY, a BLOB, b BLOB)")
        into = Into("kept", (("id", ""), ("a", ""), ("b", "")))
        database.insert_rows(connection, into, [value for row in kept for value in row])

    with database.read() as connection:
        rows = database.rows(connection, "SELECT a, id, b FROM kept ORDER BY id DESC", {}, "bvb")
        none = database.rows(connection, "SELECT a, id, b FROM kept WHERE id < 0", {}, "bvb")
    database.close()

    assert rows == [[a, n, b or b""] for n, a, b in reversed(kept)]
    assert none == []
