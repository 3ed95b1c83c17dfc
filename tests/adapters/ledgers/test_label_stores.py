"""Labels hold to their contract, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.labels import LabelStore
from splice.ports.rollups import RollupStore
from splice.testing.contracts.labels import LabelStoreContract


@pytest.fixture
def rollups(ledger: Ledger) -> RollupStore:
    return ledger.rollups


@pytest.fixture
def labels(ledger: Ledger) -> LabelStore:
    return ledger.labels


class TestInSqlite(LabelStoreContract):
    @pytest.fixture
    def ledger(self, sqlite_url: str, tmp_path: Path) -> Iterator[Ledger]:
        ledger = open_ledger(sqlite_url, tmp_path / "blobs", migrate=False)
        yield ledger
        ledger.close()


@pytest.mark.postgres
class TestInPostgres(LabelStoreContract):
    @pytest.fixture
    def ledger(self, postgres_url: str, tmp_path: Path) -> Iterator[Ledger]:
        ledger = open_ledger(postgres_url, tmp_path / "blobs", migrate=False)
        yield ledger
        ledger.close()
