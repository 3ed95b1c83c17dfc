"""Keys and budgets in SQLite and PostgreSQL."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from older import go_back
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.errors import StoreError
from splice.ports.keys import KeyStore
from splice.testing.contracts.keys import FULL, KeyStoreContract
from splice.testing.contracts.records import simple_record


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


@pytest.fixture
def keys(ledger: Ledger) -> KeyStore:
    return ledger.keys


class TestKeys(KeyStoreContract):
    pass


def test_a_key_cannot_be_taken_out_by_sql(ledger: Ledger, url: str) -> None:
    ledger.keys.add_key(FULL)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text("DELETE FROM api_keys"))

    assert ledger.keys.key(FULL.id) == FULL
    engine.dispose()


def test_a_change_that_fails_is_no_new_generation(ledger: Ledger) -> None:
    before = ledger.keys.generation()

    with pytest.raises(StoreError):
        ledger.keys.revoke_key("k1", 1)

    assert ledger.keys.generation() == before


def test_a_ledger_of_the_release_before_gets_the_tables_and_keeps_its_calls(
    tmp_path: Path, sqlite_template: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "old.db")
    url = f"sqlite:///{tmp_path}/old.db"
    record = simple_record(random.Random(1))
    old = open_ledger(url, tmp_path, migrate=False)
    old.records.append([record])
    old.close()
    go_back(url, "0001")

    new = open_ledger(url, tmp_path)
    new.keys.add_key(FULL)

    assert new.check() == ""
    assert new.records.get(record.call_id) == record
    assert new.keys.access().keys == (FULL,)
    new.close()
