"""What users run: a server that watches its calls, tells and rolls back; and the commands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from far_ends import WebEnd

from splice.testing.project import Project, Server

INTEGRATIONS = '''
import splice

class Order(splice.Request):
    customer: splice.Entity
    amount: float

class Verdict(splice.Reply):
    risk: float

def rule(context):
    {body}

class Orders(splice.Integration):
    """Find what is bad."""
    routes = [splice.Rule(rule)]
    monitors = [
        splice.Monitor(
            share="errors", above="2 %", least=5, for_=0, every="10 s", severity="critical",
            then=["roll back", "review"],
        ),
        splice.Monitor(traffic="calls", above=10_000, name="too much"),
    ]

    def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
        return Verdict(prediction.score or 0.0)
'''
GOOD = INTEGRATIONS.replace("{body}", "return 0.5")
BAD = INTEGRATIONS.replace("{body}", 'raise ValueError("broken")')
PATIENCE_S = 90.0
PATH = "/v1/integrations/orders/calls"


@pytest.fixture
def web() -> Iterator[WebEnd]:
    made = WebEnd()
    yield made
    made.close()


@pytest.fixture
def project(tmp_path: Path, web: WebEnd) -> Project:
    made = Project(
        tmp_path / "shop",
        f'[monitors]\nwait_seconds = 0\n[alerts.oncall]\nkind = "webhook"\nurl = "{web.url}"\n'
        '[alerts.lost]\nkind = "webhook"\nurl_env = "NOT_SET_ANYWHERE"\n',
    )
    made.declare(GOOD)
    return made


def until(found: Callable[[], Any], server: Server) -> Any:
    """What becomes true in a while; the first value that is."""
    give_up = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < give_up, server.log[-4000:]
        time.sleep(0.05)
    return value


def ask(server: Server, times: int, status: int) -> None:
    for number in range(times):
        answer = server.post(PATH, {"customer": f"c{number}", "amount": 5})
        assert answer.status == status, answer.body


def acted_upon(project: Project) -> list[Any]:
    """All alerts, once nothing that they want done is still to be done."""
    alerts = json.loads(project.run("monitors", "alerts", "--all", "--json").stdout)
    wanted = [deed for one in alerts for deed in one["deeds"] if deed.get("state") != "done"]
    return [] if wanted else alerts


def test_a_bad_release_is_rolled_back_and_everybody_who_should_is_told(
    project: Project, web: WebEnd
) -> None:
    with project.serve() as server:
        ask(server, 10, 200)
        project.declare(BAD)
        applied = project.run("release", "apply", "--yes")
        assert applied.returncode == 0, applied.stderr
        until(lambda: server.post(PATH, {"customer": "c", "amount": 5}).status == 503, server)
        ask(server, 10, 503)

        news = until(lambda: [one for body in web.bodies for one in body["data"]["news"]], server)
        until(lambda: server.post(PATH, {"customer": "c", "amount": 5}).status == 200, server)
        alerts = until(lambda: acted_upon(project), server)
        listed = project.run("monitors", "list", "orders")
        audited = project.run("audit", "list", "--subject", "orders")
        shown = project.run("monitors", "show", alerts[0]["id"])
        log = server.log

    (alert,) = alerts
    assert news[0]["kind"] == "opened"
    assert news[0]["text"].startswith("share of calls that failed is 100 % (95 % interval ")
    assert {one["action"]: one["state"] for one in alert["deeds"]} == {
        "roll back": "done", "review": "done",
    }  # fmt: skip
    assert len(alert["measured"]["calls"]) == 5
    assert alert["release"] == 2
    assert "monitor.rollback" in audited.stdout
    assert "splice monitor" in audited.stdout
    assert "too much" in listed.stdout
    assert alert["measured"]["calls"][0] in shown.stdout
    for said in (log, listed.stderr):  # a channel without its secret stops nothing
        assert "alerts.lost.url_env: got no variable NOT_SET_ANYWHERE" in said


def test_the_commands_say_what_is_watched_and_end_as_they_say(
    project: Project, web: WebEnd
) -> None:
    applied = project.run("release", "apply", "--yes")
    ran = {
        words: project.run("monitors", *words)
        for words in (
            ("list",), ("test",), ("test", "orders", "nothing"), ("show", "orders"),
            ("list", "nobody"), ("ack", "nobody"), ("mute", "orders"),
            ("mute", "orders", "too much", "--for", "2 h", "--why", "x"),
            ("mute", "orders", "nothing", "--for", "2 h"), ("tell", "oncall"), ("tell", "nobody"),
            ("list", "--json"), ("alerts", "--json"),
        )
    }  # fmt: skip
    muted = project.run("monitors", "list")
    web.close()
    away = project.run("monitors", "tell", "oncall")

    def code(*words: str) -> int:
        return ran[words].returncode

    assert applied.returncode == 0, applied.stderr
    assert "not yet" in ran["list",].stdout
    assert (code("list"), code("test"), code("show", "orders"), code("tell", "oncall")) == (0,) * 4
    for words in (
        ("test", "orders", "nothing"), ("list", "nobody"), ("ack", "nobody"), ("mute", "orders"),
        ("mute", "orders", "nothing", "--for", "2 h"), ("tell", "nobody"),
    ):  # fmt: skip
        assert code(*words) == 2, ran[words].stderr
    assert "expected one of 'share errors', 'too much'" in ran["test", "orders", "nothing"].stderr
    assert "too few" in ran["test",].stdout
    assert "not yet (muted)" in muted.stdout
    assert web.bodies[0]["data"]["integration"] == "trial"
    assert (away.returncode, "an answer of 2xx" in away.stderr) == (1, True)
    assert [one["monitor"]["name"] for one in json.loads(ran["list", "--json"].stdout)] == [
        "share errors", "too much",
    ]  # fmt: skip
    assert json.loads(ran["alerts", "--json"].stdout) == []
