"""Pools over real files: ONNX graphs, and estimators pickled to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from splice.adapters.pools.processes import Pool, open_pool
from splice.core.call import Prediction
from splice.core.errors import RouteError
from splice.core.release import PinnedRoute
from splice.ports.hosts import PoolPlan, PoolTally

GENEROUS = 60.0


def adder(file: Path, *weights: float) -> Path:
    """An ONNX model that reads `x` of two floats and gives their weighted sum."""
    matrix = numpy_helper.from_array(np.array([weights or (1, 1)], np.float32).T, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])], [matrix],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(file))
    return file


def pickled(file: Path, estimator: Any) -> Path:
    file.write_bytes(pickle.dumps(estimator))
    return file


def pinned(file: Path, form: str = "", features: tuple[str, ...] = ()) -> PinnedRoute:
    """The route of a file as a release pins it."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return PinnedRoute(
        label="model:m", kind="model", position=0, timeout_s=1.0, version="m@1", model="m",
        model_version=1, sha256=sha256, features=features, format=form,
    )  # fmt: skip


async def opened(
    file: Path, form: str = "pickle", pinned_as: PinnedRoute | None = None, **plan: Any
) -> tuple[Pool, PoolTally]:
    """A pool of a file, and what is counted of it."""
    tally = PoolTally()
    route = pinned_as or pinned(file, form)
    pool = await asyncio.to_thread(open_pool, file, route, PoolPlan(tally=tally, **plan))
    return pool, tally


async def asked(pool: Pool, mood: int, value: float = 1.0, timeout_s: float = GENEROUS) -> Any:
    """The answer to one row, or the error that there was instead."""
    try:
        (answer,) = await pool.infer([{"mood": mood, "value": value}], timeout_s)
    except RouteError as error:
        return error
    return answer.value if isinstance(answer, Prediction) else answer


async def until(true: Callable[[], Any]) -> Any:
    """Waits for a condition, with a generous bound, and gives its value."""
    give_up = time.monotonic() + GENEROUS
    while time.monotonic() < give_up:
        if value := true():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError(f"never came true: {true}")


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
