"""The models that a key may use: integrations, and the aliases they are also known by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from splice.core.access import Principal
from splice.core.errors import UnknownModel
from splice.engine.line import Line


def visible_models(lines: Mapping[str, Line], principal: Principal) -> list[dict[str, Any]]:
    """One entry a name, in OpenAI's shape, sorted; an alias stands beside its integration."""
    key = principal.key
    named: dict[str, dict[str, Any]] = {}
    for line in sorted(lines.values(), key=lambda one: one.name):
        if key is not None and not key.may_call(line.name):
            continue
        for name in (line.name, *line.declaration.cls.aliases):
            named.setdefault(name, _model(name, line))
    return [named[name] for name in sorted(named)]


def one_model(shown: list[dict[str, Any]], written: str) -> dict[str, Any]:
    """The entry of a name as it stands in a path.

    Raises:
        UnknownModel: The key may use no model of that name.
    """
    name = unquote(written)
    for model in shown:
        if model["id"] == name:
            return model
    raise UnknownModel(
        "model",
        got=repr(name[:128]),
        promised=f"one of {', '.join(one['id'] for one in shown) or 'none yet'}",
        mend="GET /v1/models lists what this key may use",
    )


def _model(name: str, line: Line) -> dict[str, Any]:
    created = line.release.created_us // 1_000_000
    return {"id": name, "object": "model", "created": created, "owned_by": "splice"}
