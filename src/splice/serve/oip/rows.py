"""Rows: input tensors become the bodies of calls, replies become output tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import msgspec

from splice.core.call import Record
from splice.core.errors import InputMismatch
from splice.core.units import NANO
from splice.oip.bodies import WireTensor
from splice.oip.datatypes import DATATYPES, shown_shape
from splice.oip.tensors import Tensor
from splice.serve.oip.forms import Field, FieldKind, Form

_encode = msgspec.json.Encoder().encode


def bodies_of(form: Form, tensors: Sequence[Tensor], name: str, most: int) -> list[bytes]:
    """One JSON body a row, for the request type to read.

    Args:
        form: The tensors that the release takes.
        tensors: Those that came.
        name: The integration, for errors.
        most: Rows, at most.

    Raises:
        InputMismatch: A tensor is unknown, there twice, of another datatype or shape than its
            field, or a value has no form in JSON; names the input and the row.
    """
    columns: dict[str, Sequence[Any]] = {}
    count: int | None = None
    for tensor in tensors:
        where = f"{name}.inputs.{tensor.name[:80]}"
        field = form.inputs.get(tensor.name)
        if field is None:
            raise InputMismatch(
                where, got="an unknown input", promised=f"one of {', '.join(form.inputs)}"
            )
        if tensor.name in columns:
            raise InputMismatch(where, got="the same input twice", promised="each input once")
        rows = _rows_of(tensor, field, where)
        if count is None:
            count = rows
        if rows != count or rows == 0 or rows > most:
            _refuse_rows(name, where, rows, count, most)
        columns[tensor.name] = _column(tensor, field, rows, f"{name}.input")
    if count is None:
        raise InputMismatch(
            f"{name}.inputs", got="no input", promised=f"tensors of {', '.join(form.inputs)}"
        )
    if form.whole_input:
        (whole,) = columns.values()
        return [bytes(one) for one in whole]
    return _encoded(columns, count)


def plain_bodies(form: Form, wires: Sequence[WireTensor], most: int) -> list[bytes] | None:
    """The same for tensors as most write them in JSON, at a third of the time.

    None where anything is not so plain: then `bodies_of` reads it, and says what is wrong.
    """
    columns: dict[str, Sequence[Any]] = {}
    first: object = wires[0].data if wires else None
    rows = len(cast("list[Any]", first)) if type(first) is list else 0
    if not 0 < rows <= most:
        return None
    for wire in wires:
        field, data = form.inputs.get(wire.name), wire.data
        if field is None or field.vector or wire.datatype != field.datatype:
            return None
        if wire.shape != [rows] or type(data) is not list or len(cast("list[Any]", data)) != rows:
            return None
        if wire.name in columns or (wire.parameters and "binary_data_size" in wire.parameters):
            return None
        kind = _PLAIN.get(field.kind)
        if kind is None or not all(type(one) is kind for one in cast("list[Any]", data)):
            return None
        columns[wire.name] = cast("list[Any]", data)
    return _encoded(columns, rows)


_PLAIN: dict[FieldKind, type] = {"number": float, "boolean": bool, "text": str}


def _encoded(columns: dict[str, Sequence[Any]], count: int) -> list[bytes]:
    names = list(columns)
    if count == 1:
        return [_encode({one: column[0] for one, column in columns.items()})]
    return [
        _encode(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)
    ]


def _refuse_rows(name: str, where: str, rows: int, others: int, most: int) -> None:
    if rows == 0:
        raise InputMismatch(f"{where}.shape", got="no rows", promised="at least one")
    if rows > most:
        raise InputMismatch(
            f"{name}.inputs",
            got=f"{rows} rows",
            promised=f"at most {most} rows",
            mend="send them in several requests, or raise oip.max_rows",
        )
    raise InputMismatch(
        f"{where}.shape", got=f"{rows} rows", promised=f"{others} rows, as the input before it"
    )


def _rows_of(tensor: Tensor, field: Field, where: str) -> int:
    """How many rows a tensor has, whose datatype and shape are right for the field."""
    if tensor.datatype not in field.accepted:
        raise InputMismatch(
            f"{where}.datatype",
            got=tensor.datatype,
            promised=" or ".join(field.accepted[:2]),
        )
    shape = tensor.shape
    if len(shape) == 2 and (shape[1] == 1 or field.vector):
        return shape[0]
    if len(shape) == 1 and not field.vector:
        return shape[0]
    rows = "[N, K], K values in each of N rows" if field.vector else "[N] or [N, 1] for N rows"
    raise InputMismatch(f"{where}.shape", got=shown_shape(shape), promised=rows)


def _column(tensor: Tensor, field: Field, rows: int, called: str) -> Sequence[Any]:
    """The value of the field in each row."""
    values: Sequence[Any] = tensor.values
    kind = DATATYPES[tensor.datatype].kind
    width = len(values) // rows if field.vector else 1

    def at(index: int) -> str:
        return f"{called}[{index // max(width, 1)}].{field.name}"

    if kind == "float":
        if not all(map(math.isfinite, values)):
            bad = next(i for i, one in enumerate(values) if not math.isfinite(one))
            raise InputMismatch(at(bad), got="NaN or an infinity", promised="a finite number")
    elif kind == "bytes":
        read = _text if field.kind == "text" else _json
        values = [read(one, index, at) for index, one in enumerate(values)]
    if field.vector:
        return [values[row * width : (row + 1) * width] for row in range(rows)]
    return values


def _text(one: bytes, index: int, at: Callable[[int], str]) -> str:
    try:
        return one.decode()
    except UnicodeDecodeError:
        raise InputMismatch(
            at(index), got="bytes that are not UTF-8", promised="text in UTF-8"
        ) from None


def _json(one: bytes, index: int, at: Callable[[int], str]) -> msgspec.Raw:
    # Read whole, so that nothing but one value can stand there: it goes into the body as it came.
    try:
        msgspec.json.decode(one)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputMismatch(
            at(index), got=f"a text that is no JSON: {error}", promised="one JSON value"
        ) from None
    return msgspec.Raw(one)


def outputs_of(form: Form, records: Sequence[Record], names: Sequence[str]) -> list[Tensor]:
    """The output tensors of replies, one row a record, for these names in their order.

    Raises:
        InputMismatch: A reply has no form in its datatype: a whole number beyond 64 bits.
    """
    shape = (len(records),)
    found: list[Tensor] = []
    for name, datatype, values in _columns(form, records, names):
        raw = [one.encode() for one in values] if datatype == "BYTES" else values
        found.append(Tensor(name, datatype, shape, raw))
    return found


def json_outputs(form: Form, records: Sequence[Record], names: Sequence[str]) -> list[WireTensor]:
    """The same as JSON has them; the same errors."""
    shape = [len(records)]
    return [
        WireTensor(name, shape, datatype, msgspec.UNSET, values)
        for name, datatype, values in _columns(form, records, names)
    ]


def _columns(
    form: Form, records: Sequence[Record], names: Sequence[str]
) -> Iterator[tuple[str, str, list[Any]]]:
    """Name, datatype and values of each output; BYTES as texts."""
    replies = [msgspec.json.decode(record.reply or b"null") for record in records]
    for name in names:
        field = form.outputs.get(name)
        if field is None:
            yield name, "BYTES", [DETAILS[name](record) for record in records]
            continue
        whole = form.whole_output
        values = [one if whole else one.get(name, field.default) for one in replies]
        yield name, field.datatype, _output(field, values, name)


def _output(field: Field, values: list[Any], name: str) -> list[Any]:
    if field.kind == "json":
        return [_encode(one).decode() for one in values]
    if field.kind == "number":
        return [float(one) for one in values]
    if field.kind == "integer" and not all(-(1 << 63) <= one < 1 << 63 for one in values):
        raise InputMismatch(
            f"outputs.{name}",
            got="a whole number beyond 64 bits",
            promised="INT64",
            mend="ask the integration over its own HTTP path, where numbers have no such bound",
        )
    return values


def _cost(record: Record) -> str:
    return "null" if record.cost_nano is None else _encode(record.cost_nano / NANO).decode()


DETAILS: dict[str, Callable[[Record], str]] = {
    "splice_call_id": lambda record: record.call_id,
    "splice_route": lambda record: record.route,
    "splice_version": lambda record: record.version,
    "splice_variant": lambda record: record.variant,
    "splice_reason": lambda record: record.reason.value,
    "splice_cost": _cost,
}
"""Outputs that every integration has and that nobody gets unasked: one text a row."""


def details_of(records: Sequence[Record]) -> dict[str, Any]:
    """What the parameters of a response say of its calls.

    The id of each call; route, version and reason where they are the same for all; the cost of
    all together, where it is known.
    """
    first = records[0]
    if len(records) == 1:
        found: dict[str, Any] = {
            "splice_call_id": first.call_id,
            "splice_route": first.route,
            "splice_version": first.version,
            **({"splice_variant": first.variant} if first.variant else {}),
            "splice_reason": first.reason.value,
        }
        if first.cost_nano is not None:
            found["splice_cost"] = first.cost_nano / NANO
        return found
    ids = [record.call_id for record in records]
    found = {"splice_call_ids": _encode(ids).decode()}
    for name in ("route", "version", "reason"):
        value: Any = getattr(first, name)
        if all(getattr(record, name) == value for record in records):
            found[f"splice_{name}"] = str(value)
    costs = [record.cost_nano for record in records if record.cost_nano is not None]
    if len(costs) == len(records):
        found["splice_cost"] = sum(costs) / NANO
    return found
