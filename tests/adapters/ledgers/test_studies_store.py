"""Studies in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splice.adapters.ledgers import study_reading
from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.studies import StudyStore
from splice.testing.contracts.kpis import KpiStoreContract
from splice.testing.contracts.studies import (
    NOW,
    StudyStoreContract,
    call,
    paid,
    span,
)

TABLES = "studies, study_units, study_outcomes, study_cells"


@pytest.fixture(scope="module")
def studies_database(postgres_template: tuple[Any, str]) -> Iterator[str]:
    """A database for all of these tests: making one for each would take most of the time."""
    databases, template = postgres_template
    name = f"splice_studies_{uuid.uuid4().hex[:12]}"
    databases.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield databases.url(name)
    databases.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("studies_database")
        import psycopg  # an optional dependency

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {TABLES}, calls, outcomes, unjoined, unscored")
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


@pytest.fixture
def studies(ledger: Ledger) -> StudyStore:
    return ledger.studies


class TestSqlStudies(StudyStoreContract):
    pass


class TestSqlKpis(KpiStoreContract):
    pass


def test_a_unit_with_more_calls_than_fit_into_memory_is_counted_in_pages(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_reading, "_PAGE", 7)
    some = [call(f"e{n % 3}", n % 10, duration_us=1) for n in range(90)]
    ledger.records.append(some)
    ledger.outcomes.append_outcomes([paid(one, 9.5) for one in some[:30]], NOW)

    units = ledger.studies.counted(span(), ["e0", "e1", "e2"], NOW)

    assert [one.calls for one in units] == [30, 30, 30]
    assert [one.outcomes["paid"].calls for one in units] == [10, 10, 10]
