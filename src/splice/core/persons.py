"""Persons: whom a request is about, by a path that its declaration names."""

from __future__ import annotations

from typing import Any, cast

import msgspec

_decode = msgspec.json.Decoder().decode


def person_in(body: bytes | None, path: str) -> str:
    """Whom a body is about; empty where it does not say.

    Looked for in JSON, and in `data` of a structured CloudEvent.
    """
    try:
        plain: Any = _decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    found = at_path(plain, path)
    if found is None and isinstance(plain, dict):
        found = at_path(cast("dict[str, Any]", plain).get("data"), path)
    return _named(found)


def at_path(body: Any, path: str) -> Any:
    """The value at a path of names in a JSON value; None where there is none."""
    for part in path.split("."):
        if not isinstance(body, dict):
            return None
        body = cast("dict[str, Any]", body).get(part)
    return body


def _named(value: Any) -> str:
    """A person as a field names him; empty where it names nobody."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return str(value)
