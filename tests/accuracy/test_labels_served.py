"""A server joins outcomes with its calls by itself, whichever of them comes first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from splice.core.ids import id_text
from splice.testing.project import Project

DECLARED = '''
from typing import Literal
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    action: Literal["ship", "review"]


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [splice.Rule(lambda context: 0.9 if context["amount"] > 500 else 0.1)]
    truth = splice.Truth("unpaid", predicted="action", foretold="review", matures="1 h")

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening("review" if prediction.score > 0.5 else "ship")
'''
PATIENCE_S = 90.0


def until(found: Callable[[], object]) -> None:
    """Waits for something that will be so, on a machine that may be busy."""
    give_up = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_server_joins_outcomes_by_entity_and_by_call(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", '[project]\napply = "new"\n')
    project.declare(DECLARED)

    with project.serve() as server:
        path = "/v1/integrations/orders/calls"
        first = server.post(path, {"customer": "anna", "amount": 900}).json["call_id"]
        second = server.post(path, {"customer": "ben", "amount": 10}).json["call_id"]
        unpaid = {"integration": "orders", "name": "unpaid"}
        server.post("/v1/outcomes", [
            {**unpaid, "value": True, "entity": "anna"},
            {**unpaid, "value": False, "call_id": second},
        ])  # fmt: skip
        (ledger,) = project.folder.rglob("*.db")

        def labelled() -> dict[str, str]:
            with closing(sqlite3.connect(ledger)) as database:
                rows = database.execute("SELECT call_id, value FROM labels").fetchall()
            return {id_text(call_id): value for call_id, value in rows}

        until(lambda: len(labelled()) == 2)

    assert labelled() == {first: "true", second: "false"}
    ran = project.run("accuracy", "orders", "--early", "--json")
    assert ran.returncode == 0
    assert '"labelled": 0' in ran.stdout
    assert '"early": 2' in ran.stdout
