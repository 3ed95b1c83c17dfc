"""What an estimator of another library is called, and what it answers."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, cast

import numpy as np

from splice.adapters.converters.tables import Table
from splice.core.call import Prediction
from splice.core.errors import DeclarationError

LIBRARIES = ("lightgbm", "xgboost", "sklearn")


def library_of(estimator: Any) -> str:
    """`lightgbm`, `xgboost`, `sklearn`, or empty: told by its class and that one's ancestors."""
    roots = [one.__module__.partition(".")[0] for one in type(estimator).__mro__]
    return next((root for root in roots if root in LIBRARIES), "")


def label_of(estimator: Any) -> str:
    """`sklearn.pipeline.Pipeline 1.9.0`."""
    cls = cast("Any", type(estimator))
    library = library_of(estimator)
    version = getattr(importlib.import_module(library), "__version__", "") if library else ""
    return f"{cls.__module__}.{cls.__qualname__} {version}".strip()


def names_of(estimator: Any) -> tuple[str, ...]:
    """What its columns were called in training; empty where they had no names."""
    found: Any = getattr(estimator, "feature_names_in_", None)
    if found is None and library_of(estimator) == "lightgbm":
        feature_name: Any = getattr(estimator, "feature_name", None)
        found = feature_name() if callable(feature_name) else None
        if found is not None and all(str(one).startswith("Column_") for one in found):
            found = None
    if found is None and library_of(estimator) == "xgboost":
        found = getattr(estimator, "feature_names", None)
    return tuple(str(one) for one in found) if found is not None else ()


def classes_of(estimator: Any) -> list[Any]:
    """Its classes, plain, in the order of its chances; empty where it is a regressor."""
    found = getattr(estimator, "classes_", None)
    if found is None:
        return []
    if isinstance(found, list):
        raise DeclarationError(
            label_of(estimator), got="several labels a row", promised="one label a row",
            mend="train one model a label",
        )  # fmt: skip
    return np.asarray(found).tolist()


def ask(estimator: Any, table: Table, classes: list[Any]) -> list[Prediction]:
    """One prediction a row, as the estimator itself answers.

    Raises:
        DeclarationError: It refuses the rows.
    """
    rows = table.native()
    try:
        # Whoever was trained on a frame complains of a matrix, and answers.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not classes:
                return [
                    Prediction(value=_plain(one)) for one in np.asarray(estimator.predict(rows))
                ]
            labels = np.asarray(estimator.predict(rows)).tolist()
            chances = _chances(estimator, rows)
    except Exception as error:  # noqa: BLE001 - another library's code, on a user's rows
        raise DeclarationError(
            "example", got=f"{type(error).__name__}: {str(error)[:300]}",
            promised=f"rows that {label_of(estimator)} answers",
            mend="hand over some rows that it was trained on",
        ) from None  # fmt: skip
    return with_chances(labels, chances, classes)


def with_chances(labels: list[Any], chances: Any, classes: list[Any]) -> list[Prediction]:
    """Predictions of labels and, where there are any, the chances of every class."""
    if chances is None:
        return [Prediction(value=one) for one in labels]
    names = [str(one) for one in classes]
    return [
        Prediction(
            value=label,
            score=row[1] if len(row) == 2 else max(row),
            scores=dict(zip(names, row, strict=True)),
        )
        for label, row in zip(labels, np.asarray(chances).tolist(), strict=True)
    ]


def _chances(estimator: Any, rows: Any) -> Any:
    if hasattr(estimator, "predict_proba"):
        return estimator.predict_proba(rows)
    return None


def _plain(value: Any) -> Any:
    listed: Any = np.asarray(value).tolist()
    if not isinstance(listed, list):
        return listed
    values = cast("list[Any]", listed)
    return values[0] if len(values) == 1 else values
