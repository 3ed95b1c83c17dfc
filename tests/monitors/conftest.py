"""Fixtures of monitors: a house for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_house import House

from splice.adapters.ledgers.sql import open_ledger


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy: migrating anew for each test would take most of the time."""
    folder = tmp_path_factory.mktemp("template")
    open_ledger(f"sqlite:///{folder}/ledger.db", folder).close()
    return folder / "ledger.db"


@pytest.fixture
def house(tmp_path: Path, empty_ledger: Path) -> Iterator[House]:
    shutil.copy(empty_ledger, tmp_path / "ledger.db")
    made = House(tmp_path)
    yield made
    made.close()
