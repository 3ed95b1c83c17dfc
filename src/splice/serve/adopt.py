"""JSON Schemas of declared types, moved among the components of a larger document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

REF = "#/components/schemas/"


def adopt(schema: Mapping[str, Any], name: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema, which is now in `schemas`, as are its own definitions."""
    definitions = cast("dict[str, Any]", schema.get("$defs", {}))
    names = {old: f"{name}{re.sub(r'[^A-Za-z0-9]', '', old)}" for old in definitions}
    top = {k: v for k, v in schema.items() if k != "$defs"}
    if list(top) == ["$ref"]:
        names[cast("str", top["$ref"]).rpartition("/")[2]] = name
    for old, definition in definitions.items():
        schemas[names[old]] = _renamed(definition, names)
    if list(top) != ["$ref"]:
        schemas[name] = _renamed(top, names)
    return {"$ref": REF + name}


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        items = cast("dict[str, Any]", node).items()
        return {
            k: REF + names.get(v.rpartition("/")[2], v.rpartition("/")[2])
            if k == "$ref" and isinstance(v, str)
            else _renamed(v, names)
            for k, v in items
        }
    if isinstance(node, list):
        return [_renamed(one, names) for one in cast("list[Any]", node)]
    return node
