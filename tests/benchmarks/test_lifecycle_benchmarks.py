"""The load that never waits counts every call, and the jobs `models` and `switch` tell what was."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import table  # noqa: E402
import table_lifecycle as lifecycle  # noqa: E402
from models.job import SUBJECTS, planned  # noqa: E402
from models.threads import heavy_model  # noqa: E402
from serve.subject import Bench, Command, numbered, own_python  # noqa: E402
from serve.subject_splice import prepare  # noqa: E402
from splice.adapters.runtimes.onnx import OnnxRuntime  # noqa: E402
from switch.changes import BROKEN, CHANGES, LOOK, Change, Window, figures, judged  # noqa: E402
from switch.constant import Constant, Sample  # noqa: E402
from switch.project import FIRST, RULE, SECOND, contrary, expected  # noqa: E402

ROWS = 4
SAID = {FIRST: [0.1, 0.2, 0.3, 0.4], SECOND: [0.9, 0.8, 0.7, 0.6], RULE: [0.5] * ROWS}


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers each call with its own body; hangs up on every so many of them."""

    protocol_version = "HTTP/1.1"
    hangs_up_on = 0
    asked = 0

    def do_POST(self) -> None:
        """One call."""
        kind = type(self)
        kind.asked += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        if kind.hangs_up_on and kind.asked % kind.hangs_up_on == 0:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[type[Echo]]:
    """A server of its own, and how it behaves."""

    class Own(Echo):
        """Counts for one test."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Own.port = server.server_port  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asking(echo: Any, looks: int, connections: int = 4) -> Constant:
    """A load of 500 calls a second at the echo, for so many looks of its script."""
    links = [socket.create_connection(("127.0.0.1", echo.port)) for _ in range(connections)]
    head = "POST / HTTP/1.1\r\nHost: echo\r\nContent-Length: 1\r\n\r\n"
    requests = [f"{head}{row}".encode() for row in range(ROWS)]
    load = Constant(links, requests, 500)
    load.run(iter([None] * looks))
    load.close()
    return load


def test_every_call_that_was_due_is_answered_in_its_turn(echo: Any) -> None:
    load = asking(echo, looks=10)

    assert len(load.samples) == echo.asked > 50
    assert all(one.status == 200 and one.body == str(one.row).encode() for one in load.samples)
    dues = sorted(one.due for one in load.samples)
    assert dues[-1] - dues[0] == pytest.approx((len(dues) - 1) / 500)


def test_a_call_that_is_hung_up_on_is_counted_and_the_load_goes_on(echo: Any) -> None:
    echo.hangs_up_on = 10

    load = asking(echo, looks=10)

    broken = [one for one in load.samples if one.status == BROKEN]
    assert len(load.samples) == echo.asked
    assert len(broken) == echo.asked // 10 > 4


def answer(version: str, row: int, probability: float, sent: float = 1.0) -> Sample:
    """A sample that some version answered."""
    route = RULE if version == RULE else "model:scoring"
    body = {"version": version, "route": route, "reply": {"probability": probability}}
    return Sample(sent, row, sent, sent + 0.004, 200, json.dumps(body).encode())


def refusal(sent: float, code: str = "stopped") -> Sample:
    """A sample that was refused."""
    return Sample(sent, 0, sent, sent + 0.001, 503, json.dumps({"code": code}).encode())


STOP = next(change for change in CHANGES if change.refuses)
WINDOWS = [
    Window(STOP, quiet=1.0, began=2.0, made=2.1, followed=2.5, ended=3.0),
    Window(Change("start", ()), quiet=3.0, began=4.0, made=4.1, followed=4.5, ended=5.0),
]


@pytest.mark.parametrize(
    ("sample", "wrong"),
    [
        (answer(FIRST, 2, 0.3), ""),
        (answer(SECOND, 2, 0.7), ""),
        (answer(RULE, 0, 0.5), ""),
        (answer(SECOND, 2, 0.3), "scoring@2 said 0.3"),
        (answer("scoring@3", 2, 0.3), "unreadable"),
        (Sample(1.0, 0, 1.0, 6.0), "no answer"),
        (Sample(1.0, 0, 1.0, 1.1, 500, b"{}"), "status 500"),
        (Sample(1.0, 0, 1.0, 1.1, 200, b"<html>"), "unreadable"),
        (refusal(1.9), "refused"),
        (refusal(2.2), ""),
        (refusal(4.4), ""),
        (refusal(4.6), "refused"),
        (refusal(3.0, "overloaded"), "refused: overloaded"),
    ],
)
def test_a_call_counts_only_with_the_answer_of_a_version_or_a_refusal_in_its_time(
    sample: Sample, wrong: str
) -> None:
    (found,) = judged([sample], WINDOWS, SAID)

    assert found == wrong or (wrong and found.startswith(wrong))


def test_a_window_tells_what_became_of_its_own_calls() -> None:
    samples = [answer(FIRST, 0, 0.1, sent) for sent in (0.5, 1.2, 1.4, 2.05)]
    samples += [refusal(2.3), refusal(2.7), refusal(3.5), answer(FIRST, 0, 0.9, 1.6)]

    found = figures(samples, judged(samples, WINDOWS, SAID), WINDOWS[0])

    assert (found["sent"], found["answered"], found["refused"]) == (6, 4, 2)
    assert found["dropped"] == 1
    assert found["followed_ms"] == pytest.approx(400)
    assert found["p99_before_ms"] == pytest.approx(4)


def test_the_second_version_says_the_contrary_of_the_first(tmp_path: Path) -> None:
    first = tmp_path / "first.onnx"
    first.write_bytes(two_classes())
    second = contrary(first, tmp_path / "second.onnx")

    said = [
        OnnxRuntime().load(file).run([{"features": [0.3]}])[0].score for file in (first, second)
    ]

    assert said[0] != pytest.approx(0.5)
    assert said[1] == pytest.approx(1 - said[0])


def two_classes() -> bytes:
    """A model of one feature that gives the probabilities of two classes."""
    import onnx

    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        two (float[N,1] features) => (int64[N] label, float[N,2] probabilities)
        <float[1,2] weights = {-1.0, 1.0}> {
            logits = MatMul(features, weights)
            probabilities = Softmax<axis = 1>(logits)
            label = ArgMax<axis = 1, keepdims = 0>(logits)
        }
    """)
    return model.SerializeToString()


