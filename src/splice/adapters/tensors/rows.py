"""The way in: rows of plain values become the tensors that a model reads, or are refused."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

import numpy as np

from splice.core.errors import ModelMismatch
from splice.core.release import Column, Signature

DATATYPES: dict[str, tuple[str, Any]] = {
    "tensor(float)": ("FP32", np.float32),
    "tensor(double)": ("FP64", np.float64),
    "tensor(float16)": ("FP16", np.float16),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int16)": ("INT16", np.int16),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(uint64)": ("UINT64", np.uint64),
    "tensor(uint32)": ("UINT32", np.uint32),
    "tensor(uint16)": ("UINT16", np.uint16),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(bool)": ("BOOL", np.bool_),
    "tensor(string)": ("BYTES", object),
}
NUMPY = dict(DATATYPES.values())
# What may stand in a row for each kind of datatype. A text in a number's place is refused: numpy
# would parse it, and the model would answer as if nothing had happened.
_KINDS: dict[str, tuple[frozenset[type], str]] = {
    "F": (frozenset({float, int, bool}), "a number"),
    "I": (frozenset({int, bool}), "a whole number"),
    "U": (frozenset({int, bool}), "a whole number"),
    "B": (frozenset({bool, int}), "true or false"),
    "BYTES": (frozenset({str}), "a text"),
}
_LINES = frozenset({list, tuple})
_SUMS = frozenset({float, int})


def _kind(datatype: str) -> tuple[frozenset[type], str]:
    if datatype == "BYTES":
        return _KINDS["BYTES"]
    return _KINDS["B" if datatype == "BOOL" else datatype[0]]


class NamedColumns:
    """One value a row for each input: skl2onnx's way for tables of mixed types."""

    def __init__(self, inputs: tuple[Column, ...], where: str) -> None:
        self._inputs = [
            (c.name, NUMPY[c.datatype], *_kind(c.datatype), len(c.shape), c) for c in inputs
        ]
        self._where = where

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One tensor an input, with one entry a row."""
        count, made = len(rows), dict[str, Any]()
        for name, dtype, kinds, promised, rank, column in self._inputs:
            try:
                values = [row[name] for row in rows]
            except KeyError:
                raise _missing(self._where, name, rows) from None
            if rank <= 1 or column.shape[-1] in (1, -1):
                values = _unnested(values)
            where = f"{self._where}.{name}"
            if not kinds.issuperset(map(type, values)):
                values = [_all_checked(v, kinds, promised, where) for v in values]
            array = _finite(_array(values, dtype, where, column.datatype), where)
            if rank == 2 and array.ndim == 1:
                array = array.reshape(count, 1)
            if rank and not _fits(array.shape, column.shape):
                raise ModelMismatch(
                    where, got=f"values of shape {list(array.shape[1:])}",
                    promised=f"{list(column.shape[1:])}",
                )  # fmt: skip
            made[name] = array
        return made


def _fits(shape: tuple[int, ...], promised: tuple[int, ...]) -> bool:
    return len(shape) == len(promised) and all(
        want in (-1, have) for have, want in zip(shape[1:], promised[1:], strict=True)
    )


def _all_checked(value: Any, kinds: frozenset[type], promised: str, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        return _checked(value, kinds, promised, where)
    return [_all_checked(one, kinds, promised, where) for one in cast("Sequence[Any]", value)]


def _array(values: list[Any], dtype: Any, where: str, datatype: str) -> Any:
    try:
        with np.errstate(over="ignore"):  # it becomes an infinity, which is refused
            array = np.array(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelMismatch(where, got=str(error), promised=datatype) from None
    return array


def _finite(array: Any, where: str) -> Any:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        # A graph imputes a NaN in silence, and the answer looks like any other.
        raise ModelMismatch(
            where, got="NaN or an infinity", promised="a finite number of its datatype"
        )
    return array


def _unnested(values: list[Any]) -> list[Any]:
    return [
        cast("list[Any]", v)[0] if isinstance(v, list) and len(cast("list[Any]", v)) == 1 else v
        for v in values
    ]


class OneMatrix:
    """One matrix [N, F]; its columns by name, or as a list under the input's own name."""

    def __init__(self, column: Column, features: tuple[str, ...], where: str) -> None:
        self._name = column.name
        self._dtype = NUMPY[column.datatype]
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
        """The one tensor, with one line a row."""
        pick = self._pick or itemgetter(self._name)
        try:
            values = [pick(row) for row in rows]
        except KeyError as error:
            raise _missing(self._where, str(error.args[0]), rows) from None
        where = f"{self._where}.{self._name}"
        array = self._of_numbers(values)
        if array is None:
            self._check(values)
            array = _array(values, self._dtype, where, self._datatype)
        return {self._name: _finite(array, where)}

    def _of_numbers(self, values: list[Any]) -> Any:
        """The tensor, where nothing but numbers is in its place; else None, for a check.

        A double is made of what says that it is a number, and the sum of a line of floats and whole
        numbers is one of them, that of decimals is not: to look at each would take longer.
        """
        if self._datatype[0] != "F" or not _LINES.issuperset(map(type, values)):
            return None
        width = self._width if self._width > 0 else len(values[0])
        if not width:
            return None
        line = struct.Struct(f"{width}d").pack
        try:
            # Three times as quick as numpy, which looks at each value twice.
            packed = b"".join([line(*row) for row in values])
            if not _SUMS.issuperset(map(type, map(sum, values))):
                return None
        except (struct.error, TypeError, OverflowError):
            return None
        found = np.frombuffer(packed).reshape(len(values), width)
        with np.errstate(over="ignore"):  # it becomes an infinity, which is refused
            return found.astype(self._dtype)

    def _check(self, values: list[Any]) -> None:
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


def _missing(where: str, name: str, rows: Sequence[Mapping[str, Any]]) -> ModelMismatch:
    has = ", ".join(next(row for row in rows if name not in row))
    return ModelMismatch(
        f"{where}.{name}",
        got=f"a context of {has or 'nothing'}",
        promised=f"a value for the model's input {name}",
        mend=f"return {name} from context()",
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


def way_in(signature: Signature, features: tuple[str, ...], where: str) -> NamedColumns | OneMatrix:
    """How rows become what a model of this signature reads.

    Raises:
        ModelMismatch: `features` does not fit the signature.
    """
    inputs = signature.inputs
    matrix = len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1
    if matrix:
        return OneMatrix(inputs[0], features, where)
    if features and set(features) != {c.name for c in inputs}:
        raise ModelMismatch(
            where,
            got=f"features {', '.join(features)}",
            promised=f"the model's own inputs: {', '.join(c.name for c in inputs)}",
            mend="leave features out: this model names its inputs itself",
        )
    return NamedColumns(inputs, where)
