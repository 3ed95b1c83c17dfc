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
import onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from splice.app.gating import promoter_of, validator_of
from splice.app.settings import load
from splice.app.wiring import Stores, control_of, modules_of, registry_of
from splice.control.cases import Case
from splice.control.promote import Promoter
from splice.control.registry import Registration
from splice.control.validate import Validator
from splice.core.release import ModelVersion, Release
from splice.core.validation import Validation
from splice.declare.discover import find
from splice.ports.promotions import Promoted

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


def write_holdout(
    file: Path, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> None:
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
def fitted(train_rows: int = 700, noise: float = 0.0, *, blind: bool = False) -> Any:
    """Logistic regression; fewer rows, noise in the labels, or a blind eye make it worse."""
    train = rows().train[:train_rows]
    truth = labels(train).copy()
    if noise:
        flip = np.random.default_rng(3).random(len(truth)) < noise
        truth[flip] = 1 - truth[flip]
    matrix = rows().matrix(train)
    if blind:  # to the best of the columns
        matrix[:, 0] = 1.0
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(matrix, truth)


def logistic(change: str = "", out: str = "two", model: Any = None, **more: str) -> bytes:
    """The graph of a fitted model, with something done to the log-odds on the way.

    `change` is lines of ONNX text that make `changed` of `logit` and `x`; `out` is "two" chances,
    or "one". `more` are further constants: name and value as ONNX text, with its type.
    """
    scaler, regression = (model or fitted()).named_steps.values()
    weights = regression.coef_[0] / scaler.scale_
    shift = float(regression.intercept_[0] - np.sum(weights * scaler.mean_))
    constants = {
        "w": f"float[{len(weights)},1] w = {{{', '.join(f'{v:.9g}' for v in weights)}}}",
        "b": f"float[1] b = {{{shift:.9g}}}",
        "unit": "float[1] unit = {1.0}",
        **more,
    }
    ends = {
        "two": "probabilities = Concat<axis = 1>(other, chance)",
        "one": "probabilities = Identity(chance)",
    }
    made = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]>
        credit (float[N,{len(weights)}] x) => (float[N,{2 if out == "two" else 1}] probabilities)
        <{", ".join(constants.values())}>
        {{
            product = MatMul(x, w)
            logit = Add(product, b)
            {change or "changed = Identity(logit)"}
            chance = Sigmoid(changed)
            other = Sub(unit, chance)
            {ends[out]}
        }}
    """)
    if out == "two":
        made.metadata_props.add(key="splice.classes", value='["repaid", "defaulted"]')
    return made.SerializeToString()


def column(name: str) -> str:
    """A constant, for Gather: the place of a field in the matrix."""
    return f"int64[1] place = {{{FIELDS.index(name)}}}"


def good() -> bytes:
    """A model with an AUC of about 0.77 on the held-out rows."""
    return logistic()


def other() -> bytes:
    """Another good one, of fewer rows."""
    return logistic(model=fitted(600))


def bad() -> bytes:
    """One that learnt noise."""
    return logistic(model=fitted(40, 0.45))


def labelled(graph: bytes) -> bytes:
    """The same with a label beside the chances, as scikit-learn's converters write it."""
    made = onnx.load_from_string(graph)
    make, tensor = onnx.helper.make_node, onnx.TensorProto
    made.graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(np.array([0.5], np.float32), "half"),
            onnx.helper.make_tensor("words", tensor.STRING, [2], [b"repaid", b"defaulted"]),
        ]
    )
    made.graph.node.extend(
        [
            make("Greater", ["chance", "half"], ["yes"]),
            make("Cast", ["yes"], ["index"], to=tensor.INT64),
            make("Gather", ["words", "index"], ["label"]),
        ]
    )
    made.graph.output.append(onnx.helper.make_tensor_value_info("label", tensor.STRING, [None, 1]))
    return made.SerializeToString()


