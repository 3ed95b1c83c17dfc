"""Avro's binary encoding, read by the schema of its writer, within bounds.

Why not fastavro: 1.13.1 ends the process (SIGSEGV) on 5,001 bytes of a schema that refers to
itself, spends 97 s on a decimal of 1 MB, and takes a branch of a union by a negative number. An
event comes from elsewhere, so what reads it must hold whatever its bytes are. Tests compare the two
on schemas and values of every kind.

A schema becomes a tree of functions, each of which reads one value where the cursor stands. What
takes no bytes (null, an empty record) is counted, for a few bytes can announce 2**40 of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from splice.core.errors import EventError
from splice.serve.events.avro_values import (
    PRIMITIVES,
    Cursor,
    Type,
    logical,
    read_long,
    read_null,
    read_string,
    taken,
)

MAX_DEPTH = 90
"""Values in values, where a schema refers to itself. The request's own limit is 100 levels of JSON,
and what encloses them needs some."""


class Avro:
    """Reads messages of one schema.

    Args:
        schema: As JSON has it.
        parts: Schemas with the named types that it refers to, each after those that it needs.

    Raises:
        ValueError: It is no Avro schema; says why.
    """

    def __init__(self, schema: Any, parts: Sequence[Any] = ()) -> None:
        names = _Names()
        try:
            for part in parts:
                names.type_of(part, "")
            self._read = names.type_of(schema, "").read
        except RecursionError:
            raise ValueError("it nests too deep") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is not as it should be: {error!r}") from None

    def read(self, message: bytes, at: int, where: str) -> Any:
        """The value that the bytes from `at` to the end are.

        Raises:
            EventError: They are not a value of the schema.
        """
        cursor = Cursor(message, at)
        try:
            value = self._read(cursor)
            if cursor.at != len(message):
                raise ValueError(f"{len(message) - cursor.at} bytes after the end of the value")
        except (IndexError, struct.error):
            _refuse(where, cursor, "it ends early")
        except UnicodeDecodeError:
            _refuse(where, cursor, "a text that is not UTF-8")
        except RecursionError:
            _refuse(where, cursor, "it nests too deep")
        except OverflowError:
            _refuse(where, cursor, "a time outside of the years 1 to 9999")
        except ValueError as error:
            _refuse(where, cursor, str(error))
        return value


def _refuse(where: str, cursor: Cursor, why: str) -> NoReturn:
    raise EventError(
        where,
        got=f"Avro that cannot be read at byte {cursor.at} of {len(cursor.bytes)}: {why}",
        promised="a value of the schema that it names",
    ) from None


class _Names:
    """The named types of a schema and of those that it refers to."""

    def __init__(self) -> None:
        self._types: dict[str, Type] = {}
        self._open: set[str] = set()

    def type_of(self, schema: Any, space: str) -> Type:
        """The type that a schema in a namespace describes."""
        if isinstance(schema, str):
            return PRIMITIVES.get(schema) or self._named(schema, space)
        if isinstance(schema, list):
            return _union([self.type_of(one, space) for one in cast("list[Any]", schema)])
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            return self.type_of(kind, space)
        if kind == "array":
            return _array(self.type_of(schema["items"], space))
        if kind == "map":
            return _map(self.type_of(schema["values"], space))
        if kind in ("record", "error"):
            return self._record(schema, space)
        if kind in ("enum", "fixed"):
            full = _full_name(schema["name"], schema.get("namespace", space))
            made = _enum(schema["symbols"]) if kind == "enum" else _fixed(schema)
            return self._define(full, made)
        plain = self.type_of(kind, space)
        return logical(schema, plain) if kind in PRIMITIVES else plain

    def _named(self, name: str, space: str) -> Type:
        full = _full_name(name, space)
        found = self._types.get(full) or self._types.get(name)
        if found is None:
            raise ValueError(f"it refers to {name!r}, which it does not describe")
        if full not in self._open:
            return found

        def nested(cursor: Cursor) -> Any:
            cursor.depth += 1
            if cursor.depth > MAX_DEPTH:
                raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
            value = found.read(cursor)
            cursor.depth -= 1
            return value

        # Its fields are not known yet. As if they took bytes: if none does, it has no value at all.
        return Type(nested)

    def _define(self, full: str, made: Type) -> Type:
        if full in self._types:
            raise ValueError(f"it describes {full} twice")
        self._types[full] = made
        return made

    def _record(self, schema: Mapping[str, Any], space: str) -> Type:
        full = _full_name(schema["name"], schema.get("namespace", space))
        made = self._define(full, Type(read_null))
        self._open.add(full)
        inner = full.rpartition(".")[0]
        fields = [(str(one["name"]), self.type_of(one["type"], inner)) for one in schema["fields"]]
        self._open.discard(full)
        if len({name for name, _ in fields}) != len(fields):
            raise ValueError(f"{full} has a field twice")
        reads = tuple((name, one.read) for name, one in fields)
        weightless = sum(one.weightless for _, one in fields)

        def read(cursor: Cursor) -> dict[str, Any]:
            return {name: value(cursor) for name, value in reads}

        def counted(cursor: Cursor) -> dict[str, Any]:
            cursor.count(weightless)
            return read(cursor)

        made.read = counted if weightless else read
        made.weightless = weightless == len(fields)
        return made


def _full_name(name: str, space: str | None) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _union(branches: Sequence[Type]) -> Type:
    reads = [one.read for one in branches]

    def read(cursor: Cursor) -> Any:
        branch = read_long(cursor)
        if not 0 <= branch < len(reads):
            raise ValueError(f"branch {branch} of a union of {len(reads)}")
        return reads[branch](cursor)

    return Type(read)


def _enum(given: Any) -> Type:
    symbols = [one for one in cast("list[Any]", given) if isinstance(one, str)]
    if not isinstance(given, list) or len(symbols) < len(cast("list[Any]", given)):
        raise TypeError("symbols")

    def read(cursor: Cursor) -> str:
        number = read_long(cursor)
        if not 0 <= number < len(symbols):
            raise ValueError(f"symbol {number} of an enum of {len(symbols)}")
        return symbols[number]

    return Type(read)


def _fixed(schema: Mapping[str, Any]) -> Type:
    size = schema["size"]
    if not isinstance(size, int) or size < 0:
        raise TypeError("size")
    made = Type(lambda cursor: taken(cursor, size), weightless=size == 0)
    return logical(schema, made)


def _block(cursor: Cursor, *, weightless: bool) -> int:
    """How many items the next block has; 0 at the end."""
    count = read_long(cursor)
    if count < 0:
        count = -count
        read_long(cursor)  # its size in bytes, for those who skip it
    if weightless:
        cursor.count(count)
    return count


def _array(item: Type) -> Type:
    read_item, weightless = item.read, item.weightless

    def read(cursor: Cursor) -> list[Any]:
        found: list[Any] = []
        while count := _block(cursor, weightless=weightless):
            found += [read_item(cursor) for _ in range(count)]
        return found

    return Type(read)


def _map(value: Type) -> Type:
    read_value = value.read

    def read(cursor: Cursor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while count := _block(cursor, weightless=False):
            for _ in range(count):
                key = read_string(cursor)
                if key in found:
                    raise ValueError(f"the key {key[:80]!r} twice in one map")
                found[key] = read_value(cursor)
        return found

    return Type(read)
