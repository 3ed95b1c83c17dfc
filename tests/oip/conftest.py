from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oip_house import project_in

from splice.testing.project import Project, Server


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return project_in(Path(tmp_path_factory.mktemp("oip")) / "p")


@pytest.fixture(scope="session")
def server(project: Project) -> Iterator[Server]:
    with project.serve() as running:
        yield running
