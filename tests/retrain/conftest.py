"""An empty ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own."""
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "blobs")
    yield made
    made.close()
