"""The models that a key may use: integrations, and the aliases they are also known by.

Both vendors list their models at one path: an entry has the fields of OpenAI's and of Anthropic's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from splice.core.access import Principal
from splice.core.errors import UnknownModel
from splice.engine.line import Line
from splice.engine.names import LISTED


def visible_models(lines: Mapping[str, Line], principal: Principal) -> list[dict[str, Any]]:
    """One entry a name, sorted; an alias stands beside its integration."""
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
        mend=LISTED,
    )


def _model(name: str, line: Line) -> dict[str, Any]:
    created = line.release.created_us // 1_000_000
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "splice",
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z"),
    }


def model_list(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole list; it is never long enough for a second page."""
    return {
        "object": "list",
        "data": shown,
        "has_more": False,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }
