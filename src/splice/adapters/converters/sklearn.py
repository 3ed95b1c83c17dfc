"""scikit-learn's estimators, pipelines included, by skl2onnx."""

from __future__ import annotations

from typing import Any

import numpy as np

from splice.adapters.converters.doubles import Split, with_exact_splits
from splice.adapters.converters.graphs import Precision, by_skl2onnx, finished, single, tools
from splice.adapters.converters.originals import ask, classes_of, label_of, library_of, names_of
from splice.adapters.converters.tables import Table, table_of
from splice.core.errors import DeclarationError, SpliceError
from splice.ports.converters import Converted

QUESTIONS = 500
"""Rows that are asked besides those of the example."""

# They round what they are given to single precision themselves, and compare that.
_ROUNDING = ("DecisionTree", "ExtraTree", "RandomForest", "GradientBoosting")


class SklearnConverter:
    """A Converter for scikit-learn."""

    def can(self, estimator: Any) -> bool:
        """Whether it is an estimator of scikit-learn."""
        return library_of(estimator) == "sklearn"

    def convert(self, estimator: Any, example: Any) -> list[Converted]:
        """The file in single precision, and in double where that can be had."""
        _check(estimator)
        if example is None:
            raise DeclarationError(
                label_of(estimator), got="no example", promised="some rows that it answers",
                mend="hand over a part of the training frame as example=",
            )  # fmt: skip
        table = table_of(example, names_of(estimator))
        return converted(estimator, table)


def _check(estimator: Any) -> None:
    validation = tools("sklearn.utils.validation")
    base = tools("sklearn.base")
    if not base.is_classifier(estimator) and not base.is_regressor(estimator):
        raise DeclarationError(
            label_of(estimator), got="neither a classifier nor a regressor",
            promised="an estimator that predicts", mend="put a final step after it",
        )  # fmt: skip
    try:
        validation.check_is_fitted(estimator)
    except Exception as error:  # noqa: BLE001 - NotFittedError, or what a part raises
        raise DeclarationError(
            label_of(estimator), got=f"an estimator that is not fitted ({error})"[:300],
            promised="a trained one", mend="call fit() first",
        ) from None  # fmt: skip


def converted(estimator: Any, table: Table) -> list[Converted]:
    """Both precisions of an estimator with scikit-learn's interface.

    Raises:
        DeclarationError: It cannot be converted, or refuses the example.
    """
    classes = classes_of(estimator)
    one_matrix = single(estimator, table)
    features = table.names if one_matrix and table.named else ()
    questions: list[dict[str, Any]] = []
    answers: list[Any] = []
    for part in (table, table.spread(QUESTIONS)):
        questions += part.rows(one_matrix)
        answers += ask(estimator, part, classes)
    made: list[Converted] = []
    precisions: tuple[Precision, ...] = ("FP32", "FP64")
    for precision in precisions:
        try:
            graph = _graph(estimator, table, precision, one_matrix)
        except SpliceError:
            if precision == "FP32":
                raise
            break
        if graph is not None:
            model = finished(graph, features, classes, precision)
            made.append(
                Converted(model, label_of(estimator), tuple(questions), tuple(answers), precision)
            )
    return made


def _graph(estimator: Any, table: Table, precision: Precision, one_matrix: bool) -> Any:
    if precision == "FP32":
        return by_skl2onnx(estimator, table, precision, one_matrix)
    last = getattr(estimator, "steps", [("", estimator)])[-1][1]
    name = type(last).__name__
    if library_of(last) == "xgboost" or name.startswith(_ROUNDING):
        if last is estimator:
            return None  # single precision is what it compares in
        return by_skl2onnx(_with_cast(estimator), table, precision, one_matrix)
    graph = by_skl2onnx(estimator, table, precision, one_matrix)
    trees = splits_of(last)
    if trees is not None and not with_exact_splits(graph, trees):
        return None
    return graph


def _with_cast(pipeline: Any) -> Any:
    """The same pipeline with a rounding to single precision before its last step."""
    cast = tools("skl2onnx.sklapi").CastTransformer().fit(np.zeros((1, 1)))
    parts = tools("sklearn.pipeline")
    *before, last = pipeline.steps
    return parts.Pipeline([*before, ("splice_cast", cast), last])


def splits_of(estimator: Any) -> list[Split | None] | None:
    """The trees of an estimator that compares in double precision; None where it is none."""
    if library_of(estimator) == "lightgbm":
        booster = getattr(estimator, "booster_", estimator)
        return [_lightgbm(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    if type(estimator).__name__.startswith("HistGradientBoosting"):
        # All trees of an iteration, one a class, as the converter takes them.
        predictors = getattr(estimator, "_predictors")  # noqa: B009 - no public way to them
        return [_histogram(tree.nodes, 0) for iteration in predictors for tree in iteration]
    return None


def _lightgbm(node: dict[str, Any]) -> Split | None:
    if "split_feature" not in node:
        return None
    threshold = node["threshold"]
    return Split(
        node["split_feature"],
        # A set of categories is no threshold: nothing will equal NaN, and the graph is not used.
        float(threshold) if node["decision_type"] == "<=" else float("nan"),
        _lightgbm(node["left_child"]),
        _lightgbm(node["right_child"]),
    )


def _histogram(nodes: Any, at: int) -> Split | None:
    node = nodes[at]
    if node["is_leaf"]:
        return None
    return Split(
        int(node["feature_idx"]),
        float("nan") if node["is_categorical"] else float(node["num_threshold"]),
        _histogram(nodes, int(node["left"])),
        _histogram(nodes, int(node["right"])),
    )
