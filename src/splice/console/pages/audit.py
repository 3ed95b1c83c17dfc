"""The audit log: who changed what, from where and why, and how far it is proved."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException

from splice.console.desk import Visit
from splice.console.paging import ROWS, number_of, seen
from splice.console.room import Page, Room
from splice.control.audit_words import details_of
from splice.core.access import Permission
from splice.core.audit import AuditEvent
from splice.ports.audit import EventFilter

SURFACES = ("cli", "console", "api", "chore")


def audit(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """Events, newest first, that the visitor may see."""
    kept = {name: visit.query.get(name, "")[:200] for name in ("subject", "by", "action")}
    surface = visit.query.get("from", "")
    wanted = EventFilter(
        kept["subject"], kept["by"], kept["action"], surface if surface in SURFACES else "",
        number_of(visit.query.get("before", "")), ROWS + 1,
    )  # fmt: skip

    def below(number: int | None) -> list[AuditEvent]:
        return room.shelves.audit.find(msgspec.structs.replace(wanted, before=number))

    found = seen(below, lambda one: one.number, lambda one: _may_see(visit, one), wanted.before)
    head = room.shelves.checkpoints.newest_head() if _sees_all(visit) else None
    shown = {
        "events": found[:ROWS],
        "more": found[ROWS - 1].number if len(found) > ROWS else None,
        "kept": {**kept, "from": wanted.surface},
        "surfaces": SURFACES,
        "head": None if head is None else head.head,
        "paged": wanted.before is not None,
    }
    return Page("audit.html", "Audit log", shown)


def event(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One event, with what was before and after.

    Raises:
        HTTPException: There is none of that number, or none that the visitor may know of.
    """
    number = number_of(named["number"]) or 0
    found = room.shelves.audit.event(number)
    if found is None or not _may_see(visit, found):
        raise HTTPException(404)
    details = details_of(found, room.shelves.reviews.review)
    values = {
        name: _json(value)
        for name, value in (
            ("Before", found.before), ("After", found.after), ("Details", details or None),
        )
        if value is not None
    }  # fmt: skip
    return Page("audit_event.html", f"Event {number}", {"event": found, "values": values})


def _may_see(visit: Visit, event: AuditEvent) -> bool:
    """Models, keys and people belong to no integration: whoever may see all sees their events."""
    return _sees_all(visit) or visit.may_see(event.subject)


def _sees_all(visit: Visit) -> bool:
    return visit.principal.may(Permission.SEE, "*")


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()
