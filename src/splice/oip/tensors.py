"""A tensor: a name, a datatype, a shape and its values, whichever way it came."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.core.errors import InputMismatch
from splice.oip.datatypes import Datatype, datatype_of, elements_of, from_raw, shown_shape, to_raw

NO_PARAMETERS: Mapping[str, Any] = {}


class Tensor(msgspec.Struct, frozen=True):
    """One input or output.

    `values` are in row-major order, as many as `shape` says: bool, int, float, or bytes for BYTES.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any]
    parameters: Mapping[str, Any] = NO_PARAMETERS

    def raw(self) -> bytes:
        """Its values as raw bytes: what binary data and `raw_output_contents` hold.

        Raises:
            InputMismatch: A value is not one of the datatype.
        """
        return to_raw(datatype_of(self.datatype, self.name), self.values, self.name)

    def data(self) -> list[Any]:
        """Its values as JSON has them: flat; BYTES as texts.

        Raises:
            InputMismatch: A value has no form in JSON: NaN, or bytes that are not UTF-8.
        """
        kind = datatype_of(self.datatype, self.name).kind
        if kind == "bytes":
            try:
                return [one.decode() for one in self.values]
            except UnicodeDecodeError:
                raise InputMismatch(
                    self.name, got="bytes that are not UTF-8", promised="text, or binary data"
                ) from None
        if kind == "float" and not all(map(math.isfinite, self.values)):
            raise InputMismatch(
                self.name, got="NaN or an infinity", promised="finite numbers, or binary data"
            )
        return list(self.values)


def tensor_of_raw(
    name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview, where: str
) -> Tensor:
    """A tensor from raw bytes.

    Raises:
        InputMismatch: The datatype is none, or the bytes are not those of that many values.
    """
    kind = datatype_of(datatype, where)
    values = from_raw(kind, elements_of(shape, where), raw, where)
    return Tensor(name, datatype, tuple(shape), values)


def tensor_of_values(
    name: str, datatype: str, shape: Sequence[int], data: Any, where: str
) -> Tensor:
    """A tensor from the values of JSON (flat, or nested as the shape says) or of protobuf.

    Raises:
        InputMismatch: The datatype is none, there are more or fewer values than the shape says, or
            one of them is not of the datatype; names which.
    """
    kind = datatype_of(datatype, where)
    count = elements_of(shape, where)
    if not isinstance(data, list):
        raise InputMismatch(
            f"{where}.data", got=_name_of(data), promised=f"an array of {count} values"
        )
    values = _flat(cast("list[Any]", data), shape, where)
    if len(values) != count:
        raise InputMismatch(
            f"{where}.data",
            got=f"{len(values)} values",
            promised=f"{count} values: the shape is {shown_shape(shape)}",
        )
    return Tensor(name, datatype, tuple(shape), _checked(kind, values, where))


def _flat(data: list[Any], shape: Sequence[int], where: str) -> list[Any]:
    values, depth = data, 1
    while values and isinstance(values[0], list):
        if depth >= len(shape):
            raise InputMismatch(
                f"{where}.data",
                got=f"arrays nested deeper than the shape {shown_shape(shape)}",
                promised="one value in each place",
            )
        width, rows = shape[depth], values
        for at, row in enumerate(rows):
            if not isinstance(row, list) or len(cast("list[Any]", row)) != width:
                raise InputMismatch(
                    f"{where}.data[{at}]",
                    got=_name_of(cast("object", row)),
                    promised=f"an array of {width}: the shape is {shown_shape(shape)}",
                )
        values = [one for row in rows for one in row]
        depth += 1
    return values


def _checked(datatype: Datatype, values: list[Any], where: str) -> list[Any]:
    """The values, each of the kind that the datatype has."""
    found = set(map(type, values))
    if datatype.kind == "bytes":
        if found <= {str}:
            with contextlib.suppress(UnicodeEncodeError):  # told below, with its place
                return [one.encode() for one in values]
        return [_bytes(one, f"{where}.data[{at}]") for at, one in enumerate(values)]
    if datatype.kind == "float":
        if found <= {float}:
            return values
        if found <= {float, int}:
            return [_float(one, f"{where}.data[{at}]") for at, one in enumerate(values)]
    elif found <= {_KINDS[datatype.kind][0]}:
        low, high = datatype.bounds
        if datatype.kind == "bool" or not values or (low <= min(values) and max(values) <= high):
            return values
    _refuse(datatype, values, where)
    return values


_KINDS: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (float, int)}


def _refuse(datatype: Datatype, values: list[Any], where: str) -> None:
    """Raises for the first value that is not of the datatype."""
    low, high = datatype.bounds
    for at, one in enumerate(values):
        if type(one) not in _KINDS[datatype.kind]:
            got = _name_of(one)
        elif datatype.kind == "int" and not low <= one <= high:
            got = "a value out of its bounds"
        else:
            continue
        raise InputMismatch(f"{where}.data[{at}]", got=got, promised=datatype.name)


def _bytes(one: Any, where: str) -> bytes:
    if isinstance(one, bytes):
        return one
    if not isinstance(one, str):
        raise InputMismatch(where, got=_name_of(one), promised="a text, for BYTES")
    try:
        return one.encode()
    except UnicodeEncodeError:
        raise InputMismatch(where, got="half of a surrogate pair", promised="text") from None


def _float(one: Any, where: str) -> float:
    try:
        return float(one)
    except OverflowError:
        raise InputMismatch(where, got="a value out of its bounds", promised="a number") from None


_NAMES: dict[object, str] = {
    type(None): "null", bool: "a bool", int: "an int", float: "a float", str: "a text",
    list: "an array", dict: "an object",
}  # fmt: skip


def _name_of(value: object) -> str:
    if isinstance(value, list):
        return f"an array of {len(cast('list[Any]', value))}"
    kind = type(value)
    return "nothing" if value is msgspec.UNSET else _NAMES.get(kind, kind.__name__)
