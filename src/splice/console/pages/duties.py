"""Duties: what the law asks of an integration, what proves it, and incidents with their clocks."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException

from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.console.search import id_in
from splice.control.duties.checklist import checklist
from splice.control.duties.known import Known
from splice.core.duties import Incident
from splice.declare.law import eu_ai_act


def duties(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The checklist of one integration; all duties where it does not say what it is for."""
    member = room.member(visit, named["name"])
    shelves, law = room.shelves, eu_ai_act()
    known = Known(shelves, member.name, visit.now_us, room.terms)
    unsaid = known.manifest.assessment is None
    found = checklist(known, law, all_duties=unsaid or visit.query.get("all") == "1")
    shown = {
        "member": member,
        "found": found,
        "law": law,
        "attested": known.attestations,
        "incidents": _with_clocks(known.incidents, visit.now_us),
        "unsaid": unsaid,
    }
    return Page("duties.html", f"Duties of {member.name}", shown)


def incidents(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """All incidents that a visitor may know of."""
    del named
    found = [one for one in room.shelves.duties.incidents() if visit.may_see(one.integration)]
    shown = {"incidents": _with_clocks(found, visit.now_us), "law": eu_ai_act()}
    return Page("incidents.html", "Incidents", shown)


def incident(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One incident: what happened, its clock, and the evidence that is kept.

    Raises:
        HTTPException: There is none of that id, or none that the visitor may know of.
    """
    incident_id = id_in(named["incident_id"])
    found = room.shelves.duties.incident(incident_id) if incident_id else None
    if found is None or not visit.may_see(found.integration):
        raise HTTPException(404)
    law = eu_ai_act()
    freezes = room.shelves.duties.freezes(found.integration, lifted=True)
    shown = {
        "one": found,
        "kind": next((kind for kind in law.incidents if kind.key == found.kind), None),
        "clock": clock_of(found, visit.now_us),
        "freeze": next((one for one in freezes if one.id == found.freeze), None),
        "events": room.changes.of(found.integration).incidents.get(found.id, []),
        "law": law,
    }
    return Page("incident.html", f"Incident of {found.integration}", shown)


def clock_of(incident: Incident, now_us: int) -> tuple[str, str]:
    """What is left of a clock in words, and how bad that is."""
    if incident.reported_us:
        late = incident.reported_us > incident.due_us
        return ("reported too late", "bad") if late else ("reported", "good")
    left_h = incident.left_us(now_us) / 3_600_000_000
    if left_h <= 0:
        return f"{-left_h:.0f} h too late", "bad"
    left = f"{left_h / 24:.1f} d left" if left_h >= 48 else f"{left_h:.1f} h left"
    return left, "bad" if left_h < 24 else "warn"


def _with_clocks(
    found: tuple[Incident, ...] | list[Incident], now_us: int
) -> list[tuple[Incident, tuple[str, str]]]:
    return [(one, clock_of(one, now_us)) for one in found]
