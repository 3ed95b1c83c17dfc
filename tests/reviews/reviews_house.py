"""A project whose claims are reviewed, its server, and what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import onnx
from onnx import helper

from splice.testing.project import Project, Server

T = TypeVar("T")

TOML = """
[project]
apply = "new"
[ledger]
flush_interval_ms = 1
[server]
workers = 1
"""
SOURCE = '''
from typing import Literal
import splice


class Claim(splice.Request):
    customer: splice.Entity
    amount: float
    age: float = 30.0
    damage: float = 1.0
    text: str = ""


class Settled(splice.Reply):
    chance: float
    action: Literal["pay", "review"]


class Claims(splice.Integration):
    """Settle small claims without waiting."""

    routes = [ROUTE]
    truth = splice.Truth("action", predicted="action", positive=None)
    review = splice.Review(
        when={"action": "review"}, within="4 h", reasons=["wrong amount", "fraud"],
        outcome="action", value="action", MORE
    )

    def context(self, claim: Claim, look: splice.Lookup) -> dict:
        return {"amount": claim.amount, "age": claim.age, "damage": claim.damage}

    def decide(self, claim: Claim, prediction: splice.Prediction) -> Settled:
        return Settled(prediction.score, "review" if prediction.score > 0.5 else "pay")
'''
RULE = 'splice.Rule(lambda context: min(1.0, context["amount"] / 1000))'
MODEL = 'splice.Model("claims@champion")'
WEIGHTS = {"amount": 0.01, "age": -0.05, "damage": 0.0}
CALLS = "/v1/integrations/claims/calls"


def write_model(file: Path) -> None:
    """A logistic regression that reads amount and age, and is told a third thing in vain."""
    kind = onnx.TensorProto.FLOAT
    weights = np.array([[one] for one in WEIGHTS.values()], np.float32)
    names = [helper.make_tensor_value_info(name, kind, [None, 1]) for name in WEIGHTS]
    nodes = [
        helper.make_node("Concat", list(WEIGHTS), ["row"], axis=1),
        helper.make_node("MatMul", ["row", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes, "claims", names, [helper.make_tensor_value_info("score", kind, [None, 1])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.array([-1.0], np.float32), "bias"),
        ],
    )  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    file.write_bytes(model.SerializeToString())


def project(folder: Path, more: str = "", route: str = RULE, toml: str = TOML) -> Project:
    """A project of claims; with a model, its file is there."""
    made = Project(folder, toml)
    made.declare(SOURCE.replace("ROUTE", route).replace("MORE", more))
    if route == MODEL:
        write_model(folder / "models" / "claims.onnx")
    return made


def ask(server: Server, amount: float, **more: Any) -> str:
    """Asks a call; gives its id."""
    answer = server.post(CALLS, {"customer": "c-1", "amount": amount, **more})
    assert answer.status == 200, answer.body
    return answer.json["call_id"]


def until(found: Callable[[], T | None], seconds: float = 60.0) -> T:
    """The first answer that says something; a busy machine may take its time."""
    end = time.monotonic() + seconds
    while True:
        if got := found():
            return got
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def review_of(server: Server, call_id: str) -> dict[str, Any]:
    """The review of a call, as soon as it is open."""
    path = f"/v1/reviews?call_id={call_id}"
    return until(lambda: server.get(path).json["reviews"])[0]


def verdict(server: Server, review_id: str, choice: str, **more: Any) -> Any:
    """Says something of a call."""
    return server.post(f"/v1/reviews/{review_id}/verdict", {"choice": choice, **more})


def decoded(body: bytes) -> Any:
    """JSON."""
    return msgspec.json.decode(body)
