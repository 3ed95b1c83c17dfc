"""Releases change, stop and lose models under load, and no call is dropped."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_project import INTEGRATIONS, TOML, ledger_of

from splice.testing.project import Answer, Project, Server

ONLY_HERE = (  # loads on the command line, and in no server
    "import os\nif 'SPLICE_PROJECT' in os.environ: raise ImportError('no such library')\n"
)
GOOD = {"customer": "c-1", "amount": 5.0}
CHAT = {"model": "orders", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/integrations/orders/calls"
FOLLOW_SECONDS = 2.0  # the promise


class Hammer:
    """Clients that ask all the time, and note every answer with the second it came in."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        self._server = server
        self._end = threading.Event()
        self.answers: list[tuple[float, Answer]] = []
        self.faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                # A connection is one worker's: anew now and then, to meet all of them.
                with contextlib.closing(self._server.connection()) as one:
                    for _ in range(20):
                        sent = time.monotonic()
                        self.answers.append((sent, one.post(PATH, GOOD)))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.faults.append(error)

    def __enter__(self) -> Hammer:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for one in self._threads:
            one.join(20)

    def since(self, when: float) -> list[Answer]:
        return [answer for sent, answer in self.answers if sent >= when]


def hundred(server: Server) -> list[Answer]:
    """Answers to calls on so many connections that every worker is met."""
    return [server.post(PATH, GOOD) for _ in range(100)]


