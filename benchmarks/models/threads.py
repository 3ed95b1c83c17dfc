"""What threads of its own bring a heavy model: a product of matrices on one thread and on two.

One connection, both cores for the server: the load asks for next to nothing. The model's `threads`
come from `[models.threads_of]` of `splice.toml`.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from load import Target, Wrk, find_wrk, write_lines
from serve.job import LOAD_CORE, SERVER_CORE, UNITS, Plan, model_and_rows, serving
from serve.subject import Bench, free_port, own_python
from serve.subject_splice import VARIANTS, prepare

THREADS = (1, 2)
WIDTH = 1024
BOTH_CORES = f"{SERVER_CORE},{LOAD_CORE}"


def load_name(threads: int) -> str:
    """What the rows call the load on so many threads."""
    return f"heavy, threads {threads}"


def thread_rows(plan: Plan, cache: Path) -> list[dict[str, object]]:
    """Throughput and latencies of the heavy model on each number of threads."""
    heavy = heavy_model(cache / "model" / "heavy.onnx")
    found: dict[tuple[int, str], list[float]] = {}
    for _ in range(plan.rounds):
        for threads in THREADS:
            for metric, value in _measured(heavy, threads, plan, cache).items():
                found.setdefault((threads, metric), []).append(value)
    return [
        {
            "subject": "splice",
            "load": load_name(threads),
            "metric": metric,
            "value": round(statistics.median(values), 3),
            "unit": UNITS[metric],
        }
        for (threads, metric), values in found.items()
    ]


def _measured(heavy: Path, threads: int, plan: Plan, cache: Path) -> dict[str, float]:
    """One server, one connection, one round."""
    found = find_wrk(cache)
    wrk = Wrk(("taskset", "-c", LOAD_CORE, *found.argv), found.version)
    _, asked = model_and_rows(cache)
    bench = Bench(cache, heavy, free_port(), next(iter(VARIANTS)), own_python())
    command = prepare(bench)
    with (command.cwd / "splice.toml").open("a") as settings:
        settings.write(f"\n[models.threads_of]\nscoring = {threads}\n")
    bodies = command.cwd / "bodies.txt"
    write_lines(bodies, command.lines(asked.rows))
    with serving(command, bench.port, asked.rows[0], BOTH_CORES):
        target = Target(f"http://127.0.0.1:{bench.port}{command.paths[0]}", bodies, command.headers)
        wrk.run(target, 1, plan.warm_up)
        measured = wrk.run(target, 1, plan.seconds)
    return {metric: getattr(measured, metric) for metric in UNITS}


def heavy_model(path: Path) -> Path:
    """Writes a model that multiplies two matrices of 1,024 by 1,024 for every row; its path."""
    random = np.random.default_rng(1)
    weights = {
        "wide": random.normal(size=(30, WIDTH)).astype(np.float32),
        "square": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "small": np.float32([1e-9]),
    }
    nodes = [
        helper.make_node("MatMul", ["features", "wide"], ["hidden"]),
        helper.make_node("Transpose", ["hidden"], ["column"], perm=[1, 0]),
        helper.make_node("MatMul", ["column", "hidden"], ["outer"]),
        helper.make_node("MatMul", ["outer", "square"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "small"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["value"]),
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 30])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    onnx.save(made, str(path))
    return path
