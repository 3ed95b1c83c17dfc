from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from access_house import AUDIENCE, ORDERS, TOML, Provider, free_port

from splice.testing.project import Project, Server


@pytest.fixture(scope="module")
def provider(provider_script: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    made = Provider(provider_script, tmp_path_factory.mktemp("provider"), free_port())
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def project(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Project:
    toml = TOML.format(issuer=provider.issuer, audience=AUDIENCE)
    made = Project(tmp_path_factory.mktemp("shop") / "shop", toml)
    made.declare(ORDERS)
    return made


@pytest.fixture(scope="module")
def console(project: Project, provider: Provider) -> Iterator[Server]:
    """Two workers: who signed in with one is in with the other."""
    env = {"SIGN_IN_SECRET": provider.secret, "SPLICE_USER": "olga"}
    with project.serve(port=provider.console_port, env=env, workers=2) as server:
        yield server


@pytest.fixture
def audit(project: Project) -> Any:
    """What the audit log holds of an action."""

    def events(action: str) -> list[dict[str, Any]]:
        ran = project.run("audit", "list", "--json", "--limit", "1000")
        assert ran.returncode == 0, ran.stderr
        return [one for one in json.loads(ran.stdout) if one["action"] == action]

    return events
