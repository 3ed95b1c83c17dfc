"""What changes from one release to the next, in lines a person reads."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from splice.core.release import Bundle, Manifest, PinnedRoute


class Change(msgspec.Struct, frozen=True):
    """One difference; `breaking` where a caller of the older one may fail on the newer."""

    what: str
    before: str
    after: str
    breaking: bool = False

    def __str__(self) -> str:
        mark = "  (breaks callers)" if self.breaking else ""
        return f"{self.what}: {self.before or 'nothing'} -> {self.after or 'nothing'}{mark}"


def manifest_diff(before: Manifest, after: Manifest) -> list[Change]:
    """Differences of two manifests of one integration, most important first."""
    changes = [
        Change(name, str(old), str(new))
        for name, old, new in (
            ("purpose", before.purpose, after.purpose),
            ("risk", before.risk, after.risk),
            ("deadline", f"{before.deadline_s:g} s", f"{after.deadline_s:g} s"),
            ("objective", _short(before.objective), _short(after.objective)),
        )
        if old != new
    ]
    changes = _routes(before.routes, after.routes) + changes
    changes += _types("request", before.request_schema, after.request_schema)
    changes += _types("reply", before.reply_schema, after.reply_schema)
    if before.bundle != after.bundle:
        changes.append(Change("source", before.bundle[:12], after.bundle[:12]))
    return changes


def _short(value: dict[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in value.items())


def _routes(before: tuple[PinnedRoute, ...], after: tuple[PinnedRoute, ...]) -> list[Change]:
    old, new = {r.label: r for r in before}, {r.label: r for r in after}
    changes: list[Change] = []
    if [r.label for r in before] != [r.label for r in after]:
        changes.append(Change("routes", ", ".join(old), ", ".join(new)))
    for label in (one for one in new if one in old):
        if old[label].version != new[label].version:
            changes.append(Change(label, old[label].version, new[label].version))
        if old[label].timeout_s != new[label].timeout_s:
            changes.append(
                Change(
                    f"{label} timeout", f"{old[label].timeout_s:g} s", f"{new[label].timeout_s:g} s"
                )
            )
        if old[label].params != new[label].params:
            changes.append(
                Change(f"{label} params", _short(old[label].params), _short(new[label].params))
            )
    return changes


def _types(which: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    old, new = _fields(before), _fields(after)
    changes: list[Change] = []
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            changes.append(Change(f"{which}.{name}", old[name][0], "", breaking=True))
        elif name not in old:
            breaking = which == "request" and new[name][1]
            changes.append(Change(f"{which}.{name}", "", new[name][0], breaking=breaking))
        elif old[name] != new[name]:
            changes.append(Change(f"{which}.{name}", old[name][0], new[name][0], breaking=True))
    return changes


def _fields(schema: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Field name to (its schema as short text, is it required)."""
    definitions = schema.get("$defs", {})
    top = schema
    if "$ref" in schema:
        top = definitions.get(schema["$ref"].rpartition("/")[2], {})
    required = set(top.get("required", ()))
    return {
        name: (msgspec.json.encode(_inline(field, definitions)).decode(), name in required)
        for name, field in top.get("properties", {}).items()
    }


def _inline(field: dict[str, Any], definitions: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    if "$ref" in field and depth < 8:
        return _inline(
            definitions.get(field["$ref"].rpartition("/")[2], {}), definitions, depth + 1
        )
    return field


def source_diff(before: Bundle, after: Bundle) -> str:
    """A unified diff of the sources and prompts of two bundles; empty where they are the same."""
    lines: list[str] = []
    for path in dict.fromkeys([*before.files, *after.files]):
        old = before.files.get(path, "").splitlines(keepends=True)
        new = after.files.get(path, "").splitlines(keepends=True)
        lines += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
