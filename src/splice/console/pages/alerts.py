"""Alerts: what monitors found, what was done, and the figures and calls behind each."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException

from splice.console.desk import Visit
from splice.console.room import Page, Room
from splice.console.search import id_in
from splice.monitor.watch import findings, open_alerts
from splice.ports.alerts import AlertFilter

_CALLS = 50


def alerts(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """All of them, or those of one integration."""
    name = named.get("name")
    member = room.member(visit, name) if name else None
    store = room.shelves.alerts
    span = visit.span
    past = store.alerts(
        AlertFilter(
            integration=name, state="resolved", since_us=span.since_us, until_us=span.until_us
        )
    )
    mutes = store.mutes(visit.now_us)
    shown = {
        "member": member,
        "open": [one for one in open_alerts(store, name) if visit.may_see(one.integration)],
        "past": [one for one in past if visit.may_see(one.integration)],
        "findings": [one for one in findings(store, name) if visit.may_see(one.integration)],
        "mutes": [
            one
            for one in mutes
            if visit.may_see(one.integration) and name in (None, one.integration)
        ],
    }
    return Page("alerts.html", f"Alerts of {name}" if name else "Alerts", shown)


def alert(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One alert, with the figures and calls behind it.

    Raises:
        HTTPException: There is none of that id, or none that the visitor may know of.
    """
    alert_id = id_in(named["alert_id"])
    found = room.shelves.alerts.alert(alert_id) if alert_id else None
    if found is None or not visit.may_see(found.integration):
        raise HTTPException(404)
    ids = () if found.measured is None else found.measured.calls[:_CALLS]
    records = room.shelves.records.get_many(ids)
    shown = {
        "member": room.member(visit, found.integration),
        "alert": found,
        "records": [
            records[one]
            for one in ids
            if one in records
            and room.may_read(visit.principal, found.integration, records[one].caller)
        ],
    }
    return Page("alert.html", f"{found.monitor} of {found.integration}", shown)
