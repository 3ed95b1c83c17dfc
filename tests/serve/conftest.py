from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_project import INTEGRATIONS, TOML

from splice.testing.project import Project, Server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(Path(tmp_path_factory.mktemp("project")) / "p", TOML)
    made.declare(INTEGRATIONS)
    return made


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[Server]:
    with project.serve() as running:
        yield running
