"""What really happened is told later, by call id or by entity; a mistake is one clear problem."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

import pytest
from serve_project import ledger_of

from splice.testing.project import Project, Server

HIGH = "/v1/integrations/high-orders/calls"
GOOD = {"integration": "high-orders", "name": "unpaid", "value": True, "entity": "c-1"}


def outcomes_in(project: Project) -> int:
    with contextlib.closing(ledger_of(project)) as ledger:
        return ledger.execute("SELECT count(*) FROM outcomes").fetchone()[0]


def tell(server: Server, *outcomes: dict[str, Any]) -> dict[str, int]:
    answer = server.post("/v1/outcomes", list(outcomes) if len(outcomes) > 1 else outcomes[0])
    assert answer.status == 201, answer
    return answer.json


def test_an_outcome_by_call_id_is_shown_with_its_call(server: Server) -> None:
    call_id = server.post(HIGH, {"customer": "by-id", "amount": 1}).json["call_id"]

    told = tell(server, {"integration": "high-orders", "name": "unpaid", "value": 1,
                         "call_id": call_id, "at": "2030-01-02T03:04:05+01:00"})  # fmt: skip

    assert told == {"received": 1, "new": 1}
    (shown,) = server.get(f"/v1/calls/{call_id}").json["outcomes"]
    assert shown == {
        "name": "unpaid", "value": 1.0, "at": "2030-01-02T02:04:05Z", "call_id": call_id,
    }  # fmt: skip


def test_an_outcome_by_entity_is_shown_with_its_calls(server: Server) -> None:
    call_id = server.post(HIGH, {"customer": "by-entity", "amount": 1}).json["call_id"]

    tell(server, {**GOOD, "entity": "by-entity", "value": "fraud", "source": "bank"})

    (shown,) = server.get(f"/v1/calls/{call_id}").json["outcomes"]
    assert (shown["entity"], shown["value"], shown["source"]) == ("by-entity", "fraud", "bank")


def test_an_outcome_by_a_call_id_in_capitals_is_of_the_same_call(server: Server) -> None:
    call_id = server.post(HIGH, {"customer": "capital", "amount": 1}).json["call_id"]

    tell(server, {"integration": "high-orders", "name": "n", "value": 1.0,
                  "call_id": call_id.upper()})  # fmt: skip

    assert len(server.get(f"/v1/calls/{call_id}").json["outcomes"]) == 1


def test_many_outcomes_are_kept_at_once_and_a_repeated_one_is_kept_once(
    server: Server, project: Project
) -> None:
    some = [{**GOOD, "entity": f"many-{n}", "at": "2030-01-01T00:00:00Z"} for n in range(100)]
    before = outcomes_in(project)

    first, second = tell(server, *some, some[0]), tell(server, *some)

    assert first == {"received": 101, "new": 100}
    assert second == {"received": 100, "new": 0}
    assert outcomes_in(project) == before + 100


def test_an_outcome_of_a_call_that_is_not_there_yet_is_kept(server: Server) -> None:
    told = tell(server, {"integration": "orders", "name": "n", "value": 0,
                         "call_id": str(uuid.uuid4())})  # fmt: skip

    assert told == {"received": 1, "new": 1}


@pytest.mark.parametrize(
    ("change", "status", "where", "expected"),
    [
        ({"entity": None}, 422, "outcomes[0]", "one of them"),
        ({"call_id": str(uuid.UUID(int=1))}, 422, "outcomes[0]", "one of them"),
        ({"entity": None, "call_id": "x" * 36}, 422, "outcomes[0].call_id", "a UUID"),
        ({"entity": None, "call_id": "x"}, 422, "outcomes[0].call_id", "length"),
        ({"entity": ""}, 422, "outcomes[0].entity", "length"),
        ({"entity": "x" * 257}, 422, "outcomes[0].entity", "length"),
        ({"name": ""}, 422, "outcomes[0].name", "length"),
        ({"name": "x" * 64}, 422, "outcomes[0].name", "length"),
        ({"value": None}, 422, "outcomes[0].value", "bool"),
        ({"value": []}, 422, "outcomes[0].value", "bool"),
        ({"value": 10**400}, 422, "outcomes", ""),
        ({"value": "x" * 1001}, 422, "outcomes[0].value", "length"),
        ({"at": "2030-01-01T00:00:00"}, 422, "outcomes[0].at", "2026-11-23T12:00:00Z"),
        ({"at": "yesterday"}, 422, "outcomes[0].at", "declared type"),
        ({"at": "0001-01-01T00:00:00+14:00"}, 422, "outcomes[0].at", "years 1 to 9999"),
        ({"at": "9999-12-31T23:59:59-14:00"}, 422, "outcomes[0].at", "years 1 to 9999"),
        ({"extra": 1}, 422, "outcomes[0].extra", "declared fields"),
        ({"integration": "nobody"}, 404, "nobody", "one of"),
    ],
)
def test_a_wrong_outcome_is_refused_and_none_of_its_list_is_kept(
    server: Server, project: Project, change: dict[str, Any], status: int, where: str, expected: str
) -> None:
    before = outcomes_in(project)
    wrong = {k: v for k, v in {**GOOD, **change}.items() if v is not None or k == "value"}

    answer = server.post("/v1/outcomes", [wrong, {**GOOD, "entity": "good"}])

    problem = answer.json
    assert (answer.status, problem["status"]) == (status, status), answer
    assert problem["where"].startswith(where)
    assert expected in problem.get("expected", "")
    assert outcomes_in(project) == before


def test_a_list_of_more_than_ten_thousand_is_refused(server: Server, project: Project) -> None:
    one = {"integration": "orders", "name": "n", "value": 1, "entity": "e"}
    before = outcomes_in(project)

    answer = server.post("/v1/outcomes", json.dumps([one] * 10_001).encode())

    assert answer.status == 422
    assert (answer.json["got"], answer.json["expected"]) == ("10001 outcomes", "at most 10000")
    assert outcomes_in(project) == before


def test_ten_thousand_outcomes_are_kept_at_once(server: Server) -> None:
    some = [
        {"integration": "orders", "name": "n", "value": 1, "entity": f"e{n}"} for n in range(10_000)
    ]

    assert tell(server, *some) == {"received": 10_000, "new": 10_000}


@pytest.mark.parametrize("body", [b"", b"[", b'[{"integration":"orders","integration":"x"}]', b"5"])
def test_a_body_that_is_no_outcome_is_refused(server: Server, body: bytes) -> None:
    answer = server.post("/v1/outcomes", body)

    assert answer.status in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_empty_list_is_nothing_to_keep_and_no_mistake(server: Server) -> None:
    answer = server.post("/v1/outcomes", [])

    assert (answer.status, answer.json) == (201, {"received": 0, "new": 0})


def test_another_content_type_is_refused(server: Server) -> None:
    answer = server.ask("POST", "/v1/outcomes", GOOD, content_type="text/csv")

    assert (answer.status, answer.json["expected"]) == (415, "application/json")
