"""The wire format of a Schema Registry: a schema's id, then Avro or JSON."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, TypeAlias

import msgspec

from splice.core.errors import EventError, MalformedBody, UnknownSchema
from splice.declare.bodies import refuse_deep
from splice.ports.schemas import Schema, SchemaKey, SchemaSource
from splice.serve.events.avro import Avro
from splice.serve.events.letter import refuse_empty

SCHEMA_HEADER = "__value_schema_id"
"""Where newer serializers put the id, and leave the value as it is."""

_WHERE = "event.value"
_encode = msgspec.json.Encoder(decimal_format="number").encode

Reader: TypeAlias = "Avro | str | None"
"""None where the payload is JSON as it stands; a text says why it cannot be read."""


def is_framed(value: bytes) -> bool:
    """Whether a value begins with an id: JSON begins with neither of these bytes."""
    return value[:1] in (b"\0", b"\1")


def frame_of(value: bytes, header: bytes | None) -> tuple[SchemaKey, int]:
    """The id of a message's schema, and where its payload begins.

    Raises:
        EventError: It is cut off, or begins with another byte.
    """
    said = value if header is None else header
    where = _WHERE if header is None else f"event.{SCHEMA_HEADER}"
    if said[:1] == b"\0" and len(said) >= 5:
        return int.from_bytes(said[1:5]), 0 if header is not None else 5
    if said[:1] == b"\1" and len(said) >= 17:
        return str(uuid.UUID(bytes=said[1:17])), 0 if header is not None else 17
    raise EventError(
        where,
        got=f"{said[:4]!r} ({len(said)} bytes)",
        promised="the byte 0 and 4 bytes of a schema's id, or the byte 1 and 16 of its GUID",
    )


class SchemaReaders:
    """Reads payloads by schemas that were fetched before; those are kept for ever.

    Args:
        source: Where schemas come from.
    """

    def __init__(self, source: SchemaSource) -> None:
        self._source = source
        self._readers: dict[SchemaKey, Reader] = {}
        self._fetching: dict[SchemaKey, asyncio.Task[None]] = {}

    def has(self, key: SchemaKey) -> bool:
        """Whether it was fetched."""
        return key in self._readers

    async def fetch(self, key: SchemaKey) -> None:
        """Fetch a schema; many may wait for one.

        Raises:
            UnknownSchema: The registry has none of that id.
            BusError: The registry is away.
        """
        if key in self._readers:
            return
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._fetch(key))
            task.add_done_callback(lambda done: self._fetched(key, done))
        await asyncio.shield(task)

    def body(self, key: SchemaKey, value: bytes, at: int) -> bytes:
        """JSON of the payload that begins there.

        Raises:
            EventError: It is not of its schema; or the schema is of a kind that is not read.
            UnknownSchema: It was not fetched.
        """
        if key not in self._readers:
            raise UnknownSchema(_WHERE, got=f"schema {key}", promised="one that was fetched")
        reader = self._readers[key]
        if isinstance(reader, Avro):
            return _encode(reader.read(value, at, _WHERE))
        if reader is None:
            return refuse_empty(value[at:], _WHERE)
        raise EventError(
            _WHERE, got=f"a message of schema {key}, {reader}", promised="Avro or JSON Schema"
        )

    async def _fetch(self, key: SchemaKey) -> None:
        self._readers[key] = _reader_of(await self._source.schema(key))

    def _fetched(self, key: SchemaKey, task: asyncio.Task[None]) -> None:
        del self._fetching[key]
        if not task.cancelled():
            task.exception()  # whoever waited was told


def _reader_of(schema: Schema) -> Reader:
    if schema.kind == "JSON":
        return None
    if schema.kind != "AVRO":
        return f"which is {schema.kind.capitalize()}"
    try:
        return Avro(_read(schema.text), [_read(part) for part in schema.parts])
    except ValueError as error:
        return f"which is no Avro schema: {error}"


def _read(text: str) -> Any:
    raw = text.encode("utf-8", "replace")
    try:
        refuse_deep(raw, "schema")
        return msgspec.json.decode(raw)
    except (MalformedBody, msgspec.DecodeError, RecursionError):
        raise ValueError("its text is not JSON, or nests too deep") from None
