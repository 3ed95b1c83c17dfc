"""Reads the flavors of an MLmodel file: the few lines of YAML that MLflow writes there, no more."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from splice.core.errors import ModelUnavailable

_LINE = re.compile(r"( *)([A-Za-z0-9_.-]+):(?: +(.*))?")


def flavors_of(text: str, where: str) -> dict[str, dict[str, str]]:
    """Flavor to its own plain fields. What is nested deeper is passed over.

    Raises:
        ModelUnavailable: There are none.
    """
    found = _of_json(text) if text.lstrip().startswith("{") else _of_yaml(text)
    if not found:
        raise ModelUnavailable(where, got="an MLmodel file without flavors", promised="MLflow's")
    return found


def _of_json(text: str) -> dict[str, dict[str, str]]:
    try:
        flavors: Any = json.loads(text).get("flavors")
    except (ValueError, AttributeError):
        return {}
    if not isinstance(flavors, dict):
        return {}
    return {
        str(name): {str(k): str(v) for k, v in cast("dict[Any, Any]", fields).items()}
        for name, fields in cast("dict[Any, Any]", flavors).items()
        if isinstance(fields, dict)
    }


def _of_yaml(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    inside, flavor = False, ""
    for line in text.splitlines():
        matched = _LINE.fullmatch(line.rstrip())
        if matched is None:
            continue
        depth, key, value = len(matched[1]), matched[2], matched[3] or ""
        if depth == 0:
            inside = key == "flavors"
        elif inside and depth == 2:
            flavor = key
            found[flavor] = {}
        elif inside and depth == 4 and flavor:
            found[flavor][key] = value.strip("'\"")
    return found
