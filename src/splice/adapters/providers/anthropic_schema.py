"""A JSON Schema in the form that Anthropic's structured outputs and strict tools accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from splice.adapters.providers.schema import strict_schema

# What constrains the answer there; the rest is told to the model in the description.
_KEPT = frozenset({
    "type", "properties", "required", "additionalProperties", "items", "anyOf", "allOf", "enum",
    "const", "$ref", "$defs", "definitions", "description", "title",
})  # fmt: skip
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "allOf")


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema with every object closed, and bounds it cannot enforce told in words.

    None where closing would change what it means (open maps, tuples), and where it is no schema of
    schemas at all: tell it in words then. What satisfies it need not satisfy the bounds told in
    words; the engine checks.

    Source: Anthropic, "Structured outputs", JSON Schema limitations.
    """
    if not _is_well_formed(schema):
        return None
    strict, closed = strict_schema(schema)
    return _plain(strict) if closed else None


def _is_well_formed(schema: object) -> bool:
    """Whether every part is what its keyword demands; schemas come from callers, too."""
    if not isinstance(schema, Mapping):
        return False
    fields = cast("Mapping[str, Any]", schema)
    below: list[object] = []
    for key in _NAMED:
        named = fields.get(key, {})
        if not isinstance(named, Mapping):
            return False
        below += cast("Mapping[str, object]", named).values()
    for key in (*_LISTED, "oneOf"):
        listed = fields.get(key, [])
        if not isinstance(listed, list):
            return False
        below += cast("list[object]", listed)
    below += [fields["items"]] if "items" in fields else []
    return all(_is_well_formed(one) for one in below)


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One schema and all below it, rebuilt of what is supported."""
    plain: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NAMED:
            plain[key] = {name: _plain(below) for name, below in value.items()}
        elif key in _LISTED:
            plain[key] = [_plain(option) for option in value]
        elif key == "items":
            plain[key] = _plain(value)
        elif _enforced(key, value):
            plain[key] = value
        else:
            told[key] = value
    if told:
        words = msgspec.json.encode(told).decode()
        before = plain.get("description")
        plain["description"] = f"{before}\n\n{words}" if before else words
    return plain


def _enforced(key: str, value: object) -> bool:
    if key == "format":
        return isinstance(value, str) and value in _FORMATS
    if key == "minItems":
        return value in (0, 1)
    return key in _KEPT
