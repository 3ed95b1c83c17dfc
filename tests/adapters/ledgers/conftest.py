"""Empty ledgers for the contract suites, and a PostgreSQL server if one is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.ports.audit import AuditLog
from splice.ports.figures import FigureStore
from splice.ports.leases import LeaseStore
from splice.ports.pipelines import PipelineStore
from splice.ports.promotions import PromotionStore
from splice.ports.rollups import RollupStore
from splice.ports.stores import ModelStore, OutcomeStore, RecordStore, ReleaseStore
from splice.ports.validations import ValidationStore

SERVICES = Path(__file__).parents[3] / "scripts" / "services"


@pytest.fixture
def records(ledger: Ledger) -> RecordStore:
    return ledger.records


@pytest.fixture
def outcomes(ledger: Ledger) -> OutcomeStore:
    return ledger.outcomes


@pytest.fixture
def releases(ledger: Ledger) -> ReleaseStore:
    return ledger.releases


@pytest.fixture
def figures(ledger: Ledger) -> FigureStore:
    return ledger.figures


@pytest.fixture
def audit(ledger: Ledger) -> AuditLog:
    return ledger.audit


@pytest.fixture
def validations(ledger: Ledger) -> ValidationStore:
    return ledger.validations


@pytest.fixture
def pipelines(ledger: Ledger) -> PipelineStore:
    return ledger.pipelines


@pytest.fixture
def promotions(ledger: Ledger) -> PromotionStore:
    return ledger.promotions


@pytest.fixture
def leases(ledger: Ledger) -> LeaseStore:
    return ledger.leases


@pytest.fixture
def models(ledger: Ledger) -> ModelStore:
    return ledger.models


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy: migrating anew for each test would take most of the time."""
    folder = tmp_path_factory.mktemp("template")
    open_ledger(f"sqlite:///{folder}/ledger.db", folder).close()
    return folder / "ledger.db"


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a server to make databases in."""
    given = os.environ.get("SPLICE_TEST_POSTGRES")
    if given:
        return given
    up = subprocess.run([SERVICES, "status", "postgres"], capture_output=True, check=False)
    if up.returncode:
        pytest.skip("no PostgreSQL server: scripts/services start postgres")
    said = subprocess.run([SERVICES, "env", "postgres"], capture_output=True, check=True, text=True)
    return said.stdout.strip().partition("=")[2]


class Databases:
    """Makes and drops databases of a server."""

    def __init__(self, server: str) -> None:
        self._server = server

    def url(self, name: str) -> str:
        from sqlalchemy import make_url

        url = make_url(self._server).set(database=name, drivername="postgresql")
        return url.render_as_string(hide_password=False)

    def run(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self._server, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_template(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Databases, str]]:
    databases, name = Databases(postgres_server), f"splice_template_{uuid.uuid4().hex[:12]}"
    databases.run(f"CREATE DATABASE {name}")
    open_ledger(databases.url(name), tmp_path_factory.mktemp("blobs")).close()
    yield databases, name
    databases.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_template: tuple[Databases, str]) -> Iterator[str]:
    databases, template = postgres_template
    name = f"splice_test_{uuid.uuid4().hex[:12]}"
    databases.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield databases.url(name)
    databases.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def module_postgres_url(postgres_template: tuple[Databases, str]) -> Iterator[str]:
    """A database for all tests of a module: making one for each would take most of the time."""
    databases, template = postgres_template
    name = f"splice_module_{uuid.uuid4().hex[:12]}"
    databases.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield databases.url(name)
    databases.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def emptied_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """On either database; in PostgreSQL the one of the module, whose `TABLES` are emptied."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("module_postgres_url")
        import psycopg  # an optional dependency

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {request.module.TABLES}".encode())
    ledger = open_ledger(url, tmp_path / "blobs", migrate=False)
    yield ledger
    ledger.close()


@pytest.fixture
def rollups(ledger: Ledger) -> RollupStore:
    return ledger.rollups
