"""Releases of an integration: what each changed, and two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.core.errors import SpliceError, StoreError, UnknownRelease
from splice.core.release import Release
from splice.core.rollups import Totals, Wanted
from splice.declare.diff import Change, manifest_diff, source_diff
from splice.monitor import traffic

_SHOWN = 100


class Step(msgspec.Struct, frozen=True):
    """A release, what it changed, and what its calls came to in the time of the page."""

    release: Release
    changes: list[Change]
    totals: Totals
    live: bool = False


def releases(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """All releases, newest first."""
    member = room.member(visit, named["name"])
    found = room.shelves.releases.releases(member.name)[:_SHOWN]
    wanted = Wanted(visit.span.window, member.name)
    parts = {one.name: one.totals for one in traffic.breakdown(room.rollups, wanted, "release")}
    live = member.release.number if member.release else 0
    steps = [
        Step(
            one,
            [] if before is None else manifest_diff(before.manifest, one.manifest),
            parts.get(str(one.number), Totals()),
            one.number == live,
        )
        for one, before in zip(found, [*found[1:], None], strict=True)
    ]
    shown = {"member": member, "steps": steps, "here": "releases"}
    return Page("releases.html", f"Releases of {member.name}", shown)


def release(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One release: what it pins, and what its sources are."""
    member = room.member(visit, named["name"])
    one = _release(room, member.name, named["number"])
    before = room.shelves.releases.release(member.name, one.number - 1)
    wanted = Wanted(visit.span.window, member.name, one.number)
    shown = {
        "member": member,
        "release": one,
        "before": before,
        "changes": [] if before is None else manifest_diff(before.manifest, one.manifest),
        "files": _files(room, one),
        "totals": traffic.totals(room.rollups, wanted),
        "live": member.release is not None and member.release.number == one.number,
        "here": "releases",
    }
    return Page("release.html", f"{member.name}, release {one.number}", shown)


def compare(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """Two releases: what differs in them, and in what their calls came to."""
    member = room.member(visit, named["name"])
    all_of = room.shelves.releases.releases(member.name)
    newest = [one.number for one in all_of]
    one, other = (
        _release(room, member.name, visit.query.get(key) or str(number))
        for key, number in (("a", (newest[1:2] or newest[:1])[0] if newest else 0),
                            ("b", newest[0] if newest else 0))
    )  # fmt: skip
    totals = [
        traffic.totals(room.rollups, Wanted(visit.span.window, member.name, each.number))
        for each in (one, other)
    ]
    shown = {
        "member": member, "one": one, "other": other, "numbers": newest, "totals": totals,
        "changes": manifest_diff(one.manifest, other.manifest),
        "source": _source(room, one, other), "here": "releases",
    }  # fmt: skip
    title = f"{member.name}: release {one.number} and {other.number}"
    return Page("compare.html", title, shown)


def _release(room: Room, name: str, number: str) -> Release:
    text = number if number.isascii() and number.isdigit() and len(number) < 10 else ""
    found = room.shelves.releases.release(name, int(text)) if text else None
    if found is None:
        raise UnknownRelease(name, got=f"no release {number[:20]}", mend="see its releases")
    return found


def _source(room: Room, one: Release, other: Release) -> str:
    try:
        bundles = [room.shelves.releases.bundle(each.manifest.bundle) for each in (one, other)]
    except SpliceError:
        return ""
    return source_diff(*bundles)


def _files(room: Room, one: Release) -> dict[str, str]:
    try:
        return dict(room.shelves.releases.bundle(one.manifest.bundle).files)
    except StoreError:
        return {}
