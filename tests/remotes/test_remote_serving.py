"""A real `splice serve` with a route to an endpoint: it is killed, hangs, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from splice.testing.oip_server import OipServer
from splice.testing.project import Project, Server

DEADLINE_S = 2.0
SECRET = "only for the adder"
SOURCE = '''
import splice


class Pair(splice.Request):
    a: float
    b: float


class Sum(splice.Reply):
    value: float


def by_rule(context):
    return -1.0


class Adding(splice.Integration):
    """Add two numbers."""

    deadline = "2 s"
    routes = [
        splice.Model("adder", features=["a", "b"], timeout="400 ms"),
        splice.Rule(by_rule),
    ]

    def decide(self, pair: Pair, prediction: splice.Prediction) -> Sum:
        return Sum(prediction.score if prediction.value is None else prediction.value)
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, OipServer]]:
    folder = tmp_path_factory.mktemp("remote") / "project"
    made = Project(
        folder, '[project]\nmodules = ["integrations"]\n[models]\nendpoint_keys = ["ADDER_KEY"]\n'
    )
    made.declare(SOURCE)
    with OipServer() as endpoint:
        added = made.run(
            "models", "endpoint", "adder", endpoint.url, "--version", "2", "--key-env",
            "ADDER_KEY", "--option", "row_price=0.001", env={"ADDER_KEY": SECRET},
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        applied = made.run("release", "apply", "--yes")
        assert applied.returncode == 0, applied.stderr
        yield made, endpoint


@pytest.fixture(scope="module")
def running(project: tuple[Project, OipServer]) -> Iterator[Server]:
    with project[0].serve(env={"ADDER_KEY": SECRET}) as server:
        yield server


@pytest.fixture
def endpoint(project: tuple[Project, OipServer]) -> OipServer:
    """The endpoint, which behaves."""
    project[1].fault = ""
    project[1].asked.clear()
    project[1].left = 0
    return project[1]


@pytest.fixture
def serving(running: Server, endpoint: OipServer) -> Server:
    """The server, which has found its endpoint."""
    _back(running)
    endpoint.asked.clear()
    return running


def ask(server: Server, a: float = 1.0, b: float = 2.0, **headers: str) -> dict[str, Any]:
    answer = server.post("/v1/integrations/adding/calls", {"a": a, "b": b}, **headers)
    assert answer.status == 200, answer.body
    return answer.json


def ended(answer: dict[str, Any]) -> list[str]:
    return [one["ended"] for one in answer["attempts"]]


def test_calls_are_answered_by_the_endpoint_together_and_priced(
    serving: Server, endpoint: OipServer
) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: ask(serving, n, 0.5), range(64)))
    traced = ask(serving, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

    assert [one["reply"]["value"] for one in answers] == [n + 0.5 for n in range(64)]
    assert {one["version"] for one in answers} == {"adder@1"}
    assert {float(one["cost"]) for one in answers} == {0.001}
    asked = [one for one in endpoint.asked if one.method == "POST"]
    assert {one.path for one in asked} == {"/v2/models/adder/versions/2/infer"}
    assert {one.headers["authorization"] for one in asked} == {f"Bearer {SECRET}"}
    assert traced["reply"]["value"] == 3.0
    assert asked[-1].headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


def test_a_killed_endpoint_is_fallen_back_from_in_time_and_found_when_it_is_back(
    serving: Server, endpoint: OipServer
) -> None:
    endpoint.stop()
    down: list[dict[str, Any]] = []
    for _ in range(12):
        began = time.monotonic()
        down.append(ask(serving))
        assert time.monotonic() - began < DEADLINE_S
    while_down = serving.get("/readyz")
    endpoint.start()
    back = _back(serving)
    afterwards = serving.get("/readyz")

    assert {one["reply"]["value"] for one in down} == {-1.0}
    assert {one["reason"] for one in down} == {"fallback"}
    assert ended(down[0]) == ["provider_failed", "answered"]
    assert ended(down[-1]) == ["provider_limited", "answered"]
    assert back["reply"]["value"] == 3.0
    assert while_down.status == 200
    assert b"route model:adder of adding: it failed" in while_down.body
    assert b"model:adder" not in afterwards.body


def test_a_hung_endpoint_costs_its_timeout_a_few_times_and_then_nothing(
    serving: Server, endpoint: OipServer
) -> None:
    endpoint.fault = "hangs"
    hung: list[tuple[str, float]] = []
    for _ in range(8):
        began = time.monotonic()
        answer = ask(serving)
        hung.append((ended(answer)[0], time.monotonic() - began))
        assert answer["reply"]["value"] == -1.0
    left = endpoint.left
    endpoint.fault = ""
    back = _back(serving)

    assert all(took < DEADLINE_S for _, took in hung)
    assert hung[0][0] == "timeout"
    assert hung[-1][0] == "provider_limited"
    assert left == sum(1 for how, _ in hung if how == "timeout")  # each was hung up on
    assert back["reply"]["value"] == 3.0


def test_a_withdrawn_endpoint_is_not_asked_any_more(
    project: tuple[Project, OipServer], serving: Server, endpoint: OipServer
) -> None:
    withdrawn = project[0].run("models", "withdraw", "adder@1", "--why", "it lies")
    assert withdrawn.returncode == 0, withdrawn.stderr
    give_up = time.monotonic() + 30
    while ask(serving)["route"] == "model:adder" and time.monotonic() < give_up:
        time.sleep(0.05)
    before = len(endpoint.asked)

    answer = ask(serving)
    asked = len(endpoint.asked)
    restored = project[0].run("models", "restore", "adder@1")

    assert ended(answer) == ["model_unavailable", "answered"]
    assert asked == before
    assert restored.returncode == 0, restored.stderr
    assert _back(serving)["reply"]["value"] == 3.0


def test_a_server_that_lacks_the_secret_says_so_and_falls_back(
    project: tuple[Project, OipServer],
) -> None:
    with project[0].serve() as server:
        answer = ask(server)
        log = server.log

    assert ended(answer) == ["model_unavailable", "answered"]
    assert "ADDER_KEY" in log


def _back(serving: Server) -> dict[str, Any]:
    """The first answer of the endpoint again."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        answer = ask(serving)
        if answer["route"] == "model:adder":
            return answer
        time.sleep(0.05)
    raise AssertionError("it was never asked again")
