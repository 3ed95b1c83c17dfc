"""Boosters of LightGBM and XGBoost without scikit-learn's interface, by onnxmltools."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from splice.adapters.converters.doubles import Split, with_exact_splits
from splice.adapters.converters.graphs import Precision, finished, tools, words
from splice.adapters.converters.originals import label_of, with_chances
from splice.adapters.converters.tables import MATRIX, Table
from splice.core.call import Prediction
from splice.core.errors import DeclarationError
from splice.ports.converters import Converted

QUESTIONS = 500
_OPSET = 15  # the newest that onnxmltools writes


class Booster(msgspec.Struct, frozen=True):
    """What is known of a booster: how it is asked, and what its numbers mean.

    `classes` is 0 where it gives values, else the number of classes. `convert` is the function of
    onnxmltools, `ask` gives chances or values for a matrix.
    """

    original: Any
    classes: int
    ask: Callable[[Any], Any]
    convert: Callable[..., Any]
    trees: list[Split | None] | None = None


def converted(booster: Booster, table: Table) -> list[Converted]:
    """The file in single precision and, where its trees are given, with splits in double.

    Raises:
        DeclarationError: It cannot be converted, or refuses the example.
    """
    classes = [str(i) for i in range(booster.classes)]
    features = table.names if table.named else ()
    questions: list[dict[str, Any]] = []
    answers: list[Prediction] = []
    for part in (table, table.spread(QUESTIONS)):
        questions += part.rows(single=True)
        answers += _answers(booster, part)
    made: list[Converted] = []
    precisions: tuple[Precision, ...] = ("FP32", "FP64")
    for precision in precisions:
        if precision == "FP64" and booster.trees is None:
            break
        graph = _graph(booster, len(table.names))
        if precision == "FP64":
            if not with_exact_splits(graph, booster.trees or []):
                break
            graph.graph.input[0].type.tensor_type.elem_type = 11  # onnx.TensorProto.DOUBLE
        made.append(
            Converted(
                finished(graph, features, classes, precision),
                label_of(booster.original),
                tuple(questions),
                tuple(answers),
                precision,
            )
        )
    return made


def _graph(booster: Booster, width: int) -> Any:
    types = tools("onnxmltools.convert.common.data_types")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return booster.convert(
                booster.original,
                initial_types=[(MATRIX, types.FloatTensorType([None, width]))],
                target_opset=_OPSET,
            )
    except Exception as error:  # noqa: BLE001 - a dozen unrelated classes
        raise DeclarationError(
            label_of(booster.original), got=words(error), promised="trees that ONNX can hold",
            mend="train with an objective and splits that onnxmltools knows",
        ) from None  # fmt: skip


def _answers(booster: Booster, table: Table) -> list[Prediction]:
    matrix = np.column_stack([table.columns[name] for name in table.names]).astype(np.float64)
    try:
        given = np.asarray(booster.ask(matrix), dtype=np.float64)
    except Exception as error:  # noqa: BLE001 - another library's code, on a user's rows
        raise DeclarationError(
            "example", got=f"{type(error).__name__}: {str(error)[:300]}",
            promised=f"rows that {label_of(booster.original)} answers",
            mend="hand over some rows that it was trained on",
        ) from None  # fmt: skip
    if not booster.classes:
        return [Prediction(value=one) for one in given.reshape(len(table), -1)[:, 0].tolist()]
    if given.ndim == 1:
        given = np.column_stack([1 - given, given])
    labels = given.argmax(axis=1).tolist()
    return with_chances(labels, given, list(range(booster.classes)))
