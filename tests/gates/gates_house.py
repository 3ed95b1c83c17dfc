"""Real models of real loan applications, and projects whose integration declares gates."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CREDIT = Path(__file__).resolve().parents[2] / "examples" / "credit"
FIELDS = (
    "checking", "duration_months", "history", "amount_dm", "savings", "employed", "rate_class",
)  # fmt: skip
SOURCES = (
    "checking_account", "duration_months", "credit_history", "amount_dm", "savings",
    "employed_since", "installment_rate_class",
)  # fmt: skip

INTEGRATION = '''
from typing import Literal

import splice


class Application(splice.Request):
    applicant: splice.Entity
    checking: float
    duration_months: float
    history: float
    amount_dm: float
    savings: float
    employed: float
    rate_class: float


class Verdict(splice.Reply):
    chance: float
    action: Literal["approve", "decline"]


def scorecard(context):
    return 0.6 if context["checking"] < 2 else 0.1


def mistakes(labels, scores, decisions):
    wrong = [(d["action"] == "approve") == bool(y) for y, d in zip(labels, decisions)]
    return sum(wrong) / len(wrong)


class Credit(splice.Integration):
    """Decide loan applications."""

    name = "credit-decision"
    risk = splice.Risk.LIMITED
    deadline = "500 ms"
    routes = [splice.Model("credit@champion", features=(
        "checking", "duration_months", "history", "amount_dm", "savings", "employed",
        "rate_class")), splice.Rule(scorecard)]
    gates = splice.Gates(
        data=splice.Labelled("data/holdout.csv", label="defaulted"),
        must=[MUST],
        MORE
    )

    def decide(self, application: Application, prediction: splice.Prediction) -> Verdict:
        return Verdict(prediction.score, "decline" if prediction.score >= 0.4 else "approve")
'''


def integration(*must: str, more: str = "", risk: str = "LIMITED") -> str:
    """The source of an integration with those gates."""
    text = INTEGRATION.replace("MUST", ", ".join(must)).replace("MORE", more)
    return text.replace("Risk.LIMITED", f"Risk.{risk}")


class Rows:
    """The applications as numbers: the part to train on, and the part held out."""

    def __init__(self) -> None:
        sys.path.insert(0, str(CREDIT))
        try:
            import data
        finally:
            sys.path.remove(str(CREDIT))
        self.train, self.held_out = data.split(data.read())
        self._columns = {one.name: one for one in data.COLUMNS}
        self._category = data.Category

    def matrix(self, applications: Sequence[Any]) -> npt.NDArray[np.float32]:
        """What a model reads, shape (n, 7)."""
        return np.array(
            [[self._code(one, name) for name in SOURCES] for one in applications], np.float32
        )

    def _code(self, application: Any, name: str) -> float:
        column, value = self._columns[name], application.fields[name]
        if isinstance(column, self._category):
            return float(list(column.values).index(value))
        return float(value)


@cache
def rows() -> Rows:
    return Rows()


def labels(applications: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Whether each defaulted."""
    return np.array([int(one.defaulted) for one in applications])


def write_holdout(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
    """The held-out rows with the truth, an age and a region that the model never sees."""
    file.parent.mkdir(parents=True, exist_ok=True)
    held_out = rows().held_out
    with file.open("w", newline="", encoding="utf-8") as out:
        writer: Any = None
        for one, values in zip(held_out, rows().matrix(held_out), strict=True):
            row: dict[str, Any] = {
                "applicant": one.applicant,
                **dict(zip(FIELDS, (float(v) for v in values), strict=True)),
                "defaulted": one.defaulted,
                "age": one.age,
                "region": "north" if int(one.applicant[-1]) < 5 else "south",
            }
            row = change(row) if change else row
            writer = writer or csv.DictWriter(out, list(row))
            if not out.tell():
                writer.writeheader()
            writer.writerow(row)


@cache
def fitted(train_rows: int = 700, noise: float = 0.0) -> Any:
    """Logistic regression; fewer rows and noise in the labels make it worse."""
    train = rows().train[:train_rows]
    truth = labels(train).copy()
    if noise:
        flip = np.random.default_rng(3).random(len(truth)) < noise
        truth[flip] = 1 - truth[flip]
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows().matrix(train), truth)


def onnx_of(model: Any, width: int = len(FIELDS)) -> Any:
    """The graph of a scikit-learn model over one matrix."""
    return to_onnx(
        model, initial_types=[("x", FloatTensorType([None, width]))],
        options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3},
    )  # fmt: skip


def save(graph: Any, file: Path, classes: Sequence[str] = ()) -> Path:
    """The graph in a file, with the names of its classes."""
    import json

    file.parent.mkdir(parents=True, exist_ok=True)
    if classes:
        entry = graph.metadata_props.add()
        entry.key, entry.value = "splice.classes", json.dumps(list(classes))
    file.write_bytes(graph.SerializeToString())
    return file


@cache
def _bytes(train_rows: int, noise: float) -> bytes:
    return onnx_of(fitted(train_rows, noise)).SerializeToString()


def good(file: Path) -> Path:
    """A model with an AUC of about 0.76 on the held-out rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_bytes(700, 0.0))
    return file


def other(file: Path) -> Path:
    """Another good one, of fewer rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_bytes(600, 0.0))
    return file


def bad(file: Path) -> Path:
    """One that learnt noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_bytes(40, 0.45))
    return file
