"""People and their sessions in SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.people import PeopleStore
from splice.testing.contracts.people import PeopleStoreContract


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = request.getfixturevalue(f"{request.param}_url")
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


@pytest.fixture
def people(ledger: Ledger) -> PeopleStore:
    return ledger.people


class TestPeople(PeopleStoreContract):
    pass
