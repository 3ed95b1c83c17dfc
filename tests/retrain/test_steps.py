"""Steps in processes of their own: whatever users' code does there, the run says how it went."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from retrain_house import integration

from splice.app.pipeline_data import Kept, kept
from splice.app.pipeline_process import StepProcesses, folder_of
from splice.app.pipelines import holder, is_gone, pipelines_of, plan_of
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.control.pipelines import Plan
from splice.core.errors import Overtaken
from splice.core.pipeline import PipelineRun

MODEL = """
    <ir_version: 8, opset_import: ["": 17]>
    tumour (float[N,3] x) => (float[N,1] chance)
    <float[3,1] w = {0.5, 0.1, BIAS}, float[1] b = {-9.0}>
    {
        product = MatMul(x, w)
        logit = Add(product, b)
        chance = Sigmoid(logit)
    }
"""


def model(bias: float = 1.0) -> bytes:
    return onnx.parser.parse_model(MODEL.replace("BIAS", str(bias))).SerializeToString()


FIRST = 'return "first.onnx"'


class Steps:
    """A project whose pipeline registers what its training says, and nothing more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "splice.toml").write_text('[project]\nmodules = ["integrations"]\n')
        (folder / "train.csv").write_text("a\n1\n")
        (folder / "first.onnx").write_bytes(model())
        self.settings = load(folder, {})
        self.stores = Stores(self.settings)

    def declare(
        self, train: str = FIRST, data: str = 'return "train.csv"', pipeline: str = ""
    ) -> Plan:
        """A pipeline with these bodies of `train(run, data)` and `load(run)`."""
        source = f"def load(run):\n    {data}\n\ndef train(run, data):\n    {train}\n"
        (self.folder / "training.py").write_text(f"import splice\n\n{source}")
        declared = integration('promote="never", ' + pipeline)
        (self.folder / "integrations.py").write_text(declared)
        return plan_of(self.settings, "tumour-check")

    def run(self, *bodies: str, **more: str) -> PipelineRun:
        """A run of such a pipeline, from its beginning to its end."""
        plan = self.declare(*bodies, **more)
        runs = pipelines_of(self.settings, self.stores)
        return runs.go(runs.begin(plan, by="ada", why="drift"), plan, lambda _: None)

    def at_train(self, train: str) -> PipelineRun:
        """A run whose data is there."""
        plan = self.declare(train)
        runs = pipelines_of(self.settings, self.stores)
        begun = runs.ask("tumour-check", by="ada", why="", stepwise=True)
        return runs.step(begun.id, "data", plan)

    def log(self, run: PipelineRun, step: str) -> str:
        return (folder_of(self.settings, run.id) / f"{step}.log").read_text("utf-8", "replace")


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    made = Steps(tmp_path / "project")
    yield made
    made.stores.close()


def test_the_version_names_its_data_its_training_and_its_run(steps: Steps) -> None:
    run = steps.run(
        "run.params(depth=3); run.metrics(auc=0.8, step=1)\n"
        "    run.metrics(auc=0.9, loss=float('nan'))\n"
        '    return splice.Trained(model="first.onnx", card=splice.Card(owner="ada"))'
    )

    version = steps.stores.models.resolve("tumour", "candidate")
    assert run.state == "done"
    assert version is not None
    assert (version.label, version.card.owner) == (run.version, "ada")
    assert version.card.metrics == {"auc": 0.9}
    assert version.lineage.params["depth"] == 3
    assert version.lineage.run == run.tracked
    assert version.lineage.data == "train.csv"
    assert version.lineage.data_sha256 == run.data_sha256
    event = next(
        one for one in steps.stores.audit.events(subject="tumour") if one.action == "model.register"
    )
    assert event.details["pipeline"] == run.id
    assert steps.stores.models.aliases("tumour") == {"candidate": 1}

    again = steps.run()  # the same bytes are the same version

    assert (again.version, again.outputs("register")["new"]) == (run.version, False)


