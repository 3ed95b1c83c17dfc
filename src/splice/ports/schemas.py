"""Schemas: what a Schema Registry knows of the messages that name one by its id."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

SchemaKey: TypeAlias = "int | str"
"""How a message names its schema: the registry's number of it, or its GUID in canonical text."""


class Schema(msgspec.Struct, frozen=True):
    """A schema as it was registered: `AVRO`, `JSON`, `PROTOBUF`, or another kind.

    `parts` are the texts of the schemas that it refers to, each after those that it needs itself.
    """

    kind: str
    text: str
    parts: tuple[str, ...] = ()


class RegistryAccess(msgspec.Struct, frozen=True):
    """Where a Schema Registry is, and how to get in. An adapter is made of this."""

    url: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "RegistryAccess(…)"  # it holds secrets


class SchemaSource(Protocol):
    """Schemas by what messages call them. From one event loop or from several."""

    async def schema(self, key: SchemaKey) -> Schema:
        """The schema; an id never changes its meaning, so it is asked for once.

        Raises:
            UnknownSchema: The registry answers, and has none of that name.
            BusError: It is away, or does not let us in; ask again after a moment.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
