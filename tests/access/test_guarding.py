"""Forms of other pages, wrong keys in a row, roles of keys, and what is said to be open."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from access_house import ORDERS
from starlette.requests import Request
from starlette.testclient import TestClient

import splice
from splice.app.identity import with_services
from splice.app.openness import openness
from splice.app.settings import load
from splice.console.access import check_action
from splice.console.desk import Visit
from splice.console.live import Tail
from splice.console.slowing import Slowing
from splice.control.keys import KeyRequest, Keys
from splice.core.access import Change, Key, grant_of
from splice.core.errors import NotAllowed, RateLimited
from splice.core.people import Person
from splice.ports.keys import Spending
from splice.testing.project import Project

T = TypeVar("T")


def request(**headers: str) -> Request:
    named = {"host": "splice.test:8000", **{k.replace("_", "-"): v for k, v in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw})


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "same-origin", "cookie": "a=b"},
        {"sec_fetch_site": "same-origin", "origin": "null"},
        {"sec_fetch_site": "none"},
        {"origin": "https://splice.test:8000", "cookie": "a=b"},
        {},
    ],
)
def test_a_form_of_the_console_and_a_program_pass(headers: dict[str, str]) -> None:
    check_action(request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site", "origin": "https://splice.test:8000"},
        {"sec_fetch_site": "same-site"},  # another port of this machine
        {"sec_fetch_site": ""},
        {"origin": "https://splice.test:3000"},
        {"origin": "https://evil.example.com"},
        {"origin": "https://splice.test"},
        {"origin": "https://splice.test:8000.evil.com"},
        {"origin": "https://splice.test:8000@evil.com"},
        {"origin": "null"},
        {"origin": ""},
        {"cookie": "splice_session=x"},
    ],
)
def test_a_form_of_any_other_page_does_not(headers: dict[str, str]) -> None:
    with pytest.raises(NotAllowed, match="another page"):
        check_action(request(**headers))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_wrong_keys_one_after_the_other_cost_ever_more_time() -> None:
    clock = Clock()
    slowing = Slowing(clock)
    waited = []
    for _ in range(15):
        with_wait = 0.0
        try:
            slowing.check("10.0.0.1")
        except RateLimited as error:
            with_wait = error.retry_after
            clock.now += with_wait
            slowing.check("10.0.0.1")
        waited.append(with_wait)
        slowing.failed("10.0.0.1")

    assert waited == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    slowing.check("10.0.0.2")
    clock.now += 60
    slowing.check("10.0.0.1")
    slowing.passed("10.0.0.1")
    slowing.failed("10.0.0.1")
    slowing.check("10.0.0.1")


def test_addresses_are_forgotten_before_they_fill_the_memory() -> None:
    slowing = Slowing(Clock())
    for number in range(10_000):
        slowing.failed(f"10.0.{number // 256}.{number % 256}")

    assert len(slowing._failed) <= 4096


def until(found: Callable[[], T]) -> T:
    give_up = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)
    return value


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[splice.App, TestClient]]:
    made = Project(tmp_path / "shop", '[project]\napply = "new"\n[ledger]\nflush_interval_ms = 1\n')
    made.declare(ORDERS)
    app = splice.App(project=made.folder)
    with TestClient(app.asgi(), base_url="http://localhost", follow_redirects=False) as client:
        yield app, client


def key(app: splice.App, *roles: str, **asked: Any) -> dict[str, str]:
    keys = Keys(app.services.stores.keys, pepper=b"", currency="EUR")
    grants = tuple(grant_of(one) for one in roles)
    wanted = KeyRequest(name=f"k{time.time_ns()}", grants=grants, **asked)
    return {"x-api-key": keys.create(wanted, by="test", now_us=time.time_ns() // 1000).token}


FORM = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}


def test_a_key_without_a_role_calls_and_reads_its_own_and_sees_no_console(
    shop: tuple[splice.App, TestClient],
) -> None:
    app, client = shop
    plain, viewer = key(app), key(app, "viewer@orders", integrations=("refunds",))
    until(lambda: client.get("/console").status_code != 200)
    asked = {"customer": "c-77", "amount": 5.0}

    answered = client.post("/v1/integrations/orders/calls", json=asked, headers=plain)
    call = f"/v1/calls/{answered.json()['call_id']}"
    until(lambda: client.get(call, headers=plain).status_code == 200)

    refused = client.get("/console", headers=plain)
    assert refused.status_code == 403
    assert "splice keys grant" in refused.text
    token = plain["x-api-key"]
    signed = client.post("/console/sign-in", content=f"key={token}", headers=FORM)
    assert signed.status_code == 401
    assert "no role" in signed.text
    assert "set-cookie" not in signed.headers
    mixed = key(app, "viewer@refunds", integrations=("orders",))
    until(lambda: client.get("/console", headers=mixed).status_code == 200)
    own = client.post("/v1/integrations/orders/calls", json=asked, headers=mixed).json()["call_id"]
    until(lambda: client.get(f"/v1/calls/{own}", headers=mixed).status_code == 200)
    assert client.get(f"/console/calls/{own}", headers=mixed).status_code == 404
    # A role sees, and does not call.
    assert client.get(call, headers=viewer).status_code == 200
    assert "c-77" in client.get("/console/calls", headers=viewer).text
    assert client.get("/console/integrations/refunds", headers=viewer).status_code == 404
    denied = client.post("/v1/integrations/orders/calls", json=asked, headers=viewer)
    assert denied.status_code == 403
    outcome = {"integration": "orders", "name": "paid", "value": True, "entity": "c-77"}
    assert client.post("/v1/outcomes", json=outcome, headers=viewer).status_code == 403


def test_guessing_at_the_sign_in_is_slowed_and_told_without_the_guess(
    shop: tuple[splice.App, TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    app, client = shop
    key(app, "viewer")
    until(lambda: client.get("/console").status_code != 200)

    said = [
        client.post("/console/sign-in", content=f"key=sk-splice-guess-{number}", headers=FORM)
        for number in range(7)
    ]

    assert [one.status_code for one in said[:5]] == [401] * 5
    assert said[6].status_code == 429
    assert int(said[6].headers["retry-after"]) >= 1
    assert "guess" not in caplog.text
    assert "testclient" in caplog.text


def test_metrics_are_for_viewers_where_more_than_this_machine_can_ask(tmp_path: Path) -> None:
    toml = '[project]\napply = "new"\n[server]\nhost = "0.0.0.0"\n'
    made = Project(tmp_path / "public", toml)
    made.declare(ORDERS)
    app = splice.App(project=made.folder)
    with TestClient(app.asgi(), base_url="http://localhost") as client:
        plain, viewer = key(app), key(app, "viewer")
        until(lambda: client.get("/metrics", headers=viewer).status_code == 200)

        for path in ("/metrics", "/openapi.json"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers=viewer).status_code == 200, path
        assert client.get("/metrics", headers=plain).status_code == 403
        assert "refunds" not in client.get("/openapi.json", headers=key_for_orders(app)).text
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.get("/healthz").status_code == 200


def key_for_orders(app: splice.App) -> dict[str, str]:
    headers = key(app, integrations=("orders",))
    ring = app.engine.keyring
    until(lambda: headers["x-api-key"].split("-")[2] in ring._keys)
    return headers


PUBLIC = """
[server]
host = "0.0.0.0"
[access]
keys = "open"
metrics = "open"
[oip]
grpc_port = 9000
[gateway]
mcp_origins = ["https://agents.test"]
[people]
issuer = "https://login.test"
client_id = "splice"
unverified = "accept"
[issuers.corp]
issuer = "https://login.test"
audience = "x"
[services.any]
issuer = "corp"
subject = "*"
[ledger]
url = "postgresql://splice:pw@db.test/splice"
[cache]
url = "redis://cache.test/0"
[providers.near]
base_url = "http://llm.test/v1"
"""


def test_everything_that_is_open_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "splice.toml").write_text(PUBLIC, "utf-8")
    now = 1_000
    keys = [
        Key(id="a", name="endless", digest=""),
        Key(id="b", name="turned", digest="", expires_us=2000, former="x", former_until_us=1500),
        Key(id="c", name="gone", digest="", revoked_us=1),
        Key(id="d", name="boss", digest="", expires_us=2000, grants=(grant_of("admin"),)),
    ]

    found = openness(load(tmp_path, {}), keys, [Person("anna@x")], now)

    told = {one.what: one.level for one in found}
    assert told == {
        "server.host is 0.0.0.0, access.keys is open": "open",
        "server.host is 0.0.0.0, without TLS": "open",
        "access.metrics is open": "open",
        "gRPC on port 9000, without TLS": "open",
        "services show signed tokens without TLS": "open",
        "people.unverified is accept": "open",
        "the ledger's database is not asked who it is": "open",
        "cache.url is without TLS": "open",
        "providers.near is without TLS": "open",
        "MCP may be called by web pages of https://agents.test": "note",
        "1 key (endless) without an end": "note",
        "1 key (turned) with two secrets": "note",
        "1 key (boss) with the role admin": "note",
        "people.redirect_url is empty": "note",
        "services.any.subject is *": "note",
    }
    assert [one.level for one in found] == sorted((one.level for one in found), reverse=True)
    assert all(one.mend and one.why for one in found)
    assert "pw" not in repr(found)


def test_a_project_as_it_is_made_is_open_to_this_machine_only(tmp_path: Path) -> None:
    found = openness(load(tmp_path, {}), [], [], 1)

    assert [one.level for one in found] == ["note"]
    assert "127.0.0.1" in found[0].what


@pytest.mark.parametrize("end", ["revoked", "another role"])
def test_a_stream_of_calls_ends_with_the_right_of_whoever_watches(
    shop: tuple[splice.App, TestClient], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr("splice.console.site._LOOK_S", 0.0)
    monkeypatch.setattr("splice.console.live._QUIET_S", 0.05)
    app, client = shop
    watcher = key(app, "viewer")
    until(lambda: client.get("/console", headers=watcher).status_code == 200)
    keys = Keys(app.services.stores.keys, pepper=b"", currency="EUR")
    id_ = watcher["x-api-key"].split("-")[2]

    begun, events = threading.Event(), Tail.events

    def watched(tail: Tail, visit: Visit) -> AsyncGenerator[bytes]:
        begun.set()
        return events(tail, visit)

    monkeypatch.setattr(Tail, "events", watched)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(client.get, "/console/live/events", headers=watcher)
        assert begun.wait(60)  # else it may begin with the new role, which lets it in
        if end == "revoked":
            keys.revoke(keys.find(id_), Change("test", 1))
        else:
            keys.grant(keys.find(id_), (grant_of("viewer@refunds"),), Change("test", 1))

        try:
            ended = stream.result(60)
        finally:
            app.draining = True  # which ends a stream that nothing else did

    assert ended.status_code == 200


def test_a_foreign_page_changes_nothing_where_nobody_is_asked_for_a_key(
    shop: tuple[splice.App, TestClient],
) -> None:
    _, client = shop
    outcome = {"integration": "orders", "name": "paid", "value": True, "entity": "c-77"}

    foreign = client.post(
        "/v1/outcomes", json=outcome, headers={"origin": "https://evil.example.com"}
    )
    own = client.post("/v1/outcomes", json=outcome)

    assert (foreign.status_code, own.status_code) == (403, 201)


def test_what_services_spent_is_in_the_sums_of_their_teams(tmp_path: Path) -> None:
    toml = '[issuers.c]\nissuer = "https://x"\naudience = "y"\n'
    for name, team in (("a", "growth"), ("b", "ops")):
        toml += f'[services.{name}]\nissuer = "c"\nsubject = "{name}-*"\nteam = "{team}"\n'
    (tmp_path / "splice.toml").write_text(toml, "utf-8")
    spent = Spending({"k1": 5, "service:a": 7, "service:b/b-2": 11, "service:gone": 13},
                     {"growth": 5}, {}, 36)  # fmt: skip

    summed = with_services(load(tmp_path, {}), spent)

    assert summed.by_team == {"growth": 12, "ops": 11}
    assert summed.by_key == spent.by_key
