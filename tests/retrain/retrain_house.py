"""Pipelines whose steps are scripted, and a project that trains on real tumours."""

from __future__ import annotations

import csv
import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from splice.adapters.ledgers.sql import Ledger
from splice.control.pipelines import Pipelines, Plan, StepEnd, Who
from splice.core.errors import Overtaken
from splice.core.pipeline import PipelineRun, Promote, Step
from splice.core.schedule import read_schedule
from splice.declare.retrain_reading import ReadPipeline

DAY_US = 86_400_000_000
SUNDAY_US = (20_786 * 86_400 + 3 * 3600) * 1_000_000  # 2026-11-29 03:00 UTC

OUTPUTS: dict[Step, dict[str, Any]] = {
    "data": {"sha256": "d" * 64, "name": "train.csv"},
    "train": {"run": "files:1", "sha256": "e" * 64},
    "register": {"version": "credit@2", "new": True},
    "validate": {"validations": {}},
    "promote": {"champion": "credit@2"},
}


def plan(
    integration: str = "credit-decision",
    *,
    promote: Promote = "gates",
    schedule: str = "",
    bundle: str = "b1",
    deadline_s: float = 3600,
) -> Plan:
    """A pipeline as it would stand on the disk."""
    pipeline = ReadPipeline(
        integration, "credit", lambda _: None, lambda *_: None, promote,
        read_schedule(schedule) if schedule else None, deadline_s,
    )  # fmt: skip
    return Plan(pipeline, bundle)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, at_us: int = SUNDAY_US) -> None:
        self.at_us = at_us

    def __call__(self) -> int:
        return self.at_us


class Scripted:
    """An Executor whose steps end as a script says; keeps what it was asked for."""

    def __init__(self, **ends: StepEnd | Callable[[], StepEnd]) -> None:
        self.ends: dict[str, Any] = dict(ends)
        self.done: list[str] = []

    def execute(
        self, run: PipelineRun, step: Step, left_s: float, memory_mb: int, beat: Callable[[], None]
    ) -> StepEnd:
        self.done.append(step)
        beat()
        end = self.ends.get(step, StepEnd("done", outputs=OUTPUTS[step]))
        return end() if callable(end) else end


class Killed(BaseException):
    """What a test raises for kill -9: nobody may catch it and tidy up."""


_numbers = itertools.count()


class Worker:
    """A process that runs pipelines, as far as the ledger can see. `gone` lists who has died."""

    def __init__(self, ledger: Ledger, clock: Clock, name: str = "a", *, script: Scripted) -> None:
        self.name = name
        self.gone: set[str] = set()
        self.script = script
        self.ledger = ledger
        self.runs = Pipelines(
            ledger.pipelines,
            ledger.leases,
            script,
            Who(name, lambda one: one in self.gone),
            clock,
            lambda: f"run-{next(_numbers)}",
        )

    def whole(self, one: Plan, why: str = "") -> PipelineRun:
        """A run from its beginning to its end."""
        return self.runs.go(self.runs.begin(one, by="ada", why=why), one, lambda _: None)

    def look(self, *plans: Plan) -> int:
        """One look of a watcher."""
        made = {one.pipeline.integration: one for one in plans}
        return self.runs.look(made, lambda *_: None)


def busy(attempt: Callable[[], Any]) -> bool:
    """Whether an attempt is refused because another process works."""
    try:
        attempt()
    except Overtaken:
        return True
    return False


INTEGRATION = '''
from typing import Literal

import splice


class Tumour(splice.Request):
    patient: splice.Entity
    radius: float
    texture: float
    smoothness: float


class Finding(splice.Reply):
    chance: float
    action: Literal["look", "leave"]


def careful(context):
    return 0.5


class TumourCheck(splice.Integration):
    """Find the tumours that a doctor must look at."""

    risk = splice.Risk.LIMITED
    deadline = "2 s"
    routes = [
        splice.Model("tumour@champion", features=("radius", "texture", "smoothness")),
        splice.Rule(careful),
    ]
    gates = splice.Gates(
        data=splice.Labelled("data/held_out.csv", label="malignant"),
        must=[splice.AtLeast("auc", 0.85), splice.NotWorse("auc", margin=0.01)],
    )
    MORE

    def decide(self, tumour: Tumour, prediction: splice.Prediction) -> Finding:
        return Finding(prediction.score, "look" if prediction.score > 0.5 else "leave")

    def retrain(self) -> splice.Pipeline:
        from training import load, train

        return splice.Pipeline(model="tumour", data=load, train=train, PIPELINE)
'''

FITTED = """
import csv

import splice


def load(run):
    return "data/train.csv"


def train(run, file):
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    with open(file) as opened:
        rows = list(csv.DictReader(opened))
    columns = [name for name in rows[0] if name not in ("patient", "malignant")]
    x = np.array([[float(row[name]) for name in columns] for row in rows], np.float32)
    y = np.array([int(row["malignant"]) for row in rows])
    c = float((run.project / "c.txt").read_text())
    run.params(C=c)
    model = LogisticRegression(C=c, max_iter=2000).fit(x, y)
    run.metrics(accuracy=model.score(x, y))
    return splice.Trained(model=model, example=x[:20], card=splice.Card(owner="ada"))
"""


@functools.cache
def tumours() -> list[tuple[str, float, float, float, int]]:
    """569 real ones: Breast Cancer Wisconsin (Diagnostic), as scikit-learn carries it."""
    from sklearn.datasets import load_breast_cancer

    found: Any = load_breast_cancer()
    names = list(found.feature_names)
    columns = [names.index(f"mean {one}") for one in ("radius", "texture", "smoothness")]
    return [
        (f"p{i}", *(float(row[c]) for c in columns), int(1 - truth))  # type: ignore[misc]
        for i, (row, truth) in enumerate(zip(found.data, found.target, strict=True))
    ]


def write_data(folder: Path) -> None:
    """Two thirds to train on, one third held out."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    head = ("patient", "radius", "texture", "smoothness", "malignant")
    for name, held in (("train", False), ("held_out", True)):
        with (folder / "data" / f"{name}.csv").open("w", newline="") as out:
            rows = [one for i, one in enumerate(tumours()) if (i % 3 == 0) == held]
            csv.writer(out).writerows([head, *rows])


def integration(pipeline: str = "", more: str = "") -> str:
    """The declaration, with more of its pipeline and of itself."""
    return INTEGRATION.replace("PIPELINE", pipeline).replace("MORE", more)


GIVEN = """
def load(run):
    return "data/train.csv"


def train(run, file):
    return "given.onnx"
"""

_GRAPH = """
    <ir_version: 8, opset_import: ["": 17]>
    tumour (float[N,3] x) => (float[N,1] chance)
    <float[3,1] w = {WEIGHTS}, float[1] b = {BIAS}>
    {
        product = MatMul(x, w)
        logit = Add(product, b)
        chance = Sigmoid(logit)
    }
"""
MIDDLING = (1.0, 0.0, 0.0)
"""Weights of radius, texture and smoothness: the radius alone tells most of it."""
WORSE = (0.0, 0.0, 60.0)
GOOD = (1.0, 0.2, 70.0)


def graph(weights: tuple[float, float, float], bias: float = -15.0) -> bytes:
    """A model with these weights."""
    import onnx

    text = _GRAPH.replace("WEIGHTS", ", ".join(map(str, weights))).replace("BIAS", str(bias))
    return onnx.parser.parse_model(text).SerializeToString()
