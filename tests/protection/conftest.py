"""A house whose ledger is in either database."""

from __future__ import annotations

from pathlib import Path

import pytest
from protection_house import House


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    return House(tmp_path / "p", url)


@pytest.fixture
def small(tmp_path: Path) -> House:
    return House(tmp_path / "p")
