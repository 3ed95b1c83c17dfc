"""What an agent sees of an integration: a tool with a name, a purpose and two schemas."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from splice.core.errors import MalformedBody
from splice.core.release import Manifest

WRAPPED = "input"
"""The one argument of a tool whose integration does not take an object."""

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Card(msgspec.Struct, frozen=True):
    """One tool.

    `output` is None where its reply is no object. `wrapped` says that its request is none either,
    and so travels in the argument `input`.
    """

    name: str
    purpose: str
    input: dict[str, Any]  # JSON Schema 2020-12
    output: dict[str, Any] | None
    wrapped: bool = False


def card_of(manifest: Manifest) -> Card:
    """The tool that a release is."""
    request = object_schema(manifest.request_schema)
    reply = object_schema(manifest.reply_schema)
    if request is not None:
        return Card(manifest.integration, manifest.purpose, request, reply)
    definitions = {"$defs": manifest.request_schema.get("$defs", {})}
    inner = {key: value for key, value in manifest.request_schema.items() if key != "$defs"}
    wrapping = {
        "type": "object",
        "properties": {WRAPPED: inner},
        "required": [WRAPPED],
        "additionalProperties": False,
    }
    if definitions["$defs"]:
        wrapping |= definitions
    return Card(manifest.integration, manifest.purpose, wrapping, reply, wrapped=True)


def object_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The same schema with `"type": "object"` at its root, or None where it is no object.

    MCP takes no other at the root. A reference there is followed; what it refers to stays among the
    definitions, for it may refer to itself.
    """
    if schema.get("type") == "object":
        return schema
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
        return None
    definitions = cast("dict[str, Any]", schema.get("$defs", {}))
    meant = definitions.get(reference.removeprefix("#/$defs/"))
    if not isinstance(meant, dict):
        return None
    found = cast("dict[str, Any]", meant)
    if found.get("type") != "object":
        return None
    others = {key: value for key, value in schema.items() if key != "$ref"}
    if not _refers(definitions):
        others.pop("$defs", None)
    return {**found, **others}


def body_of(card: Card, arguments: bytes) -> bytes:
    """The body of the call that a tool call is: the arguments as the client wrote them.

    Raises:
        MalformedBody: They are not an object, or not the one with `input` that the tool takes.
    """
    if not card.wrapped:
        return arguments
    try:
        fields = _raw_fields(arguments)
    except msgspec.DecodeError:
        fields = {}
    if fields.keys() != {WRAPPED}:
        raise MalformedBody(
            f"{card.name}.arguments",
            got=f"the arguments {', '.join(sorted(fields))}" if fields else "no arguments",
            promised=f"one argument, {WRAPPED}",
        )
    return bytes(fields[WRAPPED])


def _refers(definitions: Any) -> bool:
    """Whether anything in the definitions refers to another of them."""
    return b'"$ref"' in msgspec.json.encode(definitions)
