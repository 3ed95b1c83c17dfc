"""A firing asks for one training, whoever is killed in between."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from monitor_house import NOW_US

import splice
from splice.app.alerting import deeds_of
from splice.core.alerts import MONITOR, Alert
from splice.core.errors import SettingsError
from splice.core.pipeline import PipelineRun
from splice.testing.contracts.alerts import alert_of
from splice.testing.project import Project

DECLARED = '''
import splice

class Order(splice.Request):
    customer: splice.Entity
    amount: float

class Verdict(splice.Reply):
    risk: float

def rule(context):
    return 0.5

class {name}(splice.Integration):
    """Find what is bad."""
    routes = [splice.Rule(rule)]
    monitors = [splice.Monitor(share="errors", above="2 %", then={then})]

    def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
        return Verdict(prediction.score or 0.0)
'''
RETRAINED = """
    def retrain(self):
        raise AssertionError("a server never calls this")
"""
TWO = (
    DECLARED.replace("{name}", "Orders").replace("{then}", "splice.retrain()")
    + RETRAINED
    + DECLARED.replace("{name}", "Plain").replace("{then}", '"alert"')
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    project = Project(tmp_path / "shop")
    project.declare(TWO, "asked_to_retrain")
    (project.folder / "splice.toml").write_text('[project]\nmodules = ["asked_to_retrain"]\n')
    path = list(sys.path)
    yield project.folder
    sys.path[:] = path
    sys.modules.pop("asked_to_retrain", None)


def of(integration: str) -> Alert:
    return msgspec.structs.replace(alert_of(1), integration=integration)


def test_one_training_is_asked_for_however_often_the_action_is_tried(folder: Path) -> None:
    async def main() -> tuple[list[str], list[PipelineRun], list[str]]:
        async with splice.App(project=folder, apply="new") as app:
            stores = app.services.stores
            retrain = deeds_of(app.services)["retrain"]
            said = [await asyncio.to_thread(retrain, of("orders"), NOW_US) for _ in range(2)]
            (run,) = stores.pipelines.runs()
            stores.pipelines.save_run(msgspec.structs.replace(run, state="running"))
            said.append(await asyncio.to_thread(retrain, of("orders"), NOW_US + 1))
            with pytest.raises(SettingsError, match=r"no retrain\(\)"):
                await asyncio.to_thread(retrain, of("plain"), NOW_US)
            audited = [one.action for one in stores.audit.events() if one.by == MONITOR]
            return said, stores.pipelines.runs(), audited

    said, runs, audited = asyncio.run(main())

    assert said == [f"run {runs[0].id} is asked for"] * 3
    assert [(one.integration, one.by) for one in runs] == [("orders", MONITOR)]
    assert runs[0].why == f"share errors: {alert_of(1).why}"
    assert audited == ["pipeline.ask"]