def test_rows_reach_the_training_as_they_were(steps: Steps) -> None:
    rows = steps.run(
        "print(repr(data)); return 'first.onnx'", 'return [{"age": 3, "name": "Zoë", "note": None}]'
    )

    assert steps.log(rows, "train").strip() == "[{'age': 3, 'name': 'Zoë', 'note': None}]"
    assert rows.outputs("data")["rows"] == 1


def test_a_change_in_a_folder_of_data_is_another_hash(tmp_path: Path) -> None:
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    for name in ("b", "a", "deep/c"):
        (tmp_path / "parts" / name).write_text(name)

    def found() -> Kept:
        return kept(["parts", Path("parts/a")], tmp_path, tmp_path)

    first, again = found(), found()
    (tmp_path / "parts" / "deep" / "c").write_text("other")
    changed = found()
    (tmp_path / "parts" / "deep" / "c").rename(tmp_path / "parts" / "d")
    moved = found()

    assert first == again
    assert len({first.sha256, changed.sha256, moved.sha256}) == 3
    assert first.read() == [tmp_path / "parts", tmp_path / "parts" / "a"]
    whole = kept("parts", tmp_path, tmp_path)
    assert (whole.kind, whole.name, whole.read()) == ("file", "parts", tmp_path / "parts")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("raise ValueError('no rows left')", "ValueError: no rows left"),
        ("import sys; sys.exit(3)", "it called sys.exit(3)"),
        ("import os; os._exit(0)", "did not say how it went"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("return None", "NoneType"),
        ("return 'gone.onnx'", "no file"),
        ("open('x.pkl', 'wb').write(__import__('pickle').dumps([1])); return 'x.pkl'", "a pickle"),
        ("open('train.csv', 'a').write('2'); return 'first.onnx'", ""),
    ],
)
def test_a_training_that_goes_wrong_fails_its_run(steps: Steps, train: str, said: str) -> None:
    run = steps.run(train)

    if not said:  # what it does to its own input is known, and goes on
        assert run.state == "done"
        return
    assert (run.state, run.steps[-1].step, run.steps[-1].state) == ("failed", "train", "failed")
    assert said in run.error
    assert steps.stores.models.models("tumour") == []


def test_a_trace_is_in_the_log_and_a_customers_name_not_in_the_audit_log(steps: Steps) -> None:
    run = steps.run("raise ValueError('Mrs Miller')")

    assert "Traceback" in steps.log(run, "train")
    assert "Mrs Miller" in run.error
    assert "Miller" not in str(steps.stores.audit.events())


def test_data_that_is_none_is_told(steps: Steps) -> None:
    for data, said in (
        ("return []", "an empty list"),
        ("return None", "a NoneType"),
        ("return 'gone.csv'", "no file"),
        ("return [{'a': object()}]", "rows that JSON cannot hold"),
    ):
        assert said in steps.run(data=data).error


def test_data_changed_between_two_steps_is_found(steps: Steps, monkeypatch: Any) -> None:
    whole = StepProcesses.execute

    def changing(self: StepProcesses, run: PipelineRun, step: Any, *rest: Any) -> Any:
        end = whole(self, run, step, *rest)
        if step == "data":
            (steps.folder / "train.csv").write_text("a\n2\n")
        return end

    monkeypatch.setattr(StepProcesses, "execute", changing)

    assert "as it was when step data ended" in steps.run().error


def test_sources_changed_between_two_steps_end_the_run(steps: Steps, monkeypatch: Any) -> None:
    whole = StepProcesses.execute

    def changing(self: StepProcesses, run: PipelineRun, step: Any, *rest: Any) -> Any:
        end = whole(self, run, step, *rest)
        with (steps.folder / "training.py").open("a") as source:
            source.write("# another thought\n")
        return end

    monkeypatch.setattr(StepProcesses, "execute", changing)

    assert "its sources were changed while it ran" in steps.run().error


def test_megabytes_of_output_are_cut_in_the_middle(steps: Steps) -> None:
    run = steps.run("print('begin'); print('x' * 20_000_000); print('end'); return 'first.onnx'")

    log = steps.log(run, "train")
    assert run.state == "done"
    assert log.startswith("begin")
    assert log.endswith("end\n")
    assert "bytes are left out here" in log
    assert len(log) < 5_000_000


