"""XGBoost's estimators, boosters, and files in JSON or UBJSON."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from splice.adapters.converters import boosters
from splice.adapters.converters.apart import converted_apart
from splice.adapters.converters.graphs import tools
from splice.adapters.converters.originals import label_of, library_of, names_of
from splice.adapters.converters.sklearn import converted
from splice.adapters.converters.tables import Table, numbers_only, table_of
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.ports.converters import Converted


class XGBoostConverter:
    """A FileConverter for XGBoost."""

    def can(self, estimator: Any) -> bool:
        """Whether it is an estimator or a booster of XGBoost."""
        return library_of(estimator) == "xgboost"

    def read(self, file: Path) -> Any:
        """The booster in a file of JSON or UBJSON: formats that run no code."""
        xgboost = tools("xgboost")
        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(file.read_bytes()))
        except xgboost.core.XGBoostError as error:
            raise ModelUnavailable(
                file.name, got=str(error).strip().splitlines()[0][:300],
                promised="an XGBoost model in JSON or UBJSON",
                mend="save it again with save_model()",
            ) from None  # fmt: skip
        return booster

    def convert_file(self, file: Path, example: Any) -> list[Converted]:
        """What `convert` makes of a file, which is read in a process of its own."""
        return converted_apart("xgboost", file, example)

    def convert(self, estimator: Any, example: Any) -> list[Converted]:
        """The file in single precision, which is what XGBoost itself compares in."""
        native = type(estimator).__name__ == "Booster"
        if not native and not estimator.__sklearn_is_fitted__():
            raise DeclarationError(
                label_of(estimator), got="an estimator that is not fitted",
                promised="a trained one", mend="call fit() first",
            )  # fmt: skip
        booster = estimator if native else estimator.get_booster()
        names = names_of(estimator) or names_of(booster)
        table = _from_splits(booster, names) if example is None else table_of(example, names)
        numbers_only(table, label_of(estimator))
        with _nameless(booster):
            if native:
                return boosters.converted(_described(booster), table)
            return converted(estimator, table)


@contextmanager
def _nameless(booster: Any) -> Generator[None]:
    """The booster without names of columns, which its converter cannot read."""
    names, types = booster.feature_names, booster.feature_types
    booster.feature_names, booster.feature_types = None, None
    try:
        yield
    finally:
        booster.feature_names, booster.feature_types = names, types


def _described(booster: Any) -> boosters.Booster:
    learner = json.loads(booster.save_config())["learner"]
    objective = str(learner["objective"]["name"])
    if objective == "multi:softmax":
        raise DeclarationError(
            label_of(booster), got="objective multi:softmax, which gives no chances",
            promised="multi:softprob", mend="train with objective multi:softprob",
        )  # fmt: skip
    many = int(learner["learner_model_param"]["num_class"])
    matrix = tools("xgboost").DMatrix
    return boosters.Booster(
        booster,
        many if many > 1 else 2 if objective == "binary:logistic" else 0,
        lambda rows: booster.predict(matrix(rows)),
        tools("onnxmltools").convert_xgboost,
    )


def _from_splits(booster: Any, names: tuple[str, ...]) -> Table:
    """Rows around the thresholds of the trees: the file tells no more of its training."""
    width = booster.num_features()
    known: list[list[float]] = [[] for _ in range(width)]
    given: Any = booster.feature_names
    places: dict[str, int] = {name: i for i, name in enumerate(given or [])}
    for tree in booster.get_dump(dump_format="json"):
        for name, threshold in _thresholds(json.loads(tree)):
            known[places[name] if name in places else int(name[1:])].append(threshold)
    draw = np.random.default_rng(20_260_703)
    columns: list[Any] = []
    for thresholds in known:
        low, high = min(thresholds, default=0.0), max(thresholds, default=0.0)
        margin = (high - low) / 4 or 1.0
        columns.append(draw.uniform(low - margin, high + margin, boosters.QUESTIONS))
    return table_of(np.column_stack(columns), names)


def _thresholds(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
    if "split" in node:
        if isinstance(node.get("split_condition"), (int, float)):
            yield str(node["split"]), float(node["split_condition"])
        for child in node.get("children", []):
            yield from _thresholds(child)
