"""The SQLite ledger holds to the contracts, and to what is said of its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.testing.contracts.figures import FigureStoreContract
from splice.testing.contracts.lifecycle import (
    AuditLogContract,
    LeaseStoreContract,
    ValidationStoreContract,
)
from splice.testing.contracts.models import ModelStoreContract
from splice.testing.contracts.outcomes import OutcomeStoreContract
from splice.testing.contracts.pipelines import PipelineStoreContract
from splice.testing.contracts.promotions import PromotionStoreContract
from splice.testing.contracts.records import ClaimContract, RecordStoreContract
from splice.testing.contracts.releases import ReleaseStoreContract


@pytest.fixture
def ledger(sqlite_url: str, tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(sqlite_url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


class TestRecords(RecordStoreContract, ClaimContract):
    pass


class TestOutcomes(OutcomeStoreContract):
    pass


class TestReleases(ReleaseStoreContract):
    pass


class TestModels(ModelStoreContract):
    pass


class TestAudit(AuditLogContract):
    pass


class TestValidations(ValidationStoreContract):
    pass


class TestLeases(LeaseStoreContract):
    pass


class TestFigures(FigureStoreContract):
    pass


class TestPromotions(PromotionStoreContract):
    pass


class TestPipelines(PipelineStoreContract):
    pass
