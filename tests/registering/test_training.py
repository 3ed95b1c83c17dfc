"""Training runs are logged, and the version that comes out names its run."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from registering_house import Registered
from sklearn.linear_model import LogisticRegression

import splice
from splice.adapters.net.mlflow import Mlflow, pairs
from splice.adapters.trackers.files import FileTracker
from splice.adapters.trackers.mlflow import MlflowTracker
from splice.adapters.trackers.wandb import WandbTracker
from splice.core.errors import DeclarationError, SettingsError, StoreError
from splice.ports.trackers import TrackerOptions
from splice.testing.contracts.trackers import Kept, TrackerContract


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the one run in a folder."""
    (file,) = (one for one in folder.rglob("*.jsonl") if "unsent" not in one.parts)
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


class TestFiles(TrackerContract):
    @pytest.fixture
    def tracker(self, tmp_path: Path) -> FileTracker:
        return FileTracker(TrackerOptions(folder=tmp_path))

    @pytest.fixture
    def logged(self, tmp_path: Path) -> Callable[[str], Kept]:
        def read(run: str) -> Kept:
            kept = Kept({}, {}, {}, None)
            assert (tmp_path / "credit" / f"{run.removeprefix('files:')}.jsonl").is_file()
            for line in lines(tmp_path):
                kept.params.update(line.get("params", {}))
                kept.metrics.update(line.get("metrics", {}))
                kept.tags.update(line.get("tags", {}))
                if "ended" in line:
                    kept.failed = line["ended"] == "failed"
            return kept

        return read


@pytest.mark.mlflow
class TestMlflow(TrackerContract):
    @pytest.fixture
    def tracker(self, mlflow_url: str) -> MlflowTracker:
        return MlflowTracker(TrackerOptions(url=mlflow_url, project="splice-trackers"))

    @pytest.fixture
    def logged(self, mlflow_url: str) -> Iterator[Callable[[str], Kept]]:
        api = Mlflow(mlflow_url)

        def read(run: str) -> Kept:
            found = api.get("runs/get", run_id=run.removeprefix("mlflow:"))
            assert found is not None
            known = found["run"]["data"]
            return Kept(
                pairs(known.get("params")),
                {one["key"]: one["value"] for one in known.get("metrics", [])},
                pairs(known.get("tags")),
                {"FAILED": True, "FINISHED": False}[found["run"]["info"]["status"]],
            )

        yield read
        api.close()


