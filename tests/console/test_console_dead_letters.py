"""The page of dead letters: what a visitor may see of them, and what he may do."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from seeded import HOSTILE, ORDERS
from starlette.testclient import TestClient

import splice
from splice.control.keys import KeyRequest, Keys
from splice.core.access import Grant, Role
from splice.core.events import DeadLetter, Event, Origin, Settled
from splice.ports.audit import EventFilter
from splice.testing.project import Project

TOML = '[project]\napply = "new"\n[access]\nkeys = "required"\n'
FORM = {"content-type": "application/x-www-form-urlencoded"}


class House:
    """An application with dead letters of two integrations, and who visits it."""

    def __init__(self, folder: Path) -> None:
        made = Project(folder / "orders", TOML)
        made.declare(ORDERS)
        self.app = splice.App(project=made.folder)
        self.browser = TestClient(
            self.app.asgi(), base_url="http://localhost", follow_redirects=False
        )

    @property
    def stores(self) -> Any:
        return self.app.services.stores

    def put(self, integration: str, count: int, value: bytes = b"{}") -> None:
        now_us = time.time_ns() // 1000
        origins = [Origin(f"queue:{integration}", 0, number) for number in range(count)]
        events = [Event(at, b"\xff", value, (("note", HOSTILE.encode()),)) for at in origins]
        letters = [
            DeadLetter(integration, one, "schema_mismatch", "body", HOSTILE, 1, now_us)
            for one in events
        ]
        settled = [Settled(a, dead=b) for a, b in zip(events, letters, strict=True)]
        self.stores.events.settle(settled, now_us=now_us)

    def key(self, role: Role, integration: str, tenant: str = "") -> dict[str, str]:
        """The header of a new key; returns once the server knows it."""
        grants = (Grant(role, (integration,)),)
        asked = KeyRequest(name=f"k{time.time_ns()}", grants=grants, tenant=tenant)
        keys = Keys(self.stores.keys, pepper=b"", currency="EUR")
        token = keys.create(asked, by="test", now_us=time.time_ns() // 1000).token
        header = {"authorization": f"Bearer {token}"}
        give_up = time.monotonic() + 60
        while self.browser.get("/console", headers=header).status_code == 401:
            assert time.monotonic() < give_up
            time.sleep(0.02)
        return header

    def page(self, path: str, key: dict[str, str]) -> str:
        answer = self.browser.get(f"/console/dead-letters{path}", headers=key)
        assert answer.status_code == 200, answer.text
        assert HOSTILE not in answer.text
        return html.unescape(answer.text)

    def does(self, path: str, key: dict[str, str], form: str = "") -> int:
        answer = self.browser.post(
            f"/console/dead-letters/{path}", content=form, headers={**key, **FORM}
        )
        return answer.status_code


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    with made.browser:
        yield made


def test_dead_letters_are_listed_in_pages_of_what_the_visitor_may_see(house: House) -> None:
    house.put("orders", 60)
    house.put("refunds", 120)
    viewer = house.key(Role.VIEWER, "orders")

    first = house.page("", viewer)
    second = house.page("?before=11", viewer)

    assert first.count('data-href="/console/dead-letters/') == 50
    assert "before=11" in first
    assert second.count('data-href="/console/dead-letters/') == 10
    assert HOSTILE in first  # as text
    assert "refunds" not in first
    assert "No event is replayed" in house.page("?state=replayed", viewer)
    assert "No event is dead" in house.page("?integration=refunds", viewer)
    for number in ("61", "0", "181", "x", "²", "9" * 30):
        wrong = house.browser.get(f"/console/dead-letters/{number}", headers=viewer)
        assert wrong.status_code == 404, number


def test_who_may_read_calls_reads_the_event_and_a_tenant_does_not(house: House) -> None:
    house.put("orders", 1, b'{"amount":"many"}')
    house.put("orders", 1, b"\xff\xfe")

    whole = house.page("/1", house.key(Role.VIEWER, "orders"))
    bytes_ = house.page("/2", house.key(Role.VIEWER, "*"))
    tenant = house.page("/1", house.key(Role.VIEWER, "orders", tenant="a"))

    assert '{"amount":"many"}' in whole
    assert HOSTILE in whole
    assert "2 bytes that are no text, in hexadecimal: ff fe" in bytes_
    assert "many" not in tenant
    assert "queue:orders" in tenant
    assert "Try it again" not in whole  # a viewer operates nothing


def test_an_operator_replays_one_and_gives_one_up_and_it_is_audited(house: House) -> None:
    house.put("orders", 2)
    operator = house.key(Role.OPERATOR, "orders")
    assert "Try it again" in house.page("/1", operator)

    assert house.does("1/replay", operator) == 303
    assert house.does("2/drop", operator, "why=") == 422
    assert house.does("2/drop", operator, "why=a+test") == 303

    assert house.stores.queue.depth("orders") == 1
    assert [house.stores.dead_letters.dead_letter(n).state for n in (1, 2)] == [
        "replayed", "dropped",
    ]  # fmt: skip
    assert house.stores.dead_letters.dead_letter(2).event.value is None
    said = {one.action: one for one in house.stores.audit.find(EventFilter(limit=10))}
    assert said["event.drop"].why == "a test"
    assert said["event.replay"].origin.surface == "console"
    assert house.does("1/replay", operator) == 422  # it is not dead any more
    assert house.stores.queue.depth("orders") == 1
    assert "Try it again" not in house.page("/1", operator)


def test_who_may_not_operate_an_integration_changes_nothing(house: House) -> None:
    house.put("orders", 1)
    viewer = house.key(Role.VIEWER, "orders")
    stranger = house.key(Role.OPERATOR, "refunds")
    operator = house.key(Role.OPERATOR, "orders")

    for act in ("1/replay", "1/drop"):
        assert house.does(act, viewer, "why=x") == 403
        assert house.does(act, stranger, "why=x") == 404
        foreign = {**operator, "origin": "https://evil.example.com"}
        assert house.does(act, foreign, "why=x") == 403

    assert house.stores.dead_letters.dead_letter(1).state == "dead"
    assert house.stores.queue.depth("orders") == 0
