"""Two places with one noun each: what goes from here to there, and from there to here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

_V = TypeVar("_V", int, str)


class Merge(msgspec.Struct, Generic[_V], frozen=True):
    """What to set on either side, and the names for which both had changed."""

    here: dict[str, _V]
    there: dict[str, _V]
    conflicts: tuple[str, ...]


def merged(
    base: Mapping[str, _V],
    ours: Mapping[str, _V],
    theirs: Mapping[str, _V],
    only_ours: tuple[str, ...] = (),
) -> Merge[_V]:
    """What makes both sides alike.

    Where only one side has changed since `base`, its value goes to the other. Where both have, ours
    wins. Nothing is taken away: a name that one side lacks is set there. Names in `only_ours` never
    come here.

    Args:
        base: What both had after the last time.
        ours: What is here.
        theirs: What is there.
        only_ours: Names that are decided here.
    """
    here: dict[str, _V] = {}
    there: dict[str, _V] = {}
    conflicts: list[str] = []
    for name in sorted({*ours, *theirs}):
        mine, other, before = ours.get(name), theirs.get(name), base.get(name)
        if mine == other:
            continue
        if name in only_ours:
            if mine is not None:
                there[name] = mine
            if other is not None and other != before:
                conflicts.append(name)
        elif mine is None or (mine == before and other is not None):
            if other is not None:
                here[name] = other
        else:
            there[name] = mine
            if other is not None and other != before:
                conflicts.append(name)
    return Merge(here, there, tuple(conflicts))
