"""What Avro's values are made of: a cursor, the primitive types, and the logical ones as JSON."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any, TypeAlias

MAX_WEIGHTLESS = 10_000
"""Values in one message that take no bytes."""

_MOST_DIGITS = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(1970, 1, 1)  # a local timestamp has no zone
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1).toordinal(), date.max.toordinal()
_FLOAT = struct.Struct("<f").unpack_from
_DOUBLE = struct.Struct("<d").unpack_from


class Cursor:
    """Where a message is read, and how much it may still announce."""

    __slots__ = ("at", "bytes", "depth", "weightless")

    def __init__(self, message: bytes, at: int) -> None:
        self.bytes, self.at = message, at
        self.depth, self.weightless = 0, MAX_WEIGHTLESS

    def count(self, values: int) -> None:
        """So many more values that take no bytes."""
        self.weightless -= values
        if self.weightless < 0:
            raise ValueError(f"more than {MAX_WEIGHTLESS} values that take no bytes")


Read: TypeAlias = "Callable[[Cursor], Any]"  # a value is of whatever type the schema says


class Type:
    """A type of a schema: how it is read, and whether its values take no bytes at all."""

    __slots__ = ("read", "weightless")

    def __init__(self, read: Read, *, weightless: bool = False) -> None:
        self.read, self.weightless = read, weightless


def read_long(cursor: Cursor) -> int:
    """A long in zigzag, 7 bits a byte."""
    message, at = cursor.bytes, cursor.at
    byte = message[at]
    at += 1
    if byte < 0x80:
        cursor.at = at
        return (byte >> 1) ^ -(byte & 1)
    number, shift = byte & 0x7F, 7
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
    if number >> 64:
        raise ValueError("a number of more than 64 bits")
    cursor.at = at
    return (number >> 1) ^ -(number & 1)


def _int(cursor: Cursor) -> int:
    number = read_long(cursor)
    if not -0x8000_0000 <= number < 0x8000_0000:
        raise ValueError("an int of more than 32 bits")
    return number


def read_null(cursor: Cursor) -> None:
    """Nothing, of no bytes."""
    return None


def _boolean(cursor: Cursor) -> bool:
    byte = cursor.bytes[cursor.at]
    if byte > 1:
        raise ValueError(f"a boolean of the byte {byte}")
    cursor.at += 1
    return byte == 1


def _finite(number: float) -> float:
    if number - number != 0:  # NaN and the infinities
        raise ValueError("NaN or an infinity, which JSON has not")
    return number


def _float(cursor: Cursor) -> float:
    (number,) = _FLOAT(cursor.bytes, cursor.at)
    cursor.at += 4
    return _finite(number)


def _double(cursor: Cursor) -> float:
    (number,) = _DOUBLE(cursor.bytes, cursor.at)
    cursor.at += 8
    return _finite(number)


def taken(cursor: Cursor, size: int) -> bytes:
    """So many bytes."""
    start = cursor.at
    end = start + size
    if size < 0:
        raise ValueError("a negative length")
    if end > len(cursor.bytes):
        raise ValueError(f"it ends early: {size} bytes were announced")
    cursor.at = end
    return cursor.bytes[start:end]


def _bytes(cursor: Cursor) -> bytes:
    return taken(cursor, read_long(cursor))


def read_string(cursor: Cursor) -> str:
    """A text, after its length in bytes."""
    return taken(cursor, read_long(cursor)).decode()


PRIMITIVES = {
    "null": Type(read_null, weightless=True),
    "boolean": Type(_boolean),
    "int": Type(_int),
    "long": Type(read_long),
    "float": Type(_float),
    "double": Type(_double),
    "bytes": Type(_bytes),
    "string": Type(read_string),
}


def logical(schema: Mapping[str, Any], plain: Type) -> Type:
    """A logical type as JSON has it; one that is not known is what it is made of, by the book."""
    name = schema.get("logicalType")
    made = _LOGICAL.get((name, plain.read)) if isinstance(name, str) else None
    if made is not None:
        return Type(made)
    if name == "decimal" and schema["type"] in ("bytes", "fixed"):
        return _decimal(schema, plain)
    if name == "uuid" and schema["type"] == "fixed" and schema["size"] == 16:
        return Type(lambda cursor: str(uuid.UUID(bytes=plain.read(cursor))))
    return plain


def _decimal(schema: Mapping[str, Any], plain: Type) -> Type:
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int):
        return plain
    if not (0 < precision <= _MOST_DIGITS and 0 <= scale <= precision):
        return plain
    context, most = Context(prec=precision), 10**precision

    def read(cursor: Cursor) -> Decimal:
        number = int.from_bytes(plain.read(cursor), signed=True)
        if abs(number) >= most:  # compared before it becomes a Decimal, which takes its time
            raise ValueError(f"a decimal of more than {precision} digits")
        return Decimal(number).scaleb(-scale, context)

    return Type(read)


def _days(cursor: Cursor) -> date:
    day = _FIRST_DAY + _int(cursor)
    if not 0 < day <= _LAST_DAY:
        raise OverflowError
    return date.fromordinal(day)


def _since_midnight(number: int, parts: int) -> time:
    if not 0 <= number < 86_400 * parts:
        raise ValueError("a time of day outside of the day")
    return (_LOCAL_EPOCH + timedelta(microseconds=number * (1_000_000 // parts))).time()


_LOGICAL: dict[tuple[str, Read], Read] = {
    ("date", _int): _days,
    ("time-millis", _int): lambda c: _since_midnight(_int(c), 1000),
    ("time-micros", read_long): lambda c: _since_midnight(read_long(c), 1_000_000),
    ("timestamp-millis", read_long): lambda c: _EPOCH + timedelta(milliseconds=read_long(c)),
    ("timestamp-micros", read_long): lambda c: _EPOCH + timedelta(microseconds=read_long(c)),
    ("timestamp-nanos", read_long): lambda c: _EPOCH + timedelta(microseconds=read_long(c) // 1000),
    ("local-timestamp-millis", read_long): lambda c: (
        _LOCAL_EPOCH + timedelta(milliseconds=read_long(c))
    ),
    ("local-timestamp-micros", read_long): lambda c: (
        _LOCAL_EPOCH + timedelta(microseconds=read_long(c))
    ),
    ("local-timestamp-nanos", read_long): lambda c: (
        _LOCAL_EPOCH + timedelta(microseconds=read_long(c) // 1000)
    ),
    ("uuid", read_string): lambda c: str(uuid.UUID(read_string(c))),
}