def test_the_heavy_model_gives_one_probability_a_row(tmp_path: Path) -> None:
    model = OnnxRuntime().load(heavy_model(tmp_path / "heavy.onnx"))

    scores = [one.score for one in model.run([{"features": [0.1] * 30}, {"features": [2.0] * 30}])]

    assert all(score is not None and 0 < score < 1 for score in scores)


def test_the_load_goes_round_over_the_models() -> None:
    command = Command(["x"], Path(), ["/a", "/b"], lambda row: b"%d" % row[0], lambda _: 0.0)

    lines = command.lines([[1], [2]])

    assert lines == [b"/a\t1", b"/b\t1", b"/a\t2", b"/b\t2"]


def test_splice_serves_each_model_under_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"bytes")
    bench = Bench(tmp_path, tmp_path / "model.onnx", 1, "recorded", own_python(), models=4)

    command = prepare(bench)

    names = numbered("scoring", 4)
    declared = (command.cwd / "scoring.py").read_text()
    assert len(set(command.paths)) == 4
    assert sorted(file.stem for file in (command.cwd / "models").iterdir()) == sorted(names)
    assert all(f'splice.Model("{name}")' in declared for name in names)


def test_the_job_compares_with_batching_on_and_off() -> None:
    plan = planned(SUBJECTS, "1,32", 1.0, 1, every_variant=False)

    named = [plan.name(subject, variant) for subject, variant in plan.subjects]

    assert named == list(SUBJECTS)
    assert {"splice", "fastapi", "bentoml:batched", "bentoml:typed"} < set(named)


def models_table() -> dict[tuple[str, int | str, str], float]:
    """Results in which Splice is ahead everywhere."""
    found: dict[tuple[str, int | str, str], float] = {}
    for load in ("1x1", "4x128"):
        for subject, rps, p99 in (("splice", 900.0, 2.0), ("fastapi", 300.0, 3.0)):
            found |= {(subject, load, "rps"): rps, (subject, load, "p99_ms"): p99}
    return found


@pytest.mark.parametrize(
    ("row", "value", "broken"),
    [
        (("fastapi", "4x128", "rps"), 901.0, "4x128: 1.0 times the throughput of fastapi"),
        (("fastapi", "1x1", "p99_ms"), 1.9, "1x1: p99 2.00 ms"),
    ],
)
def test_being_behind_at_one_load_breaks_the_floor(
    row: tuple[str, int | str, str], value: float, broken: str
) -> None:
    before = table.FLOORS["models"](models_table())
    after = table.FLOORS["models"](models_table() | {row: value})

    assert len(before) == 4
    assert all(before.values())
    assert next(told for told, holds in after.items() if not holds).startswith(broken)
    assert "| 4x128 | 900 | 2.00 | 3.0 times | 3.00 |" in table.markdown(models_table(), "models")


def switch_table() -> dict[tuple[str, int | str, str], float]:
    """Results in which everything is as it should be."""
    found: dict[tuple[str, int | str, str], float] = {}
    for change in (LOOK, "rollback"):
        values = {"sent": 5000, "answered": 5000, "refused": 0, "dropped": 0}
        values |= {"p99_before_ms": 2.0, "p99_during_ms": 3.0}
        values |= {} if change == LOOK else {"followed_ms": 600}
        found |= {(change, "2 workers", name): float(value) for name, value in values.items()}
    found["all", "2 workers", "dropped"] = 0.0
    for state in lifecycle.STATES:
        for load in lifecycle.COST_LOADS:
            values = {"rps": 9000.0, "p50_ms": 1.0, "p99_ms": 2.0, "shadowed": 0.5}
            found |= {(state, load, name): value for name, value in values.items()}
    return found


@pytest.mark.parametrize(
    ("row", "value", "broken"),
    [
        (("rollback", "2 workers", "dropped"), 1.0, "rollback, 2 workers: 1 of 5000"),
        (("all", "2 workers", "dropped"), 1.0, "all calls, 2 workers: 1 dropped"),
        (("rollback", "2 workers", "followed_ms"), 1001.0, "rollback, 2 workers: followed"),
        (("shadow", 32, "p50_ms"), 1.2, "p50 at 32"),
    ],
)
def test_one_call_dropped_or_a_late_worker_breaks_the_floor(
    row: tuple[str, int | str, str], value: float, broken: str
) -> None:
    before = table.FLOORS["switch"](switch_table())
    after = table.FLOORS["switch"](switch_table() | {row: value})

    assert all(before.values())
    assert next(told for told, holds in after.items() if not holds).startswith(broken)
    assert "| rollback | 2 | 5,000 | 5,000 | 0 | 0 | 600 |" in table.markdown(
        switch_table(), "switch"
    )


def test_what_is_expected_of_the_rule_is_the_same_for_every_row() -> None:
    from serve.job import Asked

    said = expected(Asked([[0.0]] * 2, [0.25, 0.75]))

    assert said == {FIRST: [0.25, 0.75], SECOND: [0.75, 0.25], RULE: [0.5, 0.5]}
