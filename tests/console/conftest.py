from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from seeded import ORDERS, TOML, Seeded, seed

from splice.testing.project import Project, Server

CALLS = 1600


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A project with a month behind it; nothing that a test does may change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_KEY", "no-secret")
        folder = tmp_path_factory.mktemp("console") / "shop"
        yield seed(folder, time.time_ns() // 1000, CALLS)


@pytest.fixture(scope="session")
def project(seeded: Seeded) -> Project:
    return Project(seeded.folder, TOML)


@pytest.fixture(scope="session")
def console(project: Project) -> Iterator[Server]:
    """Its server; no key was made, so that it asks for none."""
    with project.serve(env={"ACME_KEY": "no-secret"}) as server:
        yield server


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Server]:
    """A server of a project without any integration."""
    made = Project(tmp_path / "empty", "[project]\nmodules = []\n")
    made.declare("")
    with made.serve() as server:
        yield server


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Server]:
    """A server of a project of its own, for tests that ask calls."""
    toml = '[project]\napply = "new"\n[ledger]\nflush_interval_ms = 1\n'
    made = Project(tmp_path / "orders", toml)
    made.declare(ORDERS)
    with made.serve() as server:
        yield server