def until_all(server: Server, true: Callable[[Answer], Any], seconds: float) -> bool:
    """Whether every worker comes to answer so within these seconds."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if all(true(server.post(PATH, GOOD)) for _ in range(20)):
            return True
    return False


@pytest.fixture
def own(tmp_path: Path) -> Project:
    made = Project(tmp_path / "p", TOML.replace('apply = "new"', 'apply = "first"'))
    made.declare(INTEGRATIONS)
    return made


@pytest.fixture
def pair(own: Project) -> Iterator[Server]:
    with own.serve(workers=2) as running:
        yield running


def run(own: Project, *command: str) -> None:
    ran = own.run(*command)
    assert ran.returncode == 0, ran.stderr


def test_releases_are_applied_and_rolled_back_under_load_without_a_dropped_call(
    own: Project, pair: Server
) -> None:
    changed = INTEGRATIONS.replace("return 0.9 if", "return 0.8 if")
    with Hammer(pair) as hammer:
        time.sleep(0.3)
        own.declare(changed)
        run(own, "release", "apply", "orders", "--yes")
        applied = time.monotonic()
        time.sleep(FOLLOW_SECONDS + 0.5)
        rolling_back = time.monotonic()
        run(own, "release", "rollback", "orders", "--yes")
        rolled_back = time.monotonic()
        time.sleep(FOLLOW_SECONDS + 0.5)

    assert hammer.faults == []
    assert Counter(answer.status for _, answer in hammer.answers).keys() == {200}
    assert {answer.json["release"] for _, answer in hammer.answers} == {1, 2}
    between = [a for t, a in hammer.answers if applied + FOLLOW_SECONDS <= t < rolling_back]
    after = hammer.since(rolled_back + FOLLOW_SECONDS)
    assert {answer.json["release"] for answer in between} == {2}
    assert {answer.json["release"] for answer in after} == {1}


def test_an_answer_names_the_release_that_gave_it(own: Project, pair: Server) -> None:
    def of(release: int, amount: float) -> float:
        return {1: 0.1, 2: 0.2}[release] if amount < 500 else 0.9

    with Hammer(pair) as hammer:
        own.declare(INTEGRATIONS.replace("else 0.1", "else 0.2"))
        run(own, "release", "apply", "orders", "--yes")
        time.sleep(1.0)

    seen = {(a.json["release"], a.json["reply"]["risk"]) for _, a in hammer.answers}
    assert seen == {(1, 0.1), (2, 0.2)}


def test_a_stop_holds_on_all_workers_within_two_seconds_and_survives_a_restart(
    own: Project, pair: Server
) -> None:
    with Hammer(pair) as hammer:
        time.sleep(0.2)
        run(own, "stop", "orders", "--why", "biased")
        stopped = time.monotonic()
        time.sleep(FOLLOW_SECONDS + 0.5)
    assert hammer.faults == []
    late = hammer.since(stopped + FOLLOW_SECONDS)
    assert {answer.status for answer in late} == {503}
    assert {answer.json["code"] for answer in late} == {"stopped"}
    assert "biased" in late[0].json["got"]
    assert pair.stop() == 0

    with own.serve(workers=2) as again:
        assert {answer.status for answer in hundred(again)} == {503}
        degraded = again.get("/readyz").json["degraded"]
        assert degraded == ["integration orders: stopped: biased"]
        run(own, "start", "orders")
        assert until_all(again, lambda a: a.status == 200, FOLLOW_SECONDS)


def test_a_stop_holds_while_another_release_takes_long_to_load(own: Project, pair: Server) -> None:
    own.declare("import time\ntime.sleep(4)\n" + INTEGRATIONS.replace("0.9 if", "0.8 if"))
    ran = threading.Thread(target=run, args=(own, "release", "apply", "high-orders", "--yes"))
    ran.start()
    ran.join(30)
    time.sleep(0.6)  # the workers have begun to load it

    run(own, "stop", "orders", "--why", "now")

    assert until_all(pair, lambda a: a.status == 503, FOLLOW_SECONDS)


def test_a_stop_holds_while_the_ledger_is_locked_against_writing_after_it(
    own: Project, pair: Server
) -> None:
    run(own, "stop", "orders", "--why", "now")
    with contextlib.closing(ledger_of(own)) as ledger:
        ledger.execute("BEGIN EXCLUSIVE")
        keyed = [
            threading.Thread(
                target=pair.post,
                args=("/v1/integrations/notes/calls", {"details": {}}),
                kwargs={"idempotency_key": f"k{n}"},
                daemon=True,
            )
            for n in range(40)
        ]
        for one in keyed:
            one.start()

        held = until_all(pair, lambda a: a.status == 503, FOLLOW_SECONDS)
        ledger.execute("ROLLBACK")
    for one in keyed:
        one.join(30)

    assert held


def test_a_release_that_cannot_be_loaded_leaves_the_one_before_answering_and_is_told(
    own: Project, pair: Server
) -> None:
    own.declare(ONLY_HERE + INTEGRATIONS.replace("return 0.9 if", "return 0.8 if"))
    run(own, "release", "apply", "orders", "--yes")
    time.sleep(FOLLOW_SECONDS)

    readiness = [pair.get("/readyz") for _ in range(20)]

    answers = hundred(pair)
    assert [answer.json for answer in answers if answer.status != 200] == []
    assert {answer.json["release"] for answer in answers} == {1}
    for answer in readiness:
        (told,) = answer.json["degraded"]
        assert told.startswith("integration orders: release 2")
        assert "no such library" in told


def test_a_release_that_cannot_be_loaded_and_has_none_before_it_is_not_ready(own: Project) -> None:
    own.declare(ONLY_HERE + INTEGRATIONS)
    run(own, "release", "apply", "--yes")

    with own.serve(env={"SPLICE_PROJECT_APPLY": "never"}) as server:
        ready = server.get("/readyz")
        answer, chat = server.post(PATH, GOOD), server.post("/v1/chat/completions", CHAT)
        none = server.post("/v1/integrations/refunds/calls", GOOD)

    assert ready.status == 503
    assert any("orders: release 1" in text for text in ready.json["not_ready"])
    assert (answer.status, answer.json["code"]) == (503, "not_loaded")
    assert answer.json["retryable"] is True
    assert "no such library" not in answer.json["got"]
    assert chat.status == 503
    assert (none.status, none.json["code"]) == (404, "unknown_integration")


@pytest.mark.model
def test_a_withdrawn_model_is_not_asked_any_more_and_the_next_route_answers(tmp_path: Path) -> None:
    own = Project(tmp_path / "m", TOML)
    write_model(own.folder / "models" / "risk.onnx")
    own.declare(MODELLED)
    with own.serve(workers=2) as pair:
        before = pair.post(PATH, GOOD).json
        run(own, "models", "withdraw", "risk@1", "--why", "biased")

        assert until_all(pair, lambda a: a.json["route"] == "rule:scorecard", FOLLOW_SECONDS)
        attempts = pair.post(PATH, GOOD).json["attempts"]
        degraded = pair.get("/readyz").json["degraded"]

    assert before["route"] == "model:risk"
    assert (attempts[0]["route"], attempts[0]["ended"]) == ("model:risk", "model_unavailable")
    assert "risk@1 is withdrawn: biased" in attempts[0]["why"]
    assert "route model:risk of orders: risk@1 is withdrawn: biased" in degraded


@pytest.mark.model
def test_a_model_whose_file_is_gone_is_told_and_the_next_route_answers(tmp_path: Path) -> None:
    own = Project(tmp_path / "m", TOML)
    write_model(own.folder / "models" / "risk.onnx")
    own.declare(MODELLED)
    run(own, "release", "apply", "--yes")
    for file in (own.folder / ".splice" / "models").rglob("*"):
        if file.is_file():
            file.unlink()

    with own.serve(env={"SPLICE_PROJECT_APPLY": "never"}) as server:
        ready = server.get("/readyz")
        answer = server.post(PATH, GOOD)

    assert ready.status == 200
    assert any(text.startswith("route model:risk of orders: ") for text in ready.json["degraded"])
    assert (answer.status, answer.json["route"]) == (200, "rule:scorecard")
    assert answer.json["reason"] == "fallback"


def write_model(file: Path) -> None:
    """A model of one matrix: half of its first column, as a probability."""
    helper = pytest.importorskip("onnx.helper")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    kind = onnx.TensorProto.FLOAT
    half = helper.make_tensor("half", kind, [1, 1], [0.05])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["amount", "half"], ["score"])], "risk",
        [helper.make_tensor_value_info("amount", kind, [None, 1])],
        [helper.make_tensor_value_info("score", kind, [None, 1])], [half],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    file.parent.mkdir(parents=True)
    file.write_bytes(model.SerializeToString())


MODELLED = (
    INTEGRATIONS.replace(
        "routes = [splice.Rule(scorecard)]",
        'routes = [splice.Model("risk", features=("amount",)), splice.Rule(scorecard)]',
    )
    .replace("Screening(prediction.score", "Screening(prediction.score or 0.0")
    .replace("if prediction.score > 0.5", "if (prediction.score or 0.0) > 0.5")
)


def test_a_slip_in_the_declarations_on_disk_does_not_keep_the_live_release_from_answering(
    own: Project,
) -> None:
    run(own, "release", "apply", "--yes")
    own.declare("import splice\n\nclass Broken(\n")

    with own.serve() as server:
        answered = server.post("/v1/integrations/orders/calls", {"customer": "c", "amount": 1.0})
        log = server.log

    assert answered.status == 200
    assert "not applied" in log
    assert "integrations.py:3" in log
