"""One ONNX graph for the whole model: named columns in, a label and calibrated chances out.

    columns [N,1] -> codes [N,16] -> trees -> calibration -> probabilities [N,2], label [N]

Exported graphs usually map an unknown word to zeros and NaN to some branch, and answer all the
same. Here a word that is not in the table becomes NaN, and any NaN or infinity
among the inputs of a row makes that row's probabilities NaN and its label `invalid`: a caller
that forgot to validate gets no answer instead of a wrong one. Other rows are not touched.

The trees are written out by hand (30 lines) because it needs only scikit-learn and onnx: with
skl2onnx 1.20 and onnx 1.23 the histogram trees do not convert ("Expected an int, got a boolean").
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from data import COLUMNS, LICENCE, SOURCE, Application, Category, validation
from onnx import TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]
Objects = npt.NDArray[Any]  # numpy has no narrower type for arrays of str

OPSET: Final = 17
ML_OPSET: Final = 3
IR_VERSION: Final = 8
CLASSES: Final = ("repaid", "defaulted")
INVALID: Final = "invalid"
TREE_KEYS: Final = (
    *(f"nodes_{key}" for key in ("treeids", "nodeids", "modes", "featureids", "values")),
    *(f"nodes_{key}" for key in ("truenodeids", "falsenodeids")),
    *(f"target_{key}" for key in ("treeids", "nodeids", "ids", "weights")),
)


def codes(applications: Sequence[Application]) -> Floats:
    """What the trees see, shape (n, 16): the number, or the position of the word in its table."""
    return np.array(
        [
            [
                list(column.values).index(str(application.fields[column.name]))
                if isinstance(column, Category)
                else application.fields[column.name]
                for column in COLUMNS
            ]
            for application in applications
        ],
        dtype=np.float32,
    )


def feeds(applications: Sequence[dict[str, str | int]]) -> dict[str, Floats | Objects]:
    """The graph's inputs for a list of requests: per column an array of shape (n, 1)."""
    return {
        column.name: np.array(
            [[application[column.name]] for application in applications],
            dtype=object if isinstance(column, Category) else np.float32,
        )
        for column in COLUMNS
    }


def _columns() -> tuple[list[onnx.NodeProto], list[onnx.ValueInfoProto]]:
    """Nodes from the named columns to `codes`, and the graph's inputs."""
    nodes: list[onnx.NodeProto] = []
    inputs: list[onnx.ValueInfoProto] = []
    parts: list[str] = []
    for column in COLUMNS:
        if isinstance(column, Category):
            kind, part = TensorProto.STRING, f"{column.name}_code"
            nodes.append(
                helper.make_node(
                    "LabelEncoder",
                    [column.name],
                    [part],
                    domain="ai.onnx.ml",
                    keys_strings=list(column.values),
                    values_floats=[float(i) for i in range(len(column.values))],
                    default_float=float("nan"),
                )
            )
        else:
            kind, part = TensorProto.FLOAT, column.name
        inputs.append(helper.make_tensor_value_info(column.name, kind, ["N", 1]))
        parts.append(part)
    nodes.append(helper.make_node("Concat", parts, ["codes"], axis=1))
    return nodes, inputs


# Any: a fitted scikit-learn estimator; the library ships no types.
def _trees(model: Any) -> onnx.NodeProto:
    """A fitted binary GradientBoostingClassifier as one node from `codes` to `log_odds` [N,1]."""
    prior = float(model.init_.class_prior_[1])
    rows: dict[str, list[Any]] = {key: [] for key in TREE_KEYS}
    for number, estimator in enumerate(model.estimators_[:, 0]):
        tree = estimator.tree_
        for place in range(tree.node_count):
            leaf = tree.children_left[place] == tree.children_right[place]
            rows["nodes_treeids"].append(number)
            rows["nodes_nodeids"].append(place)
            rows["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            rows["nodes_featureids"].append(0 if leaf else int(tree.feature[place]))
            rows["nodes_values"].append(0.0 if leaf else float(tree.threshold[place]))
            rows["nodes_truenodeids"].append(0 if leaf else int(tree.children_left[place]))
            rows["nodes_falsenodeids"].append(0 if leaf else int(tree.children_right[place]))
            if leaf:
                weight = model.learning_rate * float(tree.value[place, 0, 0])
                rows["target_treeids"].append(number)
                rows["target_nodeids"].append(place)
                rows["target_ids"].append(0)
                rows["target_weights"].append(weight)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["codes"],
        ["log_odds"],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values=[math.log(prior / (1 - prior))],
    )
    node.attribute.extend(helper.make_attribute(key, rows[key]) for key in TREE_KEYS)
    return node


def _constant(name: str, value: float | Sequence[int]) -> onnx.TensorProto:
    kind = np.float32 if isinstance(value, float) else np.int64
    return numpy_helper.from_array(np.asarray(value, dtype=kind), name)


def _answer(slope: float, intercept: float) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes from `log_odds` to the two outputs, NaN where an input was NaN, and their constants."""
    make = helper.make_node
    nodes = [
        make("Mul", ["log_odds", "slope"], ["sloped"]),
        make("Add", ["sloped", "intercept"], ["calibrated"]),
        make("ReduceSum", ["codes", "axis"], ["total"], keepdims=1),
        make("Mul", ["total", "zero"], ["zero_or_nan"]),
        make("Add", ["calibrated", "zero_or_nan"], ["score"]),
        make("Sigmoid", ["score"], ["defaulted"]),
        make("Sub", ["one", "defaulted"], ["repaid"]),
        make("Concat", ["repaid", "defaulted"], ["probabilities"], axis=1),
        make("GreaterOrEqual", ["defaulted", "half"], ["likely"]),
        make("Cast", ["likely"], ["index"], to=TensorProto.INT64),
        make("IsNaN", ["defaulted"], ["bad"]),
        make("Where", ["bad", "none", "index"], ["index_or_none"]),
        make("Squeeze", ["index_or_none", "axis"], ["flat_index"]),
        make(
            "LabelEncoder",
            ["flat_index"],
            ["label"],
            domain="ai.onnx.ml",
            keys_int64s=list(range(len(CLASSES))),
            values_strings=list(CLASSES),
            default_string=INVALID,
        ),
    ]
    constants = [
        _constant("axis", [1]),
        _constant("none", [-1]),
        _constant("zero", 0.0),
        _constant("one", 1.0),
        _constant("half", 0.5),
        _constant("slope", float(slope)),
        _constant("intercept", float(intercept)),
    ]
    return nodes, constants


# Any: as for _trees.
def build(trees: Any, slope: float, intercept: float, facts: dict[str, object]) -> onnx.ModelProto:
    """The checked graph with its metadata.

    Args:
        trees: A fitted binary GradientBoostingClassifier over `codes`.
        slope: Of the calibration, on the log-odds of the trees.
        intercept: Of the calibration.
        facts: Further metadata: `splice.<key>` holds each value as JSON.
    """
    info = helper.make_tensor_value_info
    encoding, inputs = _columns()
    answer, constants = _answer(slope, intercept)
    graph = helper.make_graph(
        [*encoding, _trees(trees), *answer],
        "credit",
        inputs,
        [
            info("label", TensorProto.STRING, ["N"]),
            info("probabilities", TensorProto.FLOAT, ["N", len(CLASSES)]),
        ],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="splice-example-credit",
    )
    metadata = {
        "task": "classification",
        "classes": list(CLASSES),
        "validation": validation(),
        "data": f"{SOURCE}; {LICENCE}",
        **facts,
    }
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.add(key=f"splice.{key}", value=text)
    onnx.checker.check_model(model, full_check=True)
    return model
