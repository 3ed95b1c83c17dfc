"""The live tail: the newest calls; the page's script adds those that come."""

from __future__ import annotations

from collections.abc import Mapping

from splice.console.desk import Visit
from splice.console.finding import find
from splice.console.room import Page, Room
from splice.console.search import Search
from splice.ports.stores import CallFilter

_FIRST = 25


def live(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The page of the live tail."""
    integration = visit.query.get("integration") or None
    found = find(room, visit, Search(CallFilter(integration=integration)), _FIRST)
    shown = {
        "records": found.records,
        "members": room.members(visit),
        "integration": integration or "",
        "source": visit.plain("/live/events", integration=integration),
    }
    return Page("live.html", "Live", shown)
