"""Findings, alerts and messages in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import pytest

from splice.adapters.ledgers.sql import Ledger
from splice.ports.alerts import AlertStore
from splice.testing.contracts.alerts import AlertStoreContract

TABLES = "monitor_findings, monitor_mutes, alerts, alert_notes, alert_messages, audit_events"


@pytest.fixture
def ledger(emptied_ledger: Ledger) -> Ledger:
    return emptied_ledger


@pytest.fixture
def alerts(ledger: Ledger) -> AlertStore:
    return ledger.alerts


class TestAlerts(AlertStoreContract):
    pass
