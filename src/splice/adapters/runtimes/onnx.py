"""ONNX models by onnxruntime, in this process."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime

from splice.core.call import Prediction
from splice.core.errors import BadAnswer, ModelMismatch, ModelUnavailable, RouteCrashed
from splice.core.release import Column, Signature

# Its stubs leave most types out; everything that comes from it is checked where it is read.
ort: Any = onnxruntime

_DATATYPES: dict[str, tuple[str, Any]] = {
    "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(string)": ("BYTES", object),
}
_NUMPY = dict(_DATATYPES.values())
# What may stand in a row for each kind of datatype. A text in a number's place is refused: numpy
# would parse it, and the model would answer as if nothing had happened.
_KINDS: dict[str, tuple[frozenset[type], str]] = {
    "F": (frozenset({float, int, bool}), "a number"),
    "I": (frozenset({int, bool}), "a whole number"),
    "U": (frozenset({int, bool}), "a whole number"),
    "B": (frozenset({bool, int}), "true or false"),
    "BYTES": (frozenset({str}), "a text"),
}


def _kind(datatype: str) -> tuple[frozenset[type], str]:
    if datatype == "BYTES":
        return _KINDS["BYTES"]
    return _KINDS["B" if datatype == "BOOL" else datatype[0]]


class OnnxRuntime:
    """A ModelRuntime for ONNX files. Model files run no code: ONNX holds a graph of known nodes."""

    def inspect(self, file: Path) -> Signature:
        """What a file's model reads and gives."""
        return _signature(_session(file, threads=1), file)

    def load(self, file: Path, features: Sequence[str] = (), *, threads: int = 1) -> OnnxModel:
        """The model, warmed up. `features` names the columns of a single matrix input."""
        session = _session(file, threads)
        return OnnxModel(session, _signature(session, file), tuple(features), file.name)


def _session(file: Path, threads: int) -> Any:
    if not file.is_file():
        raise ModelUnavailable(file.name, got="no such file", mend="register the model again")
    try:
        return _open(file, threads, text_operators=False)
    except Exception as error:  # noqa: BLE001 - onnxruntime has a dozen unrelated error classes
        if "ai.onnx.contrib" not in str(error):
            raise ModelUnavailable(
                file.name,
                got=_first_line(error),
                promised="an ONNX model that onnxruntime can load",
                mend="export it again; a download may have been cut short",
            ) from None
    if importlib.util.find_spec("onnxruntime_extensions") is None:
        raise ModelUnavailable(
            file.name,
            got="text operators that onnxruntime alone does not have",
            mend="install splice-ai[text]",
        )
    try:
        return _open(file, threads, text_operators=True)
    except Exception as error:  # noqa: BLE001 - as above
        raise ModelUnavailable(file.name, got=_first_line(error)) from None


