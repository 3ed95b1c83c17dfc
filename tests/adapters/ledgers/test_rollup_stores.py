"""Rollups in SQLite and PostgreSQL: the contract, and what goes wrong around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from counting import Counting

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.testing.contracts.rollups import RollupStoreContract


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path)
    yield ledger
    ledger.close()


class TestRollups(RollupStoreContract):
    """A ledger of each kind holds to the contract."""


class TestCounting(Counting):
    """A ledger of each kind counts as a full count does."""
