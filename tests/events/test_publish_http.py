"""POST …/events: what could be answered is stored before the 202, and nothing else ever is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.events import Event
from splice.serve.events.envelope import Envelopes
from splice.testing.project import Answer, Project, Server

TOML = """
[project]
apply = "new"
[server]
max_body_bytes = 100000
[consume.notes]
source = "queue:elsewhere"
"""
DECLARED = '''
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [splice.Rule(lambda context: 0.5)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)


class Note(splice.Request):
    text: str


class Notes(splice.Integration):
    """Measure notes."""

    routes = [splice.Rule(lambda context: 0.5)]

    def decide(self, note: Note, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)
'''
ORDERS = "/v1/integrations/orders/events"
GOOD = {"customer": "c-1", "amount": 5.0}
EVENT = {
    "specversion": "1.0", "id": "e-1", "source": "/shop", "type": "order.placed", "data": GOOD,
}  # fmt: skip
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(Path(tmp_path_factory.mktemp("publish")) / "p", TOML)
    made.declare(DECLARED)
    return made


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[Server]:
    with project.serve() as running:
        yield running


@pytest.fixture(scope="module")
def ledger(project: Project, server: Server) -> Iterator[Ledger]:
    opened = open_ledger(
        f"sqlite:///{project.folder}/.splice/ledger.db", project.folder / ".splice" / "models"
    )
    yield opened
    opened.close()


def taken(ledger: Ledger, queue: str = "orders") -> list[Event]:
    """What is in a queue; it is empty afterwards."""
    now_us = time.time_ns() // 1000
    found: list[Event] = []
    while some := ledger.queue.take(queue, 1000, "test", now_us=now_us, lease_us=10**12):
        found += some
    return found


def headers_of(event: Event) -> dict[str, str]:
    return {name: value.decode() for name, value in event.headers}


def test_plain_json_becomes_an_event_with_an_id_and_the_entity_for_its_key(
    server: Server, ledger: Ledger
) -> None:
    answer = server.post(
        ORDERS, GOOD, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    )

    (event,) = taken(ledger)
    headers = headers_of(event)
    assert answer.status == 202
    assert answer.json == {"event_id": headers["ce_id"]}
    assert "location" not in answer.headers
    assert event.key == b"c-1"
    assert json.loads(event.value or b"") == GOOD
    assert headers["ce_source"] == "/splice/orders/http"
    assert headers["ce_type"] == "splice.orders.asked"
    assert headers["traceparent"] == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    letter = Envelopes().open(event)
    assert (letter.id, letter.source) == (headers["ce_id"], "/splice/orders/http")


def test_an_idempotency_key_is_the_id_of_a_plain_event(server: Server, ledger: Ledger) -> None:
    answers = [server.post(ORDERS, GOOD, idempotency_key="k 1") for _ in range(2)]

    events = taken(ledger)
    assert [answer.json for answer in answers] == [{"event_id": "k 1"}] * 2
    assert {Envelopes().open(event).id for event in events} == {"k 1"}


def test_a_cloudevent_in_binary_mode_keeps_its_attributes(server: Server, ledger: Ledger) -> None:
    answer = server.post(
        ORDERS, GOOD, ce_specversion="1.0", ce_id="e-7", ce_source="/gr%C3%BCn",
        ce_type="order.placed", ce_partitionkey="p-1", idempotency_key="not this",
    )  # fmt: skip

    (event,) = taken(ledger)
    letter = Envelopes().open(event)
    assert (answer.status, answer.json) == (202, {"event_id": "e-7"})
    assert (letter.id, letter.source, letter.type) == ("e-7", "/gr\u00fcn", "order.placed")
    assert event.key == b"p-1"


def test_a_cloudevent_in_structured_mode_is_taken_apart(server: Server, ledger: Ledger) -> None:
    answer = server.post(ORDERS, EVENT, content_type=STRUCTURED)

    (event,) = taken(ledger)
    assert answer.json == {"event_id": "e-1"}
    assert json.loads(event.value or b"") == GOOD
    assert headers_of(event)["ce_source"] == "/shop"
    assert event.key == b"c-1"


def test_a_batch_is_stored_whole_and_in_its_order(server: Server, ledger: Ledger) -> None:
    batch = [{**EVENT, "id": f"b-{n}"} for n in range(5)]

    answer = server.post(ORDERS, batch, content_type=BATCH)
    empty = server.post(ORDERS, [], content_type=BATCH)

    assert (answer.status, answer.json) == (202, {"event_ids": [f"b-{n}" for n in range(5)]})
    assert (empty.status, empty.json) == (202, {"event_ids": []})
    assert [headers_of(event)["ce_id"] for event in taken(ledger)] == [f"b-{n}" for n in range(5)]


def test_an_event_goes_where_the_settings_have_the_integration_consume(
    server: Server, ledger: Ledger
) -> None:
    server.post("/v1/integrations/notes/events", {"text": "hello"})

    assert len(taken(ledger, "elsewhere")) == 1
    assert taken(ledger, "notes") == []


BAD: list[tuple[Any, dict[str, str], int, str]] = [
    (b"{", {}, 400, "malformed_body"),
    (b"", {}, 422, "bad_event"),
    (b'{"customer":"c","amount":NaN}', {}, 400, "malformed_body"),
    (b'{"customer":"c","amount":1,"amount":2}', {}, 400, "malformed_body"),
    ({"customer": "c"}, {}, 422, "input_mismatch"),
    ({"customer": "", "amount": 1}, {}, 422, "input_mismatch"),
    ({"customer": "c", "amount": "much"}, {}, 422, "input_mismatch"),
    (b"x" * 100_001, {}, 413, "body_too_large"),
    (b"a,b", {"content_type": "text/csv"}, 415, "unsupported_media_type"),
    (GOOD, {"idempotency_key": "k" * 256}, 422, "input_mismatch"),
    (GOOD, {"ce_specversion": "1.0", "ce_source": "/s", "ce_type": "t"}, 422, "bad_event"),
    (GOOD, {"ce_specversion": "0.3", "ce_id": "1", "ce_source": "/", "ce_type": "t"}, 422,
     "bad_event"),
    ({**EVENT, "id": ""}, {"content_type": STRUCTURED}, 422, "bad_event"),
    ({**EVENT, "data": {"customer": "c"}}, {"content_type": STRUCTURED}, 422, "input_mismatch"),
    ([EVENT, {**EVENT, "data": 5}], {"content_type": BATCH}, 422, "input_mismatch"),
    ([EVENT], {"content_type": STRUCTURED}, 422, "bad_event"),
    ({**EVENT, "datacontenttype": "text/csv"}, {"content_type": STRUCTURED}, 415,
     "unsupported_media_type"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD)
def test_what_could_never_be_answered_is_refused_and_nothing_of_it_is_stored(
    server: Server, ledger: Ledger, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    answer = server.post(ORDERS, body, **headers)

    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["where"]
    assert taken(ledger) == []


def test_an_integration_that_is_not_there_is_not_found(server: Server) -> None:
    answer = server.post("/v1/integrations/nobody/events", GOOD)

    assert (answer.status, answer.json["code"]) == (404, "unknown_integration")


def test_a_stopped_integration_takes_no_events(
    project: Project, server: Server, ledger: Ledger
) -> None:
    project.run("stop", "orders", "--why", "a test")
    try:
        answer = until(server, 503)
    finally:
        project.run("start", "orders")

    assert answer.json["code"] == "stopped"
    assert until(server, 202).status == 202
    taken(ledger)


def until(server: Server, status: int) -> Answer:
    """The first answer with that status; what is stopped is known within two seconds."""
    give_up = time.monotonic() + 60
    while (answer := server.post(ORDERS, GOOD)).status != status:
        assert time.monotonic() < give_up, answer
        time.sleep(0.02)
    return answer


def test_a_key_must_reach_the_integration_and_what_was_taken_survives_a_kill(
    tmp_path: Path,
) -> None:
    own = Project(tmp_path / "p", TOML)
    own.declare(DECLARED)
    made = own.run("keys", "create", "shop", "--integrations", "orders", "--json")
    held = {"authorization": f"Bearer {json.loads(made.stdout)['secret']}"}
    with own.serve() as server:
        nobody = server.post(ORDERS, GOOD)
        other = server.post("/v1/integrations/notes/events", {"text": "x"}, **held)
        right = [server.post(ORDERS, GOOD, **held) for _ in range(5)]
        server.kill()

    assert (nobody.status, other.status) == (401, 403)
    opened = open_ledger(
        f"sqlite:///{own.folder}/.splice/ledger.db", own.folder / ".splice" / "models"
    )
    events = taken(opened)
    assert [headers_of(event)["ce_id"] for event in events] == [
        answer.json["event_id"] for answer in right
    ]
    assert headers_of(events[0])["ce_source"].startswith("/splice/orders/http/key:")
    assert taken(opened, "elsewhere") == []
    opened.close()
