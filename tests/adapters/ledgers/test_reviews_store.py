"""Reviews in SQLite and PostgreSQL hold to the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.audit import AuditLog
from splice.ports.reviews import ReviewStore
from splice.ports.stores import OutcomeStore
from splice.testing.contracts.reviews import ReviewStoreContract


@pytest.fixture(scope="module")
def reviews_database(postgres_template: tuple[Any, str]) -> Iterator[str]:
    """A database for all of these tests: making one for each would take most of the time."""
    databases, template = postgres_template
    name = f"splice_reviews_{uuid.uuid4().hex[:12]}"
    databases.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield databases.url(name)
    databases.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("reviews_database")
        import psycopg  # an optional dependency

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("TRUNCATE reviews, outcomes, unjoined, audit_events")
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


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
