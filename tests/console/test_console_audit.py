"""The page of the audit log: filtered, paged, and of what the visitor may know of."""

from __future__ import annotations

import re

import pytest
from starlette.exceptions import HTTPException

from splice.console.desk import Visit
from splice.console.pages.audit import audit, event
from splice.console.span import span_of
from splice.core.access import ANYONE, Grant, Principal, Role
from splice.core.audit import AuditEvent, Origin
from splice.ports.audit import EventFilter
from splice.testing.project import Server


class Log:
    """An audit log in memory, as the page asks it."""

    def __init__(self) -> None:
        self.kept = [
            AuditEvent(n, n, "ada", "release.live", f"claims-{n % 2}", origin=Origin("cli"))
            for n in range(1, 241)
        ]

    def find(self, wanted: EventFilter) -> list[AuditEvent]:
        below = wanted.before or 1 << 60
        return [one for one in self.kept[::-1] if one.number < below][: wanted.limit]

    def event(self, number: int) -> AuditEvent | None:
        return self.kept[number - 1] if 0 < number <= len(self.kept) else None


class Room:
    """As much of a room as the page needs."""

    def __init__(self) -> None:
        self.shelves = self
        self.checkpoints = self
        self.audit = Log()
        self.reviews = self

    def newest_head(self) -> None:
        return None

    def review(self, review_id: str) -> None:
        return None


def visit(principal: Principal, **query: str) -> Visit:
    return Visit(principal, "/console", "/audit", query, span_of({}, 10**15), 10**15)


VIEWER = Principal(name="bob", grants=(Grant(Role.VIEWER, ("claims-1",)),))


def test_a_visitor_sees_events_of_his_integrations_and_whole_pages_of_them() -> None:
    page = audit(Room(), visit(VIEWER), {}).values  # type: ignore[arg-type]

    assert [one.subject for one in page["events"]] == ["claims-1"] * 50
    assert page["more"] == page["events"][-1].number
    again = audit(Room(), visit(VIEWER, before=str(page["more"])), {}).values  # type: ignore[arg-type]
    assert again["events"][0].number == page["more"] - 2


def test_who_may_see_all_sees_all() -> None:
    page = audit(Room(), visit(ANYONE), {}).values  # type: ignore[arg-type]

    assert [one.number for one in page["events"]] == list(range(240, 190, -1))


def test_an_event_of_another_integration_is_not_there() -> None:
    assert event(Room(), visit(VIEWER), {"number": "3"}).values["event"].number == 3  # type: ignore[arg-type]

    for number in ("2", "0", "999", "x", "²"):
        with pytest.raises(HTTPException):
            event(Room(), visit(VIEWER), {"number": number})  # type: ignore[arg-type]


def test_the_page_filters_and_leads_to_the_event(console: Server) -> None:
    whole = console.get("/console/audit").body.decode()
    some = console.get("/console/audit?subject=fraud-screening&action=release.").body.decode()
    none = console.get("/console/audit?by=nobody").body.decode()

    assert "Audit log" in whole
    numbers = re.findall(r'data-href="/console/audit/(\d+)"', some)
    assert numbers
    one = console.get(f"/console/audit/{numbers[0]}").body.decode()
    assert "fraud-screening" in one
    assert "After" in one
    assert "No event of this kind" in none