def records(raw: bytes) -> Iterator[bytes]:
    """The records of W&B's file: a head of 7 bytes, then LevelDB's log in blocks of 32 KiB."""
    at, parts = 7, list[bytes]()
    while at + 7 <= len(raw):
        left = 32_768 - at % 32_768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]
        parts.append(raw[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield b"".join(parts)
            parts.clear()


class TestWandb(TrackerContract):
    @pytest.fixture
    def tracker(self, tmp_path: Path) -> WandbTracker:
        return WandbTracker(TrackerOptions(folder=tmp_path, mode="offline"))

    @pytest.fixture
    def logged(self, tmp_path: Path) -> Callable[[str], Kept]:
        def read(run: str) -> Kept:
            # Its own process writes the file, and goes on for a moment after finish().
            give_up = time.monotonic() + 60
            while (kept := read_once(run)).failed is None and time.monotonic() < give_up:
                time.sleep(0.05)
            return kept

        def read_once(run: str) -> Kept:
            from wandb.proto import wandb_internal_pb2

            (file,) = tmp_path.rglob(f"run-{run.rpartition('/')[2]}.wandb")
            kept = Kept({}, {}, {}, None)
            for raw in records(file.read_bytes()):
                record = wandb_internal_pb2.Record()
                record.ParseFromString(raw)
                configs = [record.config, record.run.config]
                for item in (one for config in configs for one in config.update):
                    key = item.key or item.nested_key[0]
                    kept.params[key] = json.loads(item.value_json)
                for item in record.history.item:
                    name = item.key or item.nested_key[0]
                    if not name.startswith("_"):
                        kept.metrics[name] = json.loads(item.value_json)
                if record.WhichOneof("record_type") == "exit":
                    kept.failed = record.exit.exit_code != 0
            kept.tags = kept.params
            return kept

        return read


def trained() -> tuple[Any, Any]:
    x = np.random.default_rng(2).normal(size=(200, 3))
    return LogisticRegression(C=0.5).fit(x, x[:, 0] > 0), x


def test_a_version_names_its_run_and_what_it_was_given(project: Registered) -> None:
    model, x = trained()
    (project.folder / "rows.csv").write_bytes(b"a,b,c\n1,2,3\n")

    with splice.training("payers", {"C": 0.5, "seed": 2}, project=project.folder) as run:
        run.data(project.folder / "rows.csv")
        run.metrics(step=1, auc=0.7)
        run.metrics(auc=0.9)
        version = run.register(
            model, example=x, card=splice.Card(owner="risk", metrics={"brier": 0.1}), alias="best"
        )

    digest = hashlib.sha256(b"a,b,c\n1,2,3\n").hexdigest()
    assert version.lineage.run == run.id
    assert (version.lineage.data, version.lineage.data_sha256) == ("rows.csv", digest)
    assert version.lineage.params["seed"] == 2
    assert version.lineage.params["max_iter"] == 100
    assert version.card == splice.Card(owner="risk", metrics={"auc": 0.9, "brier": 0.1})
    assert project.stores.models.resolve("payers", "best") == version
    told = lines(project.folder / ".splice" / "runs")
    assert [next(iter(line)) for line in told] == [
        "started_us", "params", "tags", "metrics", "metrics", "tags", "ended",
    ]  # fmt: skip
    assert told[-2]["tags"] == {"splice.version": "payers@1", "splice.sha256": version.sha256}
    assert told[-1]["ended"] == "finished"


def test_a_block_that_raises_ends_its_run_as_failed(project: Registered) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        splice.training("payers", project=project.folder) as run,
    ):
        run.metrics(auc=1 / 0)

    assert lines(project.folder / ".splice" / "runs")[-1]["ended"] == "failed"


@pytest.mark.mlflow
def test_a_training_is_logged_to_mlflow(tmp_path: Path, mlflow_url: str) -> None:
    toml = f'[registry]\nurl = "{mlflow_url}"\n[tracking]\ntracker = "mlflow"\n'
    project = Registered(tmp_path / "project", toml)
    model, x = trained()

    with splice.training("payers", project=project.folder) as run:
        run.metrics(auc=0.9)
        version = run.register(model, example=x)

    api = Mlflow(mlflow_url)
    found = api.get("runs/get", run_id=run.id.removeprefix("mlflow:"))
    api.close()
    project.stores.close()
    assert version.lineage.run == run.id
    assert found is not None
    assert found["run"]["info"]["status"] == "FINISHED"
    assert pairs(found["run"]["data"]["tags"])["splice.version"] == "payers@1"


def test_a_training_is_logged_to_wandb_offline(tmp_path: Path) -> None:
    toml = '[tracking]\ntracker = "wandb"\nmode = "offline"\nproject = "payments"\n'
    project = Registered(tmp_path / "project", toml)
    model, x = trained()

    with splice.training("payers", {"C": 0.5}, project=project.folder) as run:
        run.metrics(auc=0.9)
        version = run.register(model, example=x)

    project.stores.close()
    assert version.lineage.run == run.id
    assert run.id.startswith("wandb:offline/payments/")
    assert list((project.folder / ".splice" / "runs").rglob("*.wandb"))


def test_a_tracker_that_is_away_at_the_start_is_an_error(tmp_path: Path) -> None:
    toml = '[tracking]\ntracker = "mlflow"\nurl = "http://127.0.0.1:9"\n'
    project = Registered(tmp_path / "project", toml)
    project.stores.close()

    with (
        pytest.raises(StoreError, match="refused"),
        splice.training("payers", project=project.folder),
    ):
        pytest.fail("the block must not run")


def test_a_tracker_that_goes_away_loses_nothing(
    project: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    folder = project.folder / ".splice" / "runs"
    model, x = trained()

    with splice.training("payers", {"C": 0.5}, project=project.folder) as run:
        moved = folder.rename(project.folder / "elsewhere")
        run.metrics(auc=0.8)
        run.metrics(auc=0.9)
        version = run.register(model, example=x)
        moved.rename(folder)
        run.metrics(brier=0.1)

    told = lines(folder)
    assert [line["metrics"] for line in told if "metrics" in line] == [
        {"auc": 0.8}, {"auc": 0.9}, {"brier": 0.1},
    ]  # fmt: skip
    assert told[-1]["ended"] == "finished"
    assert version.lineage.run == run.id
    assert len([one for one in caplog.records if "not logged for now" in one.message]) == 1


def test_what_a_tracker_never_takes_is_kept_in_a_file(
    project: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    folder = project.folder / ".splice" / "runs"

    with splice.training("payers", project=project.folder) as run:
        shutil.rmtree(folder / "payers")
        run.metrics(auc=0.8)

    (unsent,) = (folder / "unsent").iterdir()
    kinds = [json.loads(line)[0] for line in unsent.read_text().splitlines()]
    assert kinds == ["metrics", "finish"]
    assert "the tracker did not take them" in caplog.text


@pytest.mark.mlflow
def test_an_entry_that_is_refused_does_not_hold_up_the_others(
    tmp_path: Path, mlflow_url: str
) -> None:
    toml = f'[tracking]\ntracker = "mlflow"\nurl = "{mlflow_url}"\n'
    project = Registered(tmp_path / "project", toml)
    project.stores.close()

    with splice.training("payers", {"depth": 3}, project=project.folder) as run:
        run.params(depth=4)  # MLflow keeps the first value of a parameter
        run.metrics(auc=0.9)

    api = Mlflow(mlflow_url)
    found = api.get("runs/get", run_id=run.id.removeprefix("mlflow:"))
    api.close()
    assert found is not None
    assert pairs(found["run"]["data"]["params"]) == {"depth": "3"}
    assert found["run"]["data"]["metrics"][0]["value"] == 0.9
    assert list((project.folder / ".splice" / "runs" / "unsent").iterdir())


def test_a_name_or_a_tracker_that_cannot_be_is_refused(tmp_path: Path) -> None:
    project = Registered(tmp_path / "project", '[tracking]\ntracker = "paper"\n')
    project.stores.close()

    with pytest.raises(DeclarationError), splice.training("../payers", project=project.folder):
        pytest.fail("the block must not run")
    with (
        pytest.raises(SettingsError, match="paper"),
        splice.training("payers", project=project.folder),
    ):
        pytest.fail("the block must not run")
