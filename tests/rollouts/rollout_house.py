"""A project with two versions of one model, and what tests ask of its server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import onnx
from onnx import TensorProto, helper

from splice.testing.project import Connection, Project, Server

TOML = """
[server]
drain_seconds = 5
[ledger]
flush_interval_ms = 5
[cost]
machine_hour = 0.05
"""

DECLARED = '''
import splice
from typing import Literal


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    return 0.5


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "2 s"
    routes = [splice.Model("orders"), splice.Rule(scorecard)]
    ROLLOUT

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")
'''
PATH = "/v1/integrations/orders/calls"


def model(score: float, width: int = 0) -> bytes:
    """A model that says `score` to every amount; NaN where it is NaN. `width` makes it slow."""
    nodes = [
        helper.make_node("Mul", ["amount", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "score"], ["risk"]),
    ]
    weights = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("score", TensorProto.FLOAT, [1], [score]),
    ]
    if width:  # several products of square matrices, whose sum is multiplied by nothing
        nodes = [
            helper.make_node("RandomNormal", [], ["a"], shape=[width, width], seed=1.0),
            helper.make_node("MatMul", ["a", "a"], ["b"]),
            helper.make_node("MatMul", ["b", "a"], ["c"]),
            helper.make_node("ReduceSum", ["c"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["none"]),
            helper.make_node("Mul", ["amount", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "none"], ["still"]),
            helper.make_node("Add", ["still", "score"], ["risk"]),
        ]
    graph = helper.make_graph(
        nodes, "orders",
        [helper.make_tensor_value_info("amount", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, [None, 1])],
        weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    onnx.checker.check_model(made)
    return made.SerializeToString()


class House(Project):
    """The project: version 1 says 0.25 and is the champion, version 2 says 0.75."""

    def __init__(self, command: Any, rollout: str = "", toml: str = "") -> None:
        super().__init__(command.folder, TOML + toml)
        self._command = command  # in this process: a command of its own takes a second to start
        self.declare(DECLARED.replace("ROLLOUT", rollout))
        self.add(model(0.25), "champion")
        self.add(model(0.75), "challenger")

    def add(self, content: bytes, alias: str = "") -> None:
        """Register the next version of the model."""
        file = self.folder / "next.onnx"
        file.write_bytes(content)
        self.ran("models", "add", "orders", str(file), "--alias", alias)

    def ran(self, *command: str) -> str:
        """What a command said, which must have worked."""
        done = self._command(*command)
        assert done.code == 0, done.out + done.err
        return done.out

    def refused(self, *command: str) -> str:
        """What a command said that must not have worked."""
        done = self._command(*command)
        assert done.code != 0, done.out + done.err
        return done.err


def ask(connection: Connection, customer: str) -> dict[str, Any]:
    """One call, which must be answered."""
    answer = connection.post(PATH, {"customer": customer, "amount": 5.0})
    assert answer.status == 200, answer.body
    return answer.json


def versions(server: Server, customers: list[str]) -> dict[str, str]:
    """Which version answered each customer."""
    one = server.connection()
    try:
        return {name: ask(one, name)["version"] for name in customers}
    finally:
        one.close()


def live_release(server: Server) -> int:
    """Number of the release that answers now."""
    return server.get("/v1/integrations").json["integrations"][0]["release"]


def followed(server: Server, number: int, workers: int = 1) -> None:
    """Return once every worker answers by a release: each of them says so, once.

    Every release before this one must have been waited for, too.
    """

    def all_of_them() -> bool:
        said = re.findall(r"orders: release (\d+) answers", server.log)
        return said[-workers:] == [str(number)] * workers

    until(all_of_them, f"release {number} is live on every worker")


def until(true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """The first true value; a generous bound, for a loaded machine."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := true():
            return value
        time.sleep(0.05)
    raise AssertionError(f"never came true: {what}")
