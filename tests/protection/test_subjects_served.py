"""Erasure and access requests over HTTP: for administrators, and never with a name in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from protection_house import House

from splice.testing.project import Server

CALLS = "/v1/integrations/triages/calls"


@pytest.fixture
def server(small: House) -> Iterator[Server]:
    with small.project.serve(workers=2) as served:
        for number in range(4):
            body = {"patient": "CANARY-NAME", "complaint": "CANARY", "age": number}
            assert served.post(CALLS, body).status == 200
        yield served


def until(told: Callable[[], bool]) -> None:
    """Each worker forgets a destroyed key within a second; a busy machine may take longer."""
    end = time.monotonic() + 30
    while not told():
        assert time.monotonic() < end
        time.sleep(0.05)


def erased(server: Server, call_id: str) -> bool:
    shown = server.get(f"/v1/calls/{call_id}").json
    return shown.get("input") is None and any("erased" in note for note in shown["notes"])


def test_what_is_known_of_a_person_is_given_out_and_erased_over_http(
    server: Server, small: House
) -> None:
    known = server.post("/v1/subjects/exports", {"subject": "CANARY-NAME"}).json
    assert [one["input"]["complaint"] for one in known["calls"]] == ["CANARY"] * 4

    told = {"subject": "CANARY-NAME", "why": "letter 7", "final": True}
    receipt = server.post("/v1/subjects/erasures", told)

    assert receipt.status == 201
    assert (receipt.json["calls"], receipt.json["final"]) == (4, True)
    assert receipt.json["tag"] == known["subject"]
    for one in known["calls"]:
        until(lambda call=one["call_id"]: erased(server, call))
    with closing(small.stores()) as stores:
        events = [one for one in stores.audit.events() if one.subject == known["subject"]]
    assert [one.action for one in events] == ["subject.export", "subject.erase"]
    assert "CANARY" not in repr(events)
    assert b"CANARY" not in small.everything()


def test_who_knows_the_hmac_may_name_it_in_the_address(server: Server) -> None:
    tag = server.post("/v1/subjects/exports", {"subject": "CANARY-NAME"}).json["subject"]

    without = server.ask("DELETE", f"/v1/subjects/{tag}")
    done = server.ask("DELETE", f"/v1/subjects/{tag}?why=letter+7")

    assert (without.status, without.json["code"]) == (422, "input_mismatch")
    assert (done.status, done.json["calls"], done.json["why"]) == (201, 4, "letter 7")


def test_the_same_key_of_a_call_gets_no_answer_once_it_is_erased(
    server: Server, small: House
) -> None:
    body = {"patient": "CANARY-NAME", "complaint": "CANARY", "age": 9}
    first, again = (server.post(CALLS, body, idempotency_key="k") for _ in "ab")
    assert first.json["call_id"] == again.json["call_id"]
    assert first.json["reply"] == again.json["reply"]

    small.erase("CANARY-NAME")

    def refused() -> bool:
        after = server.post(CALLS, body, idempotency_key="k")
        return (after.status, after.json.get("code")) == (422, "idempotency_key_reused")

    until(refused)


def test_a_replay_of_an_erased_call_says_so(small: House, server: Server) -> None:
    (call,) = small.project.run("calls", "list", "--limit", "1", "--json").stdout.split("}")[0:1]
    call_id = call.partition('"call_id": "')[2].partition('"')[0]
    small.erase("CANARY-NAME")

    ran = small.project.run("calls", "replay", call_id)

    assert ran.returncode != 0
    assert "erased" in ran.stderr
    story = small.project.run("calls", "explain", call_id)
    assert story.returncode == 0
    day = "2030-03-17 17:46 UTC"  # where the clock of the house stands when it erases
    for place in ("Asked", "Predicted", "Answered"):
        assert f"{place}\n  erased, {day}" in story.stdout
    assert "nothing" not in story.stdout
    assert f'"texts": "erased, {day}"' in small.project.run("calls", "show", call_id).stdout
    until(lambda: erased(server, call_id))
    page = server.get(f"/console/calls/{call_id}").body.decode()
    assert page.count(f"Erased, {day}.") == 4  # asked, gathered, predicted, decided
    assert "not recorded" not in page
    assert "No answer was given" not in page


def test_calls_are_found_by_the_person_himself(small: House, server: Server) -> None:
    found = server.get("/v1/calls?entity=CANARY-NAME").json
    listed = small.project.run("calls", "list", "--entity", "CANARY-NAME", "--json")

    assert len(found["calls"] if isinstance(found, dict) else found) == 4
    assert listed.stdout.count('"call_id"') == 4
