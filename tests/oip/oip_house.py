"""What the tests of the open protocols serve, and how they ask for it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splice.testing.project import Answer, Project, Server

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
[oip]
grpc_port = 0
max_rows = 300
[sagemaker]
integration = "orders"
"""

INTEGRATIONS = '''
import asyncio
import datetime
from pathlib import Path
from typing import Any, Literal

import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float
    items: int = 1
    note: str | None = None


class Screening(splice.Reply):
    risk: float
    action: Literal["ship", "review"]


def scorecard(context):
    return 0.9 if context["amount"] > 500 else 0.1


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "30 s"
    routes = [splice.Rule(scorecard)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "review" if prediction.score > 0.5 else "ship")


class HighOrders(Orders):
    """Find the orders that will not be paid, where a lost answer costs a lot."""

    risk = splice.Risk.HIGH


class Runs(Orders):
    """Say how many rows the model saw in the run of this call, in thousandths."""

    routes = [splice.Model("rows", features=("amount",))]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score, "ship")


class Point(splice.Reply):
    x: float


class Everything(splice.Request):
    number: float
    whole: int
    yes: bool
    text: str
    day: datetime.date
    colour: Literal["red", "green"]
    numbers: list[float]
    words: list[str]
    point: Point
    anything: dict[str, Any]
    maybe: float | None = None


class Echoed(splice.Reply):
    number: float
    whole: int
    yes: bool
    text: str
    day: datetime.date
    colour: Literal["red", "green"]
    numbers: list[float]
    point: Point
    maybe: float | None
    late: int = 7


class Echo(splice.Integration):
    """Give back what came."""

    routes = [splice.Rule(lambda context: 1)]

    def decide(self, said: Everything, prediction: splice.Prediction) -> Echoed:
        return Echoed(
            said.number, said.whole, said.yes, said.text, said.day, said.colour, said.numbers,
            said.point, said.maybe,
        )


class Wait(splice.Request):
    seconds: float


class Waited(splice.Reply):
    seconds: float


class Waits(splice.Integration):
    """Take as long as the caller says; where that is less than nothing, until a file is there."""

    deadline = "60 s"
    routes = [splice.Rule(lambda context: context["seconds"])]

    async def context(self, wait: Wait, look: splice.Lookup) -> dict:
        while wait.seconds < 0 and not Path("go").exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(max(0.0, wait.seconds))
        return {"seconds": wait.seconds}

    def decide(self, wait: Wait, prediction: splice.Prediction) -> Waited:
        return Waited(prediction.value)


def picky(context):
    if context["seconds"] > 1:
        raise ValueError("too long for me")
    return context["seconds"]


class Picky(splice.Integration):
    """Fail for more than a second."""

    routes = [splice.Rule(picky)]

    def decide(self, wait: Wait, prediction: splice.Prediction) -> Waited:
        return Waited(prediction.value)


class Late(Waits):
    """Take as long as the caller says, and never more than half a second."""

    deadline = "500 ms"
'''


def write_counting_model(file: Path) -> None:
    """An ONNX model that answers each row with the number of rows of its run, in thousandths."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["amount"], ["shape"], start=0, end=1),
            helper.make_node("Cast", ["shape"], ["rows"], to=kind),
            helper.make_node("Mul", ["amount", "nothing"], ["zero"]),
            helper.make_node("Mul", ["rows", "thousandth"], ["share"]),
            helper.make_node("Add", ["zero", "share"], ["score"]),
        ],
        "rows",
        [helper.make_tensor_value_info("amount", kind, [None, 1])],
        [helper.make_tensor_value_info("score", kind, [None, 1])],
        [
            helper.make_tensor("nothing", kind, [1], [0.0]),
            helper.make_tensor("thousandth", kind, [1], [0.001]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model.SerializeToString())


def project_in(folder: Path, toml: str = TOML) -> Project:
    """The project of these tests in a new folder."""
    made = Project(folder, toml)
    made.declare(INTEGRATIONS)
    write_counting_model(folder / "models" / "rows.onnx")
    return made


def grpc_of(server: Server) -> str:
    """Where a server listens for gRPC."""
    found = re.search(r"gRPC on (\S+)", server.log)
    assert found, server.log
    return found[1]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> Any:
    """A tensor as JSON."""
    return {
        "name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data,
    }  # fmt: skip


def orders(rows: int = 1, **more: Any) -> dict[str, Any]:
    """A request for so many orders: every second one is to be reviewed."""
    inputs = [
        tensor("customer", "BYTES", [f"c-{at}" for at in range(rows)]),
        tensor("amount", "FP64", [100.0 if at % 2 == 0 else 900.0 for at in range(rows)]),
    ]
    return {"inputs": inputs, **more}


ORDERS = "/v2/models/orders/infer"


def filled(kind: Any, rows: int, **options: Any) -> list[Any]:
    """The same orders for tritonclient's HTTP or gRPC module."""
    customers = np.array([f"c-{at}" for at in range(rows)], dtype=object)
    amounts = np.array([100.0 if at % 2 == 0 else 900.0 for at in range(rows)])
    inputs = []
    for name, array, datatype in (("customer", customers, "BYTES"), ("amount", amounts, "FP64")):
        one = kind.InferInput(name, list(array.shape), datatype)
        one.set_data_from_numpy(array, **options)
        inputs.append(one)
    return inputs


def calls_of(server: Server, integration: str) -> int:
    """How many calls of an integration the server has run."""
    lines = server.get("/metrics").body.decode().splitlines()
    named = [one for one in lines if one.startswith("splice_calls_total{")]
    ours = [one for one in named if f'integration="{integration}"' in one]
    return sum(int(float(one.rpartition(" ")[2])) for one in ours)


def recorded(server: Server, call_id: str, **headers: str) -> Any:
    """A call as the ledger has it, as soon as it has it."""
    answer = until(lambda: server.ask("GET", f"/v1/calls/{call_id}", **headers), 200)
    return answer.json


def stopped_in_mid_call(server: Server, project: Project) -> int:
    """SIGTERM while calls wait for their file, which is there once the server drains."""
    server.process.send_signal(signal.SIGTERM)
    server.until_it_drains()
    (project.folder / "go").touch()
    return server.process.wait(60)  # a second SIGTERM would end it at once


def until(asked: Callable[[], Answer], status: int) -> Answer:
    """The first answer with a status."""
    give_up = time.monotonic() + 30
    while (answer := asked()).status != status:
        assert time.monotonic() < give_up, answer
        time.sleep(0.02)
    return answer
