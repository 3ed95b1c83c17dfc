"""Trees and heads in SQLite and PostgreSQL hold to the contract, and upgrade what was there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from older import go_back

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.checkpoints import CheckpointStore
from splice.testing.contracts.checkpoints import (
    CheckpointContract,
    ids_of,
    sequence_all,
    some_calls,
)

TABLES = """calls, blocks, call_kinds, audit_events, leaf_queue, leaf_history, tree_tiles,
tree_calls, tree_heads"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


@pytest.fixture
def checkpoints(ledger: Ledger) -> CheckpointStore:
    return ledger.checkpoints


class TestSqlCheckpoints(CheckpointContract):
    """In both databases."""


def test_calls_and_events_of_an_older_ledger_become_leaves_too(url: str, tmp_path: Path) -> None:
    calls = some_calls(250)
    with_trees = open_ledger(url, tmp_path / "blobs", migrate=False)
    with_trees.records.append(calls[:200])
    with_trees.audit.add_event("a.b", "s", by="ada", now_us=1)
    with_trees.close()
    go_back(url, "0009")

    ledger = open_ledger(url, tmp_path / "blobs")
    ledger.records.append(calls[200:])
    assert ledger.checkpoints.waiting() == 51  # and those of before, which nobody counts
    sequence_all(ledger.checkpoints)

    assert sorted(ids_of(ledger.checkpoints)) == sorted(one.call_id for one in calls)
    assert ledger.checkpoints.strangers(1) == []
    ledger.close()
