"""The datatypes of the Open Inference Protocol, and their values as bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from splice.core.errors import InputMismatch

Kind: TypeAlias = Literal["bool", "int", "float", "bytes"]

_MOST_DIMENSIONS = 16
_MOST_SIZE = 1 << 40
"""Of one dimension: more than any body holds, and small enough that products stay small."""


class Datatype(msgspec.Struct, frozen=True):
    """One datatype: bytes of a value (0 where each has its own length), kind of its values.

    `code` is what `struct` calls it, empty where it has no name for it. `contents` is the field of
    `InferTensorContents` that holds it, empty where only raw bytes can.
    """

    name: str
    kind: Kind
    size: int
    code: str = ""
    contents: str = ""

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value, of the integers."""
        bits = self.size * 8
        if self.name.startswith("U"):
            return 0, (1 << bits) - 1
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


DATATYPES: dict[str, Datatype] = {
    one.name: one
    for one in (
        Datatype("BOOL", "bool", 1, "?", "bool_contents"),
        Datatype("UINT8", "int", 1, "B", "uint_contents"),
        Datatype("UINT16", "int", 2, "H", "uint_contents"),
        Datatype("UINT32", "int", 4, "I", "uint_contents"),
        Datatype("UINT64", "int", 8, "Q", "uint64_contents"),
        Datatype("INT8", "int", 1, "b", "int_contents"),
        Datatype("INT16", "int", 2, "h", "int_contents"),
        Datatype("INT32", "int", 4, "i", "int_contents"),
        Datatype("INT64", "int", 8, "q", "int64_contents"),
        Datatype("FP16", "float", 2, "e"),
        Datatype("BF16", "float", 2),
        Datatype("FP32", "float", 4, "f", "fp32_contents"),
        Datatype("FP64", "float", 8, "d", "fp64_contents"),
        Datatype("BYTES", "bytes", 0, "", "bytes_contents"),
    )
}
"""By name. BYTES are texts or anything else of any length."""


def datatype_of(name: str, where: str) -> Datatype:
    """The datatype of a name.

    Raises:
        InputMismatch: The protocol has none of that name.
    """
    found = DATATYPES.get(name)
    if found is None:
        raise InputMismatch(
            f"{where}.datatype", got=f"{name[:40]!r}", promised=f"one of {', '.join(DATATYPES)}"
        )
    return found


def elements_of(shape: Sequence[int], where: str) -> int:
    """How many values a tensor of a shape has.

    Raises:
        InputMismatch: It is no shape: a negative size, one beyond all bounds, too many dimensions.
    """
    if len(shape) == 1 and 0 <= shape[0] <= _MOST_SIZE:
        return shape[0]
    if len(shape) > _MOST_DIMENSIONS:
        raise InputMismatch(
            f"{where}.shape", got=f"{len(shape)} dimensions", promised=f"at most {_MOST_DIMENSIONS}"
        )
    if any(not 0 <= size <= _MOST_SIZE for size in shape):
        raise InputMismatch(
            f"{where}.shape", got=shown_shape(shape), promised="sizes of 0 and more, all known"
        )
    return math.prod(shape)


def shown_shape(shape: Sequence[int]) -> str:
    """`[3, 1]`."""
    return str(list(shape[:8]))[:100]


def from_raw(datatype: Datatype, count: int, raw: bytes | memoryview, where: str) -> list[Any]:
    """The values in raw little-endian bytes: bool, int, float, or bytes for BYTES.

    Raises:
        InputMismatch: They are not the bytes of so many values.
    """
    if datatype.kind == "bytes":
        return _byte_strings(count, bytes(raw), where)
    if len(raw) != count * datatype.size:
        raise InputMismatch(
            where,
            got=f"{len(raw)} bytes",
            promised=f"{count * datatype.size} bytes: {count} values of {datatype.name}",
        )
    if datatype.code:
        return list(struct.unpack(f"<{count}{datatype.code}", raw))
    # BF16 is the upper half of an FP32.
    halves = struct.unpack(f"<{count}H", raw)
    wide = struct.pack(f"<{count}I", *[half << 16 for half in halves])
    return list(struct.unpack(f"<{count}f", wide))


def to_raw(datatype: Datatype, values: Sequence[Any], where: str) -> bytes:
    """Raw little-endian bytes of values, as `from_raw` reads them.

    Raises:
        InputMismatch: A value is not one of the datatype.
    """
    try:
        if datatype.kind == "bytes":
            return b"".join([struct.pack("<I", len(one)) + one for one in values])
        if datatype.code:
            return struct.pack(f"<{len(values)}{datatype.code}", *values)
        whole = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
        return struct.pack(f"<{len(values)}H", *[one >> 16 for one in whole])
    except (struct.error, OverflowError, TypeError) as error:
        raise InputMismatch(where, got=str(error), promised=f"values of {datatype.name}") from None


def _byte_strings(count: int, raw: bytes, where: str) -> list[Any]:
    """Each string follows its length in four bytes."""
    found: list[bytes] = []
    at, end = 0, len(raw)
    while at < end and len(found) < count:
        if at + 4 > end:
            break
        stop = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if stop > end:
            raise InputMismatch(
                f"{where}[{len(found)}]",
                got=f"a length of {stop - at - 4} bytes where {end - at - 4} are left",
                promised="each value of BYTES after its length in 4 bytes, little-endian",
            )
        found.append(raw[at + 4 : stop])
        at = stop
    if len(found) != count or at != end:
        raise InputMismatch(
            where,
            got=f"{len(found)} values of BYTES and {end - at} bytes more",
            promised=f"{count} values, each after its length in 4 bytes",
        )
    return found