def _open(file: Path, threads: int, *, text_operators: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # A spinning thread pool takes a core from the event loop for nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if text_operators:
        from onnxruntime_extensions import get_library_path  # an optional dependency

        options.register_custom_ops_library(get_library_path())
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _signature(session: Any, file: Path) -> Signature:
    def column(node: Any) -> Column:
        datatype = _DATATYPES.get(node.type, (node.type, None))[0]
        shape = tuple(d if isinstance(d, int) else -1 for d in (node.shape or ()))
        return Column(node.name, datatype, shape)

    inputs = tuple(column(node) for node in session.get_inputs())
    unread = [c for c in inputs if c.datatype not in _NUMPY]
    if unread:
        raise ModelUnavailable(
            file.name,
            got=f"input {unread[0].name} of type {unread[0].datatype}",
            promised=f"tensors of {', '.join(_NUMPY)}",
        )
    notes = cast("dict[str, str]", session.get_modelmeta().custom_metadata_map)

    def names(key: str) -> tuple[str, ...]:
        try:
            listed = json.loads(notes.get(key, "[]"))
        except ValueError:
            return ()
        return tuple(str(one) for one in cast("list[Any]", listed))

    return Signature(
        inputs=inputs,
        outputs=tuple(column(node) for node in session.get_outputs()),
        classes=names("splice.classes"),
        features=names("splice.features"),
    )


class _NamedColumns:
    """One value a row for each input: skl2onnx's way for tables of mixed types."""

    def __init__(self, inputs: tuple[Column, ...], where: str) -> None:
        self._inputs = [
            (c.name, _NUMPY[c.datatype], *_kind(c.datatype), len(c.shape), c) for c in inputs
        ]
        self._where = where

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        count, made = len(rows), dict[str, Any]()
        for name, dtype, kinds, promised, rank, column in self._inputs:
            try:
                values = [row[name] for row in rows]
            except KeyError:
                raise _missing(self._where, name, rows) from None
            if rank <= 1 or column.shape[-1] in (1, -1):
                values = _unnested(values)
            flat = not isinstance(values[0], (list, tuple))
            if flat and not kinds.issuperset(map(type, values)):
                values = [_checked(v, kinds, promised, f"{self._where}.{name}") for v in values]
            try:
                array = np.array(values, dtype=dtype)
            except (TypeError, ValueError, OverflowError) as error:
                raise ModelMismatch(
                    f"{self._where}.{name}", got=str(error), promised=f"{column.datatype}"
                ) from None
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise _not_finite(f"{self._where}.{name}")
            made[name] = array.reshape(count, 1) if rank == 2 and array.ndim == 1 else array
        return made


def _unnested(values: list[Any]) -> list[Any]:
    return [
        cast("list[Any]", v)[0] if isinstance(v, list) and len(cast("list[Any]", v)) == 1 else v
        for v in values
    ]


class _OneMatrix:
    """One matrix [N, F]; its columns by name, or as a list under the input's own name."""

    def __init__(self, column: Column, features: tuple[str, ...], where: str) -> None:
        self._name = column.name
        self._dtype = _NUMPY[column.datatype]
        self._kinds, self._promised = _kind(column.datatype)
        self._datatype = column.datatype
        self._width = column.shape[1] if len(column.shape) > 1 else -1
        self._where = where
        self._features = features
        self._pick: Callable[[Any], Any] | None = None
        if features:
            if self._width not in (-1, len(features)):
                raise ModelMismatch(
                    where,
                    got=f"{len(features)} features",
                    promised=f"{self._width}, as {column.datatype}{list(column.shape)} has",
                    mend="name each column once, in the model's order",
                )
            one = len(features) == 1
            self._pick = (lambda row: (row[features[0]],)) if one else itemgetter(*features)

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        pick = self._pick or itemgetter(self._name)
        try:
            values = [pick(row) for row in rows]
        except KeyError as error:
            raise _missing(self._where, str(error.args[0]), rows) from None
        for row in values:
            if not isinstance(row, (list, tuple)):
                raise ModelMismatch(
                    f"{self._where}.{self._name}",
                    got=type(row).__name__,
                    promised=f"a list of {self._width if self._width > 0 else ''} numbers",
                )
            cells = cast("list[Any]", row)
            if self._width > 0 and len(cells) != self._width:
                raise ModelMismatch(
                    f"{self._where}.{self._name}",
                    got=f"{len(cells)} values",
                    promised=f"{self._width}",
                )
            if not self._kinds.issuperset(map(type, cells)):
                for i, cell in enumerate(cells):
                    place = self._features[i] if self._features else f"{self._name}[{i}]"
                    _checked(cell, self._kinds, self._promised, f"{self._where}.{place}")
        try:
            array = np.array(values, dtype=self._dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelMismatch(self._where, got=str(error), promised=self._datatype) from None
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _not_finite(f"{self._where}.{self._name}")
        return {self._name: array}


def _missing(where: str, name: str, rows: Sequence[Mapping[str, Any]]) -> ModelMismatch:
    has = ", ".join(next(row for row in rows if name not in row))
    return ModelMismatch(
        f"{where}.{name}",
        got=f"a context of {has or 'nothing'}",
        promised=f"a value for the model's input {name}",
        mend=f"return {name} from context()",
    )


def _not_finite(where: str) -> ModelMismatch:
    # A graph imputes a NaN in silence, and the answer looks like any other.
    return ModelMismatch(
        where, got="NaN or an infinity", promised="a finite number of its datatype"
    )


def _checked(value: Any, kinds: frozenset[type], promised: str, where: str) -> Any:
    if type(value) in kinds:
        return value
    item = getattr(value, "item", None)  # a numpy scalar, out of a feature store
    if callable(item):
        plain = item()
        if type(plain) in kinds:
            return plain
    raise ModelMismatch(
        where,
        got="nothing" if value is None else f"{type(value).__name__}",
        promised=promised,
        mend="convert it in context()",
    )


class OnnxModel:
    """A LoadedModel: one onnxruntime session with its way in and its way out."""

    def __init__(
        self,
        session: Any,
        signature: Signature,
        features: tuple[str, ...],
        where: str,
    ) -> None:
        self._session = session
        self._signature = signature
        self._where = where
        self._way_in = _way_in(signature, features or signature.features, where)
        self._outputs = [c.name for c in signature.outputs]
        self._classes = signature.classes
        self._row_seconds = self._warm_up()

    @property
    def signature(self) -> Signature:
        """What it reads and gives, as read from the file."""
        return self._signature

    @property
    def row_seconds(self) -> float:
        """How long one row takes; the least of three runs after a first."""
        return self._row_seconds

    def _warm_up(self) -> float:
        feed = {
            c.name: np.full(
                [1 if d < 0 else d for d in c.shape],
                "" if c.datatype == "BYTES" else 0,
                dtype=_NUMPY[c.datatype],
            )
            for c in self._signature.inputs
        }
        best = 0.0
        for turn in range(4):
            started = time.perf_counter()
            try:
                self._session.run(None, feed)
            except Exception:  # noqa: BLE001 - zeros need not suit it; the first call will tell
                return 0.0
            took = time.perf_counter() - started
            best = took if turn < 2 else min(best, took)
        return best

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One prediction a row, in order, from one run of the model."""
        feed = self._way_in.feed(rows)
        try:
            raw = cast("list[Any]", self._session.run(None, feed))
        except Exception as error:  # noqa: BLE001 - onnxruntime has a dozen unrelated error classes
            raise RouteCrashed(self._where, got=_first_line(error)) from None
        return self._read(raw, len(rows))

    def _read(self, raw: list[Any], count: int) -> list[Prediction]:
        labels: list[Any] | None = None
        table: Any = None
        for value in raw:
            if isinstance(value, list):  # ZipMap: a list of {class: probability}
                return [_from_map(one, self._where) for one in cast("list[dict[Any, Any]]", value)]
            if value.dtype.kind != "f":
                labels = labels or value.reshape(count, -1)[:, 0].tolist()
            elif table is None:
                table = value.reshape(count, -1)
        if table is None:
            return [Prediction(value=_text(one)) for one in labels or []]
        if not np.isfinite(table).all():
            raise BadAnswer(self._where, got="NaN or an infinity", promised="finite numbers")
        numbers: list[list[float]] = table.tolist()
        width = len(numbers[0])
        if width == 1:
            return [Prediction(value=row[0], score=row[0]) for row in numbers]
        if labels is None and len(self._classes) != width:
            return [Prediction(value=row) for row in numbers]
        classes = self._classes
        if len(classes) != width:
            classes = tuple(str(i) for i in range(width))
        if labels is None:
            labels = [classes[row.index(max(row))] for row in numbers]
        if isinstance(labels[0], bytes):
            labels = [_text(label) for label in labels]
        if width == 2:
            no, yes = classes
            return [
                Prediction(label, row[1], {no: row[0], yes: row[1]})
                for label, row in zip(labels, numbers, strict=True)
            ]
        return [
            Prediction(label, max(row), dict(zip(classes, row, strict=True)))
            for label, row in zip(labels, numbers, strict=True)
        ]


def _text(label: Any) -> Any:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else label


def _from_map(scores: dict[Any, Any], where: str) -> Prediction:
    plain = {str(_text(k)): float(v) for k, v in scores.items()}
    if not all(np.isfinite(v) for v in plain.values()):
        raise BadAnswer(where, got="NaN or an infinity", promised="finite numbers")
    best = max(plain, key=plain.__getitem__)
    score = list(plain.values())[1] if len(plain) == 2 else plain[best]
    return Prediction(value=best, score=score, scores=plain)


def _way_in(
    signature: Signature, features: tuple[str, ...], where: str
) -> _NamedColumns | _OneMatrix:
    inputs = signature.inputs
    matrix = len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1
    if matrix:
        return _OneMatrix(inputs[0], features, where)
    if features and set(features) != {c.name for c in inputs}:
        raise ModelMismatch(
            where,
            got=f"features {', '.join(features)}",
            promised=f"the model's own inputs: {', '.join(c.name for c in inputs)}",
            mend="leave features out: this model names its inputs itself",
        )
    return _NamedColumns(inputs, where)
