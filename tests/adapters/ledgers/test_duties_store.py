"""Attestations, incidents and freezes in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import pytest

from splice.adapters.ledgers.sql import Ledger
from splice.core.duties import Freeze
from splice.ports.alerts import AlertStore
from splice.ports.audit import AuditLog
from splice.ports.duties import DutyStore
from splice.testing.contracts.duties import DutyStoreContract

TABLES = "attestations, incidents, freezes, alert_notes, audit_events"


@pytest.fixture
def ledger(emptied_ledger: Ledger) -> Ledger:
    return emptied_ledger


@pytest.fixture
def duties(ledger: Ledger) -> DutyStore:
    return ledger.duties


@pytest.fixture
def alerts(ledger: Ledger) -> AlertStore:
    return ledger.alerts


@pytest.fixture
def audit(ledger: Ledger) -> AuditLog:
    return ledger.audit


class TestDuties(DutyStoreContract):
    pass


@pytest.mark.parametrize(
    ("since", "until", "kept"),
    [(0, 10, False), (0, 11, True), (15, 16, True), (19, 30, True), (20, 30, False)],
)
def test_a_freeze_keeps_any_window_that_it_touches(since: int, until: int, kept: bool) -> None:
    freeze = Freeze("f", "credit", 10, 20, 0, "ada", "why")

    assert freeze.keeps("credit", since, until) is kept
    assert not freeze.keeps("other", since, until)


def test_a_freeze_without_end_keeps_all_that_comes() -> None:
    freeze = Freeze("f", "credit", 10, 0, 0, "ada", "why")

    assert freeze.keeps("credit", 1_000, 2_000)
    assert not freeze.keeps("credit", 0, 10)


def test_a_lifted_freeze_keeps_nothing_wherever_it_is_asked() -> None:
    freeze = Freeze("f", "credit", 10, 0, 0, "ada", "why", lifted_us=5)

    assert not freeze.keeps("credit", 1_000, 2_000)
