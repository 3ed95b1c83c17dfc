"""The project that these tests serve."""

from __future__ import annotations

import contextlib
import sqlite3

from splice.testing.project import Project

TOML = """
[project]
apply = "new"
[server]
body_seconds = 1.0
max_body_bytes = 1048576
[ledger]
flush_interval_ms = 1
[cost]
machine_hour = 0.05
"""

INTEGRATIONS = '''
import asyncio
from typing import Any, Literal
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float
    items: int = 1


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    return 0.9 if context["amount"] > 500 else 0.1


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    risk = splice.Risk.LIMITED
    deadline = "2 s"
    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")


class HighOrders(Orders):
    """Find the orders that will not be paid, where a lost answer costs a lot."""

    risk = splice.Risk.HIGH


class Note(splice.Request):
    details: dict[str, Any]


class Length(splice.Reply):
    length: int


class Notes(splice.Integration):
    """Measure notes of any shape."""

    routes = [splice.Rule(len)]

    def decide(self, note: Note, prediction: splice.Prediction) -> Length:
        return Length(prediction.value)


class Wait(splice.Request):
    seconds: float


class Waited(splice.Reply):
    seconds: float


class Waits(splice.Integration):
    """Take as long as the caller says."""

    deadline = "5 s"
    routes = [splice.Rule(lambda context: context["seconds"])]

    async def context(self, wait: Wait, look: splice.Lookup) -> dict:
        await asyncio.sleep(wait.seconds)
        return {"seconds": wait.seconds}

    def decide(self, wait: Wait, prediction: splice.Prediction) -> Waited:
        return Waited(prediction.value)


class Fault(splice.Request):
    how: str


class Answer(splice.Reply):
    value: float | None


class Faults(splice.Integration):
    """Fail in the way that the caller names."""

    routes = [splice.Rule(lambda context: 0.5)]

    def context(self, fault: Fault, look: splice.Lookup) -> dict:
        if fault.how == "context raises":
            raise KeyError("customer")
        if fault.how == "context is no mapping":
            return [1]
        if fault.how == "context is not JSON":
            return {"text": "\\ud800"}
        if fault.how == "context is a circle":
            circle = {}
            circle["circle"] = circle
            return circle
        return {}

    def decide(self, fault: Fault, prediction: splice.Prediction) -> Answer:
        if fault.how == "decide raises":
            raise ZeroDivisionError
        if fault.how == "decide is of another type":
            return Wait(1.0)
        if fault.how == "decide is NaN":
            return Answer(float("nan"))
        if fault.how == "decide is not a number":
            return Answer("much")
        if fault.how == "decide is too big":
            return Answer(10**30)
        if fault.how == "decide is None":
            return None
        return Answer(prediction.score)
'''


def ledger_of(project: Project) -> sqlite3.Connection:
    """The ledger of a project, to look into it beside the server, or to lock it."""
    file = project.folder / ".splice" / "ledger.db"
    return sqlite3.connect(file, isolation_level=None, timeout=10.0)


def calls_in(project: Project) -> int:
    """How many calls are in the ledger."""
    with contextlib.closing(ledger_of(project)) as ledger:
        return ledger.execute("SELECT count(*) FROM calls").fetchone()[0]
