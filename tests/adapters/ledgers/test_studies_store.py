"""Studies in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import pytest

from splice.adapters.ledgers import study_reading
from splice.adapters.ledgers.sql import Ledger
from splice.ports.studies import StudyStore
from splice.testing.contracts.kpis import KpiStoreContract
from splice.testing.contracts.studies import (
    NOW,
    StudyStoreContract,
    call,
    paid,
    span,
)

TABLES = "studies, study_units, study_outcomes, study_cells, calls, outcomes, unjoined, unscored"


@pytest.fixture
def ledger(emptied_ledger: Ledger) -> Ledger:
    return emptied_ledger


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
