"""The pages of duties and incidents, as a browser gets them."""

from __future__ import annotations

import html
import time
from pathlib import Path

from seeded import ORDERS

from splice.app.incidents import copy_evidence, incidents_of
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.control.duties.incidents import Happened
from splice.control.keys import KeyRequest, Keys
from splice.core.access import Grant, Role
from splice.core.duties import Attestation
from splice.core.ids import derived_uuid7
from splice.testing.project import Answer, Project, Server

HOSTILE = "<script>alert(1)</script>"
DAY_US = 86_400_000_000
NAME = "orders"
DECLARED = ORDERS.replace(
    "    routes =",
    """    risk = splice.Risk.HIGH
    assessment = splice.Assessment(roles=["provider"], uses=["credit"])
    routes =""",
    1,
)


def planted(project: Project, now_us: int) -> str:
    """An incident and an attestation with text that must stay text; gives the incident's id."""
    stores = Stores(load(project.folder))
    try:
        book = incidents_of(stores)
        said = Happened(NAME, "death", HOSTILE, "ada", now_us - DAY_US)
        incident = book.open(said, now_us)
        made = copy_evidence(stores, incident, project.folder / "copy", now_us)
        book.copied(incident.id, made.folder, made.sha256, by="ada", now_us=now_us)
        stores.duties.attest(
            Attestation(
                derived_uuid7(now_us // 1000, "said"), NAME, "risk.residual", HOSTILE, "ada",
                now_us - 1, now_us + DAY_US,
            )
        )  # fmt: skip
    finally:
        stores.close()
    return incident.id


def text_of(server: Server, path: str) -> str:
    answer = server.get(path)
    assert answer.status == 200, answer.body[:500].decode()
    page = answer.body.decode()
    assert HOSTILE not in page
    return html.unescape(page)


def test_duties_and_incidents_are_shown_and_their_text_stays_text(tmp_path: Path) -> None:
    project = Project(tmp_path / "orders", '[project]\napply = "new"\n')
    project.declare(DECLARED)
    now_us = time.time_ns() // 1000
    with project.serve() as server:
        incident = planted(project, now_us)

        duties = text_of(server, f"/console/integrations/{NAME}/duties")
        listed = text_of(server, "/console/incidents")
        one = text_of(server, f"/console/incidents/{incident}")
        wrong = [server.get(f"/console/incidents/{name}").status for name in ("nobody", "0" * 32)]

    for part in ("Art. 9 Risk management", "Annex III 5(b)", "2027-12-02", "not legal advice",
                 "by a person", HOSTILE, "splice duties orders --attest"):  # fmt: skip
        assert part in duties, part
    assert "9.0 d left" in listed
    assert "Death of a person" in one
    assert "incident.open" in one
    assert wrong == [404, 404]


def test_who_may_not_see_an_integration_sees_none_of_its_incidents(tmp_path: Path) -> None:
    project = Project(
        tmp_path / "orders", '[project]\napply = "new"\n[access]\nkeys = "required"\n'
    )
    project.declare(DECLARED)
    now_us = time.time_ns() // 1000
    with project.serve() as server:
        incident = planted(project, now_us)
        stores = Stores(load(project.folder))
        try:
            grants = (Grant(Role.VIEWER, ("triage",)),)
            request = KeyRequest(name="other", integrations=("triage",), grants=grants)
            keys = Keys(stores.keys, pepper=b"", currency="EUR")
            token = keys.create(request, by="ada", now_us=now_us).token
        finally:
            stores.close()

        def ask(path: str) -> Answer:
            return server.ask("GET", f"/console/{path}", authorization=f"Bearer {token}")

        give_up = time.monotonic() + 60
        while (listed := ask("incidents")).status != 200:  # a server hears of a key in a second
            assert time.monotonic() < give_up, listed.body
            time.sleep(0.05)
        one = ask(f"incidents/{incident}")
        duties = ask(f"integrations/{NAME}/duties")

    assert b"alert(1)" not in listed.body
    assert b"None was opened" in listed.body
    assert one.status == 404
    assert duties.status == 404
