"""Who may see, decide and be the second: by keys with roles, over the API and the console."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reviews_house import CALLS, project, until
from starlette.testclient import TestClient

import splice
from splice.control.keys import KeyRequest, Keys
from splice.core.access import Grant, Role

SAME = {"chance": 0.0, "action": "pay"}


class House:
    """A server with people; each asks with a key of his own."""

    def __init__(self, client: TestClient, app: splice.App) -> None:
        self.client = client
        self._keys = Keys(app.services.stores.keys, pepper=b"", currency="EUR")
        self.audit = app.services.stores.audit
        self._tokens: dict[str, str] = {}

    def person(self, name: str, role: Role, *integrations: str) -> None:
        grants = (Grant(role, integrations or ("*",)),)
        asked = KeyRequest(name=name, grants=grants)
        made = self._keys.create(asked, by="test", now_us=time.time_ns() // 1000)
        self._tokens[name] = made.token
        until(lambda: self.get(name, "/v1/reviews").status_code == 200)

    def header(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self._tokens[name]}"}

    def get(self, name: str, path: str) -> Any:
        return self.client.get(path, headers=self.header(name))

    def post(self, name: str, path: str, body: Any = None) -> Any:
        return self.client.post(path, json=body, headers=self.header(name))

    def form(self, name: str, path: str, **fields: str) -> Any:
        return self.client.post(path, data=fields, headers=self.header(name))

    def opened(self) -> str:
        """A new review; its path."""
        claim = {"customer": "c-1", "amount": 900}
        call_id = self.post("ada", CALLS, claim).json()["call_id"]
        path = f"/v1/reviews?call_id={call_id}"
        found = until(lambda: self.get("ada", path).json()["reviews"])
        return f"/v1/reviews/{found[0]['id']}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("people") / "p"
    project(folder, more="four_eyes=True")
    app = splice.App(project=folder)
    with TestClient(app.asgi(), base_url="http://localhost", follow_redirects=False) as client:
        made = House(client, app)
        made.person("ada", Role.REVIEWER)
        made.person("bob", Role.APPROVER)
        made.person("cyd", Role.APPROVER)
        made.person("vic", Role.VIEWER)
        made.person("eve", Role.REVIEWER, "refunds")
        made.person("ops", Role.OPERATOR)
        yield made


def test_the_same_person_twice_is_refused_by_the_api_and_by_the_console(house: House) -> None:
    path = house.opened()

    first = house.post("ada", f"{path}/verdict", {"choice": "approve"})
    again = house.post("ada", f"{path}/verdict", {"choice": "approve"})
    claim = house.post("ada", f"{path}/claim")
    page = house.form("ada", path.replace("/v1", "/console"), do="approve")

    assert (first.status_code, first.json()["state"]) == (200, "open")
    assert (again.status_code, again.json()["code"]) == (403, "not_allowed")
    assert claim.status_code == 403
    assert page.status_code == 422
    assert "a second time" in page.text
    assert house.get("ada", path).json()["review"]["state"] == "open"
    assert "outcomes" not in house.get("ada", path).json()["call"]

    done = house.post("bob", f"{path}/verdict", {"choice": "approve"})
    assert (done.status_code, done.json()["state"]) == (200, "decided")
    assert [one["by"] for one in done.json()["verdicts"]] == ["ada", "bob"]


def test_the_second_pair_of_eyes_is_one_that_may_approve(house: House) -> None:
    house.person("abe", Role.REVIEWER)
    path = house.opened()
    house.post("ada", f"{path}/verdict", {"choice": "approve"})

    refused = house.post("abe", f"{path}/verdict", {"choice": "approve"})

    assert (refused.status_code, "may not approve" in refused.json()["got"]) == (403, True)


def test_two_who_disagree_leave_it_to_a_third(house: House) -> None:
    path = house.opened()
    said = {"choice": "override", "reply": SAME, "reason": "fraud"}
    house.post("ada", f"{path}/verdict", {"choice": "approve"})

    state = house.post("bob", f"{path}/verdict", said).json()["state"]
    done = house.post("cyd", f"{path}/verdict", said).json()

    assert (state, done["state"]) == ("escalated", "decided")


def test_who_only_sees_decides_nothing_and_who_sees_nothing_knows_of_nothing(house: House) -> None:
    path = house.opened()

    assert house.get("vic", path).status_code == 200
    for call in ("verdict", "claim", "again"):
        body = {"verdict": {"choice": "approve"}, "again": {"why": "x"}}.get(call)
        assert house.post("vic", f"{path}/{call}", body).status_code == 403, call
        assert house.post("eve", f"{path}/{call}", body).status_code == 404, call
    assert house.get("eve", path).status_code == 404
    assert house.get("eve", f"{path}/explanation").status_code == 404
    assert house.get("eve", "/v1/reviews").json()["reviews"] == []
    assert house.get("eve", "/v1/reviews?integration=claims").json()["reviews"] == []
    assert path.rpartition("/")[2] not in house.get("eve", "/console/reviews").text
    assert house.get("eve", path.replace("/v1", "/console")).status_code == 404
    page = house.get("vic", path.replace("/v1", "/console"))
    assert "that takes the role reviewer" in page.text
    assert "verdict-form" not in re.sub(r"<script.*?</script>", "", page.text)


def test_the_next_one_is_none_that_he_may_not_decide(house: House) -> None:
    path = house.opened()
    house.post("ada", f"{path}/verdict", {"choice": "approve"})

    target = house.form("ada", "/console/reviews/next").headers["location"]

    assert not target.endswith(path.rpartition("/")[2])
    assert house.form("vic", "/console/reviews/next").headers["location"].endswith("none=1")
    taken = house.form("bob", "/console/reviews/next").headers["location"]
    assert house.get("bob", taken).text.count("Give it back") == 1
    mine = taken.replace("/console", "/v1")
    assert house.get("bob", mine).json()["review"]["holder"] == "bob"
    house.form("bob", taken, do="let go")


def test_who_operates_may_stop_and_who_reviews_may_not(house: House) -> None:
    stop, start = (f"/console/integrations/claims/{word}" for word in ("stop", "start"))

    refused = house.form("ada", stop, why="x")
    done = house.form("ops", stop, why="wrong sums")
    until(lambda: house.post("ada", CALLS, {"customer": "c", "amount": 1}).status_code == 503)
    house.form("ops", start)
    until(lambda: house.post("ada", CALLS, {"customer": "c", "amount": 1}).status_code == 200)

    assert (refused.status_code, done.status_code) == (403, 303)
    event = [one for one in house.audit.events() if one.action == "integration.stop"][-1]
    assert (event.by, event.why, event.origin.surface) == ("ops", "wrong sums", "console")
    assert 'id="stop"' in house.get("ops", "/console/integrations/claims").text
    assert 'id="stop"' not in house.get("ada", "/console/integrations/claims").text


def test_who_does_not_say_who_he_is_is_no_pair_of_eyes(tmp_path: Path) -> None:
    app = splice.App(project=project(tmp_path / "open", more="four_eyes=True").folder)
    with TestClient(app.asgi(), base_url="http://localhost", follow_redirects=False) as client:
        client.post(CALLS, json={"customer": "c-1", "amount": 900})
        (found,) = until(lambda: client.get("/v1/reviews").json()["reviews"])
        path = f"/v1/reviews/{found['id']}"

        said = client.post(f"{path}/verdict", json={"choice": "approve"})
        page = client.get(path.replace("/v1", "/console")).text

    assert (said.status_code, said.json()["code"]) == (403, "not_allowed")
    assert "nobody knows who you are" in page
