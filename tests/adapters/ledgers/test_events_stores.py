"""Events in SQLite and PostgreSQL hold to the contracts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.events import DeadLetterStore, EventStore, OutboxStore, QueueStore
from splice.testing.contracts.events import DeadLetterStoreContract, EventStoreContract
from splice.testing.contracts.outbox import OutboxStoreContract
from splice.testing.contracts.queues import QueueStoreContract


@pytest.fixture(scope="module")
def one_database(postgres_template: tuple[Any, str]) -> Iterator[str]:
    """A database for all of these tests: making one for each would take most of the time."""
    databases, template = postgres_template
    name = f"splice_events_{uuid.uuid4().hex[:12]}"
    databases.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield databases.url(name)
    databases.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("one_database")
        import psycopg  # an optional dependency

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "TRUNCATE calls, blocks, inbox, queued, queued_bodies, dead_letters, event_marks, "
                "event_attempts, audit_events"
            )
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


@pytest.fixture
def events(ledger: Ledger) -> EventStore:
    return ledger.events


@pytest.fixture
def outbox(ledger: Ledger) -> OutboxStore:
    return ledger.outbox


@pytest.fixture
def dead_letters(ledger: Ledger) -> DeadLetterStore:
    return ledger.dead_letters


@pytest.fixture
def queue(ledger: Ledger) -> QueueStore:
    return ledger.queue


class TestEvents(EventStoreContract):
    pass


class TestDeadLetters(DeadLetterStoreContract):
    pass


class TestQueue(QueueStoreContract):
    pass


class TestOutbox(OutboxStoreContract):
    pass
