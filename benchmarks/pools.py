"""`python benchmarks/pools.py`: what it costs to run a model in a worker pool, not in the server.

A real `splice serve` of one worker answers over HTTP, with recording on, by each way of running
each of two models: `trees`, the small GBM of the serving benchmark, and `matrix`, the product of
large matrices. Rounds go over all ways in turn; a figure is the median of its rounds. Rows go to
`results/pools.json`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from load import Measured, Target, Wrk, find_wrk, write_lines
from processes import family_seconds
from splice.testing.project import Project, Server

HERE = Path(__file__).parent
RESULTS = HERE / "results"
WIDTH = 640
DECLARED = """
import splice


class Row(splice.Request):
    features: list[float]


class Score(splice.Reply):
    value: float | str


class Scoring(splice.Integration):
    \"\"\"Score one row.\"\"\"

    deadline = "10 s"
    routes = [splice.Model("scoring", timeout="9 s")]

    def decide(self, row: Row, prediction: splice.Prediction) -> Score:
        return Score(prediction.score if prediction.score is not None else prediction.value)
"""
WAYS = {
    "in the server": "",
    "pool of 1": "[pools.scoring]\nprocesses = 1\n",
    "pool of 1, memory watched": "[pools.scoring]\nprocesses = 1\nmemory_mb = 2000\n",
    "pool of 2": "[pools.scoring]\nprocesses = 2\n",
}
PATH = "/v1/integrations/scoring/calls"


def main() -> None:
    """Measure and write the rows."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=5.0)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--results", type=Path, default=RESULTS)
    given = asked.parse_args()
    wrk = find_wrk(HERE.parent / ".bench")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for model, file in models(Path(folder)).items():
            rows += measure(wrk, Path(folder), model, file, given.seconds, given.rounds)
    given.results.mkdir(exist_ok=True)
    (given.results / "pools.json").write_text(json.dumps(rows, indent=1) + "\n")
    # Without another's load this is about the number of busy threads of the benchmark itself.
    meta = {
        "load_average": os.getloadavg()[1],
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(), "python": platform.python_version(), "wrk": wrk.version,
        "seconds": given.seconds, "rounds": given.rounds,
    }  # fmt: skip
    (given.results / "pools.meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def models(folder: Path) -> dict[str, Path]:
    """The files of the two models; both read `features`, 30 floats a row."""
    subprocess.run([sys.executable, str(HERE / "serve/make_model.py"), str(folder)], check=True)
    numbers = helper.make_tensor
    nodes = [
        helper.make_node("RandomNormal", [], ["a"], shape=[WIDTH, WIDTH], seed=1.0),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("MatMul", ["features", "w"], ["product"]),
        helper.make_node("Add", ["product", "nothing"], ["value"]),
    ]
    graph = helper.make_graph(
        nodes, "matrix",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 30])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])],
        [numbers("zero", TensorProto.FLOAT, [], [0.0]),
         numbers("w", TensorProto.FLOAT, [30, 1], [0.1] * 30)],
    )  # fmt: skip
    matrix = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    matrix.ir_version = 9
    onnx.save(matrix, str(folder / "matrix.onnx"))
    return {"trees": folder / "model.onnx", "matrix": folder / "matrix.onnx"}


def measure(
    wrk: Wrk, folder: Path, model: str, file: Path, seconds: float, rounds: int
) -> Iterator[dict[str, object]]:
    """The rows of one model."""
    bodies = folder / "bodies"
    write_lines(bodies, [json.dumps({"features": [i / 64] * 30}).encode() for i in range(64)])
    found: dict[tuple[str, int], list[Measured]] = {}
    cpu: dict[tuple[str, int], list[float]] = {}
    memory: dict[str, list[float]] = {}
    for number in range(rounds):
        for way, toml in WAYS.items():
            with served(folder / f"{model}-{number}-{way}".replace(" ", "-"), toml, file) as server:
                target = Target(server.url + PATH, bodies, {"content-type": "application/json"})
                wrk.run(target, 8, 1.0)
                for connections in (1, 32):
                    before = family_seconds(server.process.pid)
                    got = wrk.run(target, connections, seconds)
                    took = family_seconds(server.process.pid) - before
                    cpu.setdefault((way, connections), []).append(took / got.requests * 1e6)
                    found.setdefault((way, connections), []).append(got)
                    print(f"{model} {way} {connections}: {got}", file=sys.stderr, flush=True)
                memory.setdefault(way, []).append(a_worker(server))
    for (way, connections), runs in found.items():
        for metric in ("rps", "p50_ms", "p99_ms"):
            value = statistics.median(getattr(run, metric) for run in runs)
            yield row(f"{model}, {way}", str(connections), metric, round(value, 3))
        spent = statistics.median(cpu[way, connections])
        yield row(f"{model}, {way}", str(connections), "cpu_us", round(spent, 1))
    for way, each in memory.items():
        if any(each):
            yield row(f"{model}, {way}", "32", "worker_mb", round(statistics.median(each), 1))


def row(subject: str, load: str, metric: str, value: float) -> dict[str, object]:
    """One row of the results."""
    unit = {"rps": "1/s", "worker_mb": "MB", "cpu_us": "us"}.get(metric, "ms")
    return {"subject": subject, "load": load, "metric": metric, "value": value, "unit": unit}


@contextmanager
def served(folder: Path, toml: str, file: Path) -> Iterator[Server]:
    """A server whose model is ready."""
    project = Project(folder, '[project]\napply = "new"\n' + toml)
    project.declare(DECLARED)
    (folder / "models").mkdir()
    (folder / "models/scoring.onnx").write_bytes(file.read_bytes())
    with project.serve() as server:
        answer = server.post(PATH, {"features": [0.5] * 30})
        if answer.status != 200:
            raise SystemExit(f"no answer: {answer.body.decode()}")
        yield server


def a_worker(server: Server) -> float:
    """Megabytes that one worker process of a pool holds in memory; 0 where there is none."""
    for pid in server.pids():
        if b"pools.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


if __name__ == "__main__":
    main()
