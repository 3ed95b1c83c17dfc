"""A JSON Schema in the form that strict structured outputs accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

# Annotations that strict servers refuse; they constrain nothing.
_DROPPED = frozenset({"default", "examples", "discriminator", "$comment", "$schema", "$id"})
_NAMED = frozenset({"properties", "$defs", "definitions"})  # name to schema
_LISTED = frozenset({"anyOf", "allOf"})


def strict_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema with every object closed and every property required, and True.

    Where that cannot be said (open maps, tuples), the schema as it is, and False: ask without
    `strict` then. What satisfies the strict form satisfies the original, but for `oneOf`, which
    becomes `anyOf` (strict servers know no other); the engine checks the answer in any case.
    """
    if not _expressible(schema):
        return dict(schema), False
    strict = _strict(schema)
    reference = strict.get("$ref")
    definitions = strict.get("$defs", {})
    if isinstance(reference, str) and reference.startswith("#/$defs/"):  # the root must be plain
        name = reference.removeprefix("#/$defs/")
        if name in definitions:
            strict = {**definitions[name], "$defs": definitions}
    return strict, True


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One schema and all below it, rebuilt."""
    if "$ref" in schema:  # strict servers allow nothing beside a reference but, at the root, $defs
        kept = {"$ref": schema["$ref"]}
        return kept | {key: _each(schema[key]) for key in _NAMED & schema.keys()}
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _DROPPED:
            continue
        if key in _NAMED:
            strict[key] = _each(value)
        elif key == "oneOf":
            strict["anyOf"] = [_strict(option) for option in value]
        elif key in _LISTED:
            strict[key] = [_strict(option) for option in value]
        elif key == "items" and isinstance(value, Mapping):
            strict[key] = _strict(cast("Mapping[str, Any]", value))
        else:
            strict[key] = value
    if _is_object(schema):
        strict.setdefault("properties", {})
        strict["additionalProperties"] = False
        strict["required"] = list(strict["properties"])
    return strict


def _each(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _strict(schema) for name, schema in named.items()}


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return (
        kind == "object" or "properties" in schema or (isinstance(kind, list) and "object" in kind)
    )


def _expressible(schema: Mapping[str, Any]) -> bool:
    """Whether closing every object keeps what the schema means."""
    if "prefixItems" in schema or "patternProperties" in schema:
        return False
    if _is_object(schema):
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping) or (extra is not False and not schema.get("properties")):
            return False
    below: list[Any] = [s for key in _NAMED for s in schema.get(key, {}).values()]
    below += [s for key in (*_LISTED, "oneOf") for s in schema.get(key, [])]
    below.append(schema.get("items"))
    return all(_expressible(cast("Mapping[str, Any]", s)) for s in below if isinstance(s, Mapping))
