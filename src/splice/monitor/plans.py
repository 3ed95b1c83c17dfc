"""What a release says about the profiles of its calls, from its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import msgspec

from splice.core.profiles import PinnedProfile
from splice.core.release import Manifest
from splice.ports.stores import ReleaseStore

_MOST_PLANS = 10_000
_MOST_DEPTH = 4
_MOST_WORDS = 1000


def plans_from(releases: ReleaseStore) -> Callable[[str, int], PinnedProfile]:
    """Plans by integration and number of the release, each read once: a release never changes."""
    known: dict[tuple[str, int], PinnedProfile] = {}

    def plan(integration: str, number: int) -> PinnedProfile:
        key = (integration, number)
        if key not in known:
            if len(known) >= _MOST_PLANS:
                known.clear()
            release = releases.release(integration, number)
            known[key] = PinnedProfile() if release is None else plan_of(release.manifest)
        return known[key]

    return plan


def plan_of(manifest: Manifest) -> PinnedProfile:
    """The plan of a manifest, with the words that its types declare."""
    words = dict(_declared(manifest.request_schema, ""))
    words |= dict(_declared(manifest.reply_schema, "reply."))
    plan = msgspec.structs.replace(manifest.profile or PinnedProfile(), words=words)
    protect = manifest.protect
    if protect is None or not protect.encrypt:
        return plan
    return msgspec.structs.replace(plan, hidden=True, person=protect.person)


def _declared(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Fields whose type names its words, by column."""
    yield from _fields(_resolved(schema, schema), schema, prefix, 0)


def _fields(
    part: Mapping[str, Any], root: Mapping[str, Any], prefix: str, depth: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    properties: Any = part.get("properties", {})
    if depth > _MOST_DEPTH or not isinstance(properties, dict):
        return
    for name, field in cast("dict[str, Any]", properties).items():
        words: list[str] = []
        for choice in _choices(field, root):
            values = [*cast("list[Any]", choice.get("enum", ())), choice.get("const")]
            words += [value for value in values if isinstance(value, str)]
            yield from _fields(choice, root, f"{prefix}{name}.", depth + 1)
        if words and len(words) <= _MOST_WORDS:
            yield f"{prefix}{name}", tuple(words)


def _choices(field: Any, root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A field's schema, or those that it may be: what is optional is a choice of two."""
    if not isinstance(field, dict):
        return
    found = _resolved(cast("dict[str, Any]", field), root)
    several: Any = found.get("anyOf") or found.get("oneOf")
    if isinstance(several, list):
        for one in cast("list[Any]", several):
            if isinstance(one, dict):
                yield _resolved(cast("dict[str, Any]", one), root)
    else:
        yield found


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the document names."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found: Any = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
