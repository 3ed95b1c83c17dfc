"""Pipelines that release: under a running server, through gates, past kills, by canary."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from retrain_house import FITTED, GIVEN, GOOD, MIDDLING, WORSE, graph, integration, write_data

from splice.app.application import App
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.errors import UnknownIntegration
from splice.core.pipeline import STEPS
from splice.testing.project import Project, Server

PATH = "/v1/integrations/tumour-check/calls"
TUMOUR = {"patient": "p1", "radius": 13.0, "texture": 20.0, "smoothness": 0.1}


class Callers:
    """Ask one question over and over; keep the answers' versions and all that went wrong."""

    def __init__(self, server: Server) -> None:
        self.versions: list[str] = []
        self.wrong: list[str] = []
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        connection = self._server.connection()
        while not self._over.is_set():
            answer = connection.post(PATH, TUMOUR)
            if answer.status == 200:
                self.versions.append(f"{answer.json['reply']['chance']:.4f}")
            else:
                self.wrong.append(f"{answer.status} {answer.body!r}")
            time.sleep(0.01)
        connection.close()

    def __enter__(self) -> Callers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def until_another(self, than: str) -> str:
        """Waits until the answer is another than that."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.versions and self.versions[-1] != than:
                return self.versions[-1]
            time.sleep(0.01)
        raise AssertionError(f"nothing but {than}, and {self.wrong}")


def project_of(folder: Path, training: str, declared: str) -> Project:
    project = Project(folder)
    project.declare(declared)
    project.declare(training, "training")
    write_data(folder)
    (folder / "given.onnx").write_bytes(graph(MIDDLING))
    return project


def test_a_better_version_answers_and_a_worse_one_does_not_while_the_server_runs(
    tmp_path: Path,
) -> None:
    project = project_of(tmp_path / "p", FITTED, integration())
    middling = project.folder / "given.onnx"
    added = project.run("models", "add", "tumour", str(middling), "--alias", "champion")
    assert added.returncode == 0, added.stderr
    (project.folder / "c.txt").write_text("50")
    asked = project.run("retrain", "ask", "tumour-check", "--why", "drift of radius")
    assert asked.returncode == 0, asked.stderr

    with project.serve() as server, Callers(server) as callers:
        first = callers.until_another("")
        watched = project.run("retrain", "watch", "--once", seconds=300)
        second = callers.until_another(first)
        (project.folder / "training.py").write_text(GIVEN)
        middling.write_bytes(graph(WORSE))
        refused = project.run("retrain", "tumour-check", seconds=300)
        time.sleep(1.2)  # longer than a server takes to follow

    assert watched.returncode == 0, watched.stderr
    assert refused.returncode == 1
    assert "AtLeast auc" in refused.stderr
    assert (callers.wrong, set(callers.versions)) == ([], {first, second})
    stores = Stores(load(project.folder, {}))
    try:
        assert stores.models.aliases("tumour") == {"champion": 2, "candidate": 3}
        bad, good = stores.pipelines.runs()
        version = stores.models.resolve("tumour", "2")
    finally:
        stores.close()
    assert (good.state, good.why, good.version) == ("done", "drift of radius", "tumour@2")
    assert (bad.state, bad.version) == ("refused", "tumour@3")
    assert version is not None
    assert version.lineage.original.startswith("sklearn.linear_model")
    assert version.lineage.params["C"] == 50.0
    assert version.card.metrics["accuracy"] > 0.85


def test_killed_at_every_step_a_run_still_releases_once(tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", GIVEN, integration())
    stores = Stores(load(project.folder, {}))
    watch = [sys.executable, "-m", "splice.cli.main", "retrain", "watch"]
    assert project.run("retrain", "ask", "tumour-check", "--why", "x").returncode == 0

    for step in STEPS:
        with (project.folder / "watch.log").open("ab") as log:
            watcher = subprocess.Popen(watch, cwd=project.folder, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 120
            while time.monotonic() < until and watcher.poll() is None:
                found = stores.pipelines.runs()[0].step(step)
                if found is not None:
                    break
                time.sleep(0.01)
        finally:
            watcher.kill()
            watcher.wait()
    last = project.run("retrain", "watch", "--once", seconds=120)

    try:
        (run,) = stores.pipelines.runs()
        versions = stores.models.models("tumour")
        promotions = [
            one for one in stores.audit.events(subject="tumour") if one.action == "model.promote"
        ]
    finally:
        stores.close()
    assert run.state == "done", (run, last.stderr, (project.folder / "watch.log").read_text())
    assert [one.state for one in run.steps] == ["done"] * 5
    assert [one.label for one in versions] == ["tumour@1"]
    assert len(promotions) == 1


def test_a_watcher_told_to_end_leaves_its_run_for_the_next(tmp_path: Path) -> None:
    project = project_of(tmp_path / "p", GIVEN.replace("return \"given.onnx\"", "while True: pass"),
                         integration('promote="never"'))  # fmt: skip
    stores = Stores(load(project.folder, {}))
    assert project.run("retrain", "ask", "tumour-check", "--why", "x").returncode == 0
    watch = [sys.executable, "-m", "splice.cli.main", "retrain", "watch"]
    watcher = subprocess.Popen(watch, cwd=project.folder, stderr=subprocess.DEVNULL)

    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and stores.pipelines.runs()[0].step("train") is None:
            time.sleep(0.02)
        watcher.send_signal(signal.SIGTERM)
        code = watcher.wait(60)
        (run,) = stores.pipelines.runs()
    finally:
        watcher.kill()
        stores.close()

    assert code == 0
    assert (run.state, run.holder, run.taken) == ("running", "", 0)
    assert "train" in [one.step for one in run.steps]
    left = [one for one in Path("/proc").glob("[0-9]*/cmdline") if _is_of(one, run.id)]
    assert left == []


def _is_of(file: Path, run_id: str) -> bool:
    with contextlib.suppress(OSError):
        return run_id.encode() in file.read_bytes()
    return False


@pytest.fixture
def given(command: Any) -> Any:
    """A project whose training gives a file, nothing applied yet."""
    command.write("training.py", GIVEN)
    write_data(command.folder)
    (command.folder / "given.onnx").write_bytes(graph(MIDDLING))
    return command


def test_high_risk_waits_for_a_second_person(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given.write("integrations.py", integration().replace("LIMITED", "HIGH"))
    monkeypatch.setenv("SPLICE_USER", "ada")

    ran = given("retrain", "tumour-check")

    assert ran.code == 1
    assert "no second person's consent" in ran.err
    assert "splice models approve tumour@1" in ran.err
    (run,) = given("retrain", "list", "--json").json
    assert (run["state"], run["steps"][-1]["step"]) == ("refused", "promote")
    shown = given("retrain", "show", run["id"])
    assert [line.split()[0] for line in shown.out.splitlines() if " done " in line] == [
        "data", "train", "register", "validate",
    ]  # fmt: skip
    assert given("retrain", "show", run["id"], "--json").json == run

    monkeypatch.setenv("SPLICE_USER", "eve")
    assert given("models", "approve", "tumour@1", "--why", "looked at the slices").code == 0
    monkeypatch.setenv("SPLICE_USER", "ada")
    again = given("retrain", "tumour-check")
    assert again.code == 0, again.err
    assert "tumour@1 is the champion" in again.err


def test_a_canary_starts_the_declared_rollout_once(given: Any) -> None:
    rollout = 'rollout = splice.Rollout(steps=("10 %", "50 %"))'
    given.write("integrations.py", integration('promote="canary"', rollout))
    assert given("models", "add", "tumour", "given.onnx", "--alias", "champion").code == 0
    assert given("release", "apply", "--yes").code == 0

    (given.folder / "given.onnx").write_bytes(graph(GOOD))
    started = given("retrain", "tumour-check")
    repeated = given("retrain", "tumour-check")
    (given.folder / "given.onnx").write_bytes(graph(GOOD, -16.0))
    another = given("retrain", "tumour-check")

    assert "tumour@2 for 10 %" in started.err
    assert started.code == repeated.code == 0, repeated.err
    assert another.code == 1
    assert "a rollout of tumour@2, which is running" in another.err
    assert "tumour@2 for 10 %" in given("rollout", "status", "tumour-check").out


def test_a_place_without_gates_is_not_entered_by_itself(given: Any) -> None:
    ungated = integration().replace("class TumourCheck", "class Second")
    gates = ungated[ungated.index("    gates = ") : ungated.index("    MORE" if "    MORE" in
                    ungated else "    def decide")]  # fmt: skip
    second = ungated.replace(gates, "").replace("    def retrain", "    def _unused")
    given.write("integrations.py", integration())
    assert given("models", "add", "tumour", "given.onnx", "--alias", "champion").code == 0
    given.write("second.py", second)
    given.settings('[project]\nmodules = ["integrations", "second"]\n')
    assert given("release", "apply", "--yes").code == 0

    (given.folder / "given.onnx").write_bytes(graph(GOOD))
    ran = given("retrain", "tumour-check")

    assert ran.code == 1
    assert "no gates for it in second" in ran.err


def test_what_is_wrong_with_a_pipeline_is_said_by_check(given: Any) -> None:
    assert given("models", "add", "tumour", "given.onnx", "--alias", "champion").code == 0
    for pipeline, said in {
        'promote="always"': "promote='always'",
        'schedule="Sunday"': "schedule='Sunday'",
        'deadline="60 d"': "at most 30 d",
        "memory_mb=3": "memory_mb=3",
        'promote="canary"': "no rollout with steps",
        'promote=3, memory_mb="many"': "promote=3",
    }.items():
        given.write("integrations.py", integration(pipeline))
        checked = given("check")
        assert checked.code == 1, pipeline
        assert said in checked.err
        assert "integrations.py:4" in checked.err, checked.err
    for change, said in {
        'model="tumour"=>model="heart"': "model='heart'",
        "tumour@champion=>tumour@1": "a model whose champion a route follows: none",
        "data=load=>data=None": "a function data(run)",
        "train=train=>train=load": "train: arguments that do not fit",
        "return splice.Pipeline(=>return dict(": "dict",
        "from training import load, train=>raise ValueError('away')": "ValueError: away",
    }.items():
        old, new = change.split("=>")
        given.write("integrations.py", integration().replace(old, new))
        assert said in given("check").err
    assert given("release", "apply", "--yes").code == 0, "a release does not ask how to retrain"
    text = integration()
    gates = text[text.index("    gates = ") : text.index("    def decide")]
    given.write("integrations.py", text.replace(gates, ""))
    assert "no gates for tumour" in given("check").err


def test_commands_say_what_they_cannot_do(given: Any) -> None:
    given.write("integrations.py", integration())

    assert "no integration of that name" in given("retrain", "nobody").err
    assert "no integration of that name" in given("retrain", "ask", "nobody", "--why", "x").err
    assert "no such run" in given("retrain", "show", "nothing").err
    assert "one of data, train" in given("retrain", "tumour-check", "--step", "dance").err
    assert "step by step" in given("retrain", "tumour-check", "--step", "train").err
    assert "left behind" in given("retrain", "tumour-check", "--resume").err


def test_a_program_asks_for_a_run(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given.write("integrations.py", integration())
    assert given("models", "add", "tumour", "given.onnx", "--alias", "champion").code == 0

    async def ask() -> list[str]:
        async with App(project=given.folder, apply="new") as app:
            with pytest.raises(UnknownIntegration):
                await app.retrain("nobody", why="drift")
            return [await app.retrain("tumour-check", why=why) for why in ("drift", "more")]

    first, second = asyncio.run(ask())

    (run,) = given("retrain", "list", "--json").json
    assert first == second == run["id"]
    assert (run["state"], run["why"]) == ("asked", "drift")
    assert "drift" in given("retrain", "list").out