def executor(steps: Steps) -> StepProcesses:
    return StepProcesses(steps.settings, lambda _: "")


def test_an_endless_training_ends_at_its_deadline(steps: Steps) -> None:
    run = steps.at_train("while True: pass")

    end = executor(steps).execute(run, "train", 0.5, 0, lambda: None)

    assert (end.state, end.error) == ("failed", "its deadline is over: it had 500 ms")


def test_who_lost_his_lease_ends_the_training_with_all_that_it_started(steps: Steps) -> None:
    run = steps.at_train(
        "import subprocess, time\n"
        "    child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "    open('part', 'w').write(str(child.pid)); __import__('os').rename('part', 'child')\n"
        "    while True: time.sleep(1)"
    )
    file = steps.folder / "child"

    def beat() -> None:
        if file.exists():
            raise Overtaken("tumour-check")

    with pytest.raises(Overtaken):
        executor(steps).execute(run, "train", 600, 0, beat)

    left = Path(f"/proc/{file.read_text()}/cmdline")
    until = time.monotonic() + 30
    while time.monotonic() < until and left.exists() and left.read_bytes():  # not ended, or reaped
        time.sleep(0.05)
    assert not left.exists() or not left.read_bytes()


def test_a_training_that_eats_memory_is_ended(steps: Steps) -> None:
    run = steps.run(
        "eaten = []\n    while True: eaten.append(bytearray(b'x' * 10_000_000))",
        pipeline="memory_mb=400",
    )

    assert run.state == "failed"
    assert "of memory, allowed 400 MB" in run.error


def test_what_a_training_starts_it_can_end(steps: Steps) -> None:
    run = steps.run(
        "import multiprocessing, subprocess, time\n"
        "    program = subprocess.Popen(['sleep', '600'])\n"
        "    forked = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))\n"
        "    forked.start(); forked.terminate(); forked.join()\n"
        "    program.terminate(); print(program.wait(), forked.exitcode)\n"
        "    return 'first.onnx'",
        pipeline='deadline="1 min"',
    )

    assert steps.log(run, "train").strip() == "-15 -15"


def test_a_step_goes_on_when_its_group_is_asked_to_end(steps: Steps) -> None:
    run = steps.run("import os, signal; os.kill(os.getpid(), signal.SIGTERM); return 'first.onnx'")

    assert run.state == "done", "whether it ends is for its parent to say"


def test_a_full_disk_fails_the_run(steps: Steps) -> None:
    folder = steps.folder / ".splice" / "pipelines"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("where folders should be made")

    run = steps.run()

    assert run.state == "failed"
    assert "NotADirectoryError" in run.error or "FileExistsError" in run.error


def test_threads_left_running_hold_nothing_up(steps: Steps) -> None:
    run = steps.run(
        "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    return 'first.onnx'"
    )

    assert run.state == "done"


def test_a_step_that_was_done_before_the_ledger_knew_is_not_done_again(steps: Steps) -> None:
    done = steps.run("print('trained'); return 'first.onnx'")
    store = steps.stores.pipelines
    lost = [one for one in done.steps if one.step == "data"]
    left = msgspec.structs.replace(done, state="running", steps=tuple(lost), ended_us=0)
    store.save_run(left)
    plan = plan_of(steps.settings, "tumour-check")
    runs = pipelines_of(steps.settings, steps.stores)

    again = runs.go(runs.begin(plan, by="bob", why="", resume=True), plan, lambda _: None)

    assert again.state == "done"
    assert steps.log(again, "train").count("trained") == 1


def test_a_holder_is_gone_when_its_process_is_and_not_before() -> None:
    own = holder()
    machine, pid, started, name = own.split(" ")

    assert not is_gone(own)
    assert is_gone(f"{machine} {pid} 1 {name}"), "the number is another process's by now"
    assert is_gone(f"{machine} 999999999 {started} {name}")
    assert not is_gone(f"another-machine {pid} 1 {name}"), "nobody here can tell"
    assert not is_gone("")
    assert str(os.getpid()) == pid
