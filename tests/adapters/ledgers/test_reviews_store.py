"""Reviews in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import pytest

from splice.adapters.ledgers.sql import Ledger
from splice.ports.audit import AuditLog
from splice.ports.reviews import ReviewStore
from splice.ports.stores import OutcomeStore
from splice.testing.contracts.reviews import ReviewStoreContract

TABLES = "reviews, outcomes, unjoined, audit_events"


@pytest.fixture
def ledger(emptied_ledger: Ledger) -> Ledger:
    return emptied_ledger


@pytest.fixture
def reviews(ledger: Ledger) -> ReviewStore:
    return ledger.reviews


@pytest.fixture
def outcomes(ledger: Ledger) -> OutcomeStore:
    return ledger.outcomes


@pytest.fixture
def audit(ledger: Ledger) -> AuditLog:
    return ledger.audit


class TestReviews(ReviewStoreContract):
    """A SqlReviews."""