def by_kind(unknown: float) -> bytes:
    """A model that knows orders by their kind, `a` good and `b` bad; what else is `unknown`."""
    info, tensor, make = (
        onnx.helper.make_tensor_value_info, onnx.TensorProto, onnx.helper.make_node,
    )  # fmt: skip
    nodes = [
        make(
            "LabelEncoder", ["kind"], ["code"], domain="ai.onnx.ml", keys_strings=["a", "b"],
            values_floats=[0.0, 1.0], default_float=unknown,
        ),
        make("Mul", ["amount", "zero"], ["nothing"]),
        make("Add", ["code", "nothing"], ["risk"]),
    ]  # fmt: skip
    graph = onnx.helper.make_graph(
        nodes, "orders",
        [info("kind", tensor.STRING, [None, 1]), info("amount", tensor.FLOAT, [None, 1])],
        [info("risk", tensor.FLOAT, [None, 1])],
        [onnx.numpy_helper.from_array(np.array([0.0], np.float32), "zero")],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


class Bank:
    """A project with its stores open: what a command line, or a server, does to it.

    Every gate is asked through the same objects that the commands use.
    """

    def __init__(self, folder: Path, source: str, url: str = "") -> None:
        self.folder = folder
        ledger = f'[ledger]\nurl = "{url}"\n' if url else ""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "splice.toml").write_text(f'[project]\nmodules = ["integrations"]\n{ledger}')
        self.declare(source)
        if not (folder / "data").exists():
            write_holdout(folder / "data" / "holdout.csv")
        self.settings = load(folder)
        self.stores = Stores(self.settings)
        self.now_us = 1_793_880_000_000_000

    def declare(self, source: str) -> None:
        """Write the declaration."""
        (self.folder / "integrations.py").write_text(source)

    def close(self) -> None:
        self.stores.close()

    def tick(self) -> int:
        """A moment later."""
        self.now_us += 1_000_000
        return self.now_us

    def add(self, graph: bytes, by: str = "ada", alias: str = "") -> ModelVersion:
        """A version, registered by somebody."""
        file = self.folder / "new.onnx"
        file.write_bytes(graph)
        said = Registration(by=by, aliases=(alias,) if alias else (), new_signature=True)
        registry = registry_of(self.settings, self.stores)
        return registry.register("credit", file, now_us=self.tick(), said=said).version

    def apply(self, by: str = "ada") -> Release:
        """The declaration on the disk becomes the live release."""
        control = control_of(self.settings, self.stores)
        found, wrong = find(*modules_of(self.settings))
        assert not wrong, wrong
        plan = control.plan(found[0], now_us=self.tick())
        return control.apply(plan, by=by, why="", now_us=self.tick())

    @property
    def promoter(self) -> Promoter:
        return promoter_of(self.settings, self.stores)

    @property
    def validator(self) -> Validator:
        return validator_of(self.settings, self.stores)

    def case(self, version: ModelVersion) -> Case:
        """The version in the place of the live release's route."""
        found = [one.case for one in self.promoter.places(version) if one.case is not None]
        assert found, "no gates"
        return found[0]

    def declared(self, version: ModelVersion) -> Case:
        """The version by the declaration on the disk, before there is a release."""
        (one,) = find(*modules_of(self.settings))[0]
        found = self.validator.declared(one, version)
        assert found is not None, "no gates"
        return found

    def approve_first(self, by: str = "bob") -> None:
        """credit@1 passes its gates, and somebody consents, before there is a release."""
        case = self.declared(self.promoter.version("credit@1"))
        self.validator.validate(case, by="ada", now_us=self.tick())
        self.approve(case.version, by)

    def validate(self, version: ModelVersion, by: str = "ada") -> Validation:
        return self.validator.validate(self.case(version), by=by, now_us=self.tick())

    def failing(self, version: ModelVersion) -> set[str]:
        """The gates that a version fails."""
        return {one.gate for one in self.validate(version).results if not one.passed}

    def approve(self, version: ModelVersion, by: str) -> None:
        self.validator.approve(version, None, by=by, why="looked", now_us=self.tick())

    def promote(self, version: ModelVersion, by: str = "ada") -> Promoted:
        promoter = self.promoter
        move = promoter.promotion(version.label)
        validations = promoter.checked(move, by=by, now_us=self.tick())
        return promoter.promote(move, validations, by=by, why="", now_us=self.tick())

    def roll_back(self, to: int | None = None) -> Promoted:
        promoter = self.promoter
        move = promoter.rollback("credit", to)
        return promoter.roll_back(move, by="ada", why="", now_us=self.tick())

    @property
    def champion(self) -> int:
        return self.stores.models.aliases("credit").get("champion", 0)

    @property
    def runs(self) -> str:
        """The version in the first route of what is live."""
        live = self.stores.releases.live()[0]
        release = self.stores.releases.release(live.integration, live.number)
        assert release is not None
        return release.manifest.routes[0].version
