"""The whole application on a real PostgreSQL: the same code, another setting."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

import splice
from splice.ports.stores import CallFilter
from splice.testing.project import Project

pytestmark = pytest.mark.postgres

DECLARED = '''
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    risk = splice.Risk.HIGH
    routes = [splice.Rule(lambda context: 0.9 if context["amount"] > 500 else 0.1)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)
'''


@pytest.fixture
def project(tmp_path: Path, postgres_database: str) -> Project:
    toml = f'[project]\napply = "new"\n[ledger]\nurl = "{postgres_database}"\n'
    made = Project(tmp_path / "p", toml)
    made.declare(DECLARED)
    return made


async def test_calls_outcomes_releases_and_replays_work_on_postgresql(project: Project) -> None:
    async with splice.App(project=project.folder) as app:
        answers = await asyncio.gather(
            *(app.ask("orders", {"customer": f"c-{i}", "amount": 100.0 * i}) for i in range(20))
        )
        again = [await app.ask("orders", {"customer": "c", "amount": 1.0}, key="k") for _ in "ab"]
        await app.outcome("orders", "unpaid", True, entity="c-9")
        record = await app.record(answers[9].record.call_id)
        recorded, replayed = await app.replay(record.call_id)
        found = app.records.find(CallFilter(entity="c-9"))
        outcomes = app.outcomes.outcomes_of(record)

    assert [msgspec.json.decode(a.record.reply or b"")["risk"] for a in answers[4:7]] == [
        0.1, 0.1, 0.9,
    ]  # fmt: skip
    assert again[0].record.call_id == again[1].record.call_id
    assert [one.call_id for one in found] == [record.call_id]
    assert [one.value for one in outcomes] == [True]
    assert recorded.reply == replayed.record.reply


async def test_a_second_process_sees_the_release_and_the_stop_of_the_first(
    project: Project,
) -> None:
    async with splice.App(project=project.folder) as app:
        await app.ask("orders", {"customer": "c", "amount": 1.0})
        stopped = project.run("stop", "orders", "--why", "test")
        await asyncio.sleep(1.5)

        with pytest.raises(splice.SpliceError, match="switched off: test"):
            await app.call("orders", {"customer": "c", "amount": 1.0})

    assert stopped.returncode == 0, stopped.stderr
