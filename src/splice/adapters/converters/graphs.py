"""ONNX files by skl2onnx: opset 17, no ZipMap, the names of columns and classes inside."""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from splice.adapters.converters.originals import label_of
from splice.adapters.converters.tables import MATRIX, Table
from splice.core.errors import DeclarationError, SettingsError

Precision = Literal["FP32", "FP64"]
OPSET = {"": 17, "ai.onnx.ml": 3}
_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto


def tools(name: str) -> Any:
    """A module of the converters' libraries.

    Raises:
        SettingsError: They are not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(
            "splice.converters", got=str(error), mend="install splice-ai[convert]"
        ) from None


def single(estimator: Any, table: Table) -> bool:
    """Whether the file reads one matrix, and not each column by its name."""
    return table.numeric and not _picks_columns(estimator)


def _picks_columns(estimator: Any) -> bool:
    """Whether a part of it names columns."""
    if type(estimator).__name__ == "ColumnTransformer":
        return True
    steps: Any = getattr(estimator, "steps", None) or getattr(estimator, "transformer_list", None)
    pairs: list[Any] = list(steps or [])
    inner: list[Any] = [pair[1] for pair in pairs]
    inner += [getattr(estimator, name, None) for name in ("estimator", "best_estimator_")]
    return any(one is not None and _picks_columns(one) for one in inner)


def initial_types(table: Table, precision: Precision, one_matrix: bool) -> list[tuple[str, Any]]:
    """Inputs of the graph, as skl2onnx wants them."""
    types = tools("skl2onnx.common.data_types")
    number = types.FloatTensorType if precision == "FP32" else types.DoubleTensorType
    if one_matrix:
        return [(MATRIX, number([None, len(table.names)]))]
    kinds = {"f": number, "i": types.Int64TensorType, "O": types.StringTensorType}
    return [(name, kinds[column.dtype.kind]([None, 1])) for name, column in table.columns.items()]


def by_skl2onnx(estimator: Any, table: Table, precision: Precision, one_matrix: bool) -> Any:
    """The graph of an estimator with scikit-learn's interface.

    Raises:
        DeclarationError: A part of it has no converter.
    """
    teach()
    skl2onnx = tools("skl2onnx")
    options: Any = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return skl2onnx.to_onnx(
                estimator,
                name="splice",
                initial_types=initial_types(table, precision, one_matrix),
                target_opset=OPSET,
                options=options,
            )
    except Exception as error:  # noqa: BLE001 - a dozen unrelated classes, and what its parts raise
        raise DeclarationError(
            label_of(estimator), got=words(error), promised="an estimator that ONNX can hold",
            mend="replace the part that it names, or serve the original behind an endpoint",
        ) from None  # fmt: skip


def teach() -> None:
    """Let skl2onnx know the estimators of LightGBM and XGBoost, alone and inside pipelines."""
    shapes = tools("skl2onnx.common.shape_calculator")
    skl2onnx = tools("skl2onnx")
    for library, alias, module, function in (
        ("lightgbm", "LightGbm", "lightgbm.operator_converters.LightGbm", "convert_lightgbm"),
        ("xgboost", "XGBoost", "xgboost.operator_converters.XGBoost", "convert_xgboost"),
    ):
        prefix = "LGBM" if library == "lightgbm" else "XGB"
        if importlib.util.find_spec(library) is None:
            continue
        owner = tools(library)
        convert = getattr(tools(f"onnxmltools.convert.{module}"), function)
        skl2onnx.update_registered_converter(
            getattr(owner, f"{prefix}Classifier"), f"{alias}{prefix}Classifier",
            shapes.calculate_linear_classifier_output_shapes, convert,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )  # fmt: skip
        skl2onnx.update_registered_converter(
            getattr(owner, f"{prefix}Regressor"), f"{alias}{prefix}Regressor",
            shapes.calculate_linear_regressor_output_shapes, convert,
        )  # fmt: skip


def finished(model: Any, features: Sequence[str], classes: Sequence[Any], precision: str) -> bytes:
    """The file: metadata written, declared types of outputs made true, made alike each time."""
    model.graph.name = "splice"
    model.producer_name = "splice"
    # Out of a set, whose order differs from process to process, and so would the file's hash.
    versions: dict[str, int] = {}
    for one in model.opset_import:
        versions[one.domain] = max(one.version, versions.get(one.domain, 0))
    del model.opset_import[:]
    for domain, version in sorted(versions.items()):
        model.opset_import.add(domain=domain, version=version)
    notes: dict[str, Sequence[str]] = {"features": features, "classes": [str(c) for c in classes]}
    for key, names in notes.items():
        if names:
            model.metadata_props.add(key=f"splice.{key}", value=json.dumps(list(names)))
    trees = any(node.op_type.startswith("TreeEnsemble") for node in model.graph.node)
    for output in model.graph.output:
        kind = output.type.tensor_type
        if precision == "FP64" and trees and kind.elem_type == _DOUBLE:
            kind.elem_type = _FLOAT  # trees answer in single precision, whatever they compare
        if output.name == "label" and len(kind.shape.dim) == 1:
            kind.shape.dim[0].Clear()  # onnxmltools says 1, where it is the number of rows
    return model.SerializeToString(deterministic=True)


def words(error: Exception) -> str:
    """What another library says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:300]}"
