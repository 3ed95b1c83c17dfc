"""`splice models …`: what a person types to register, look at, complete and check a version."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression

GRAPH = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {0.5, 0.25}> { y = MatMul(x, w) }
"""


@pytest.fixture
def file(command: Any) -> Path:
    onnx.save(onnx.parser.parse_model(GRAPH), command.folder / "m.onnx")
    return command.folder / "m.onnx"


def test_a_version_is_shown_with_all_that_is_known_of_it(command: Any, file: Path) -> None:
    command.write("card.toml", 'purpose = "Who pays"\nlimits = ["not for children"]\n')
    command.write("rows.csv", "a,b\n")
    added = command(
        "models", "add", "credit", file, "--card", "card.toml", "--owner", "risk", "--data",
        "rows.csv", "--param", "depth=3", "--run", "mlflow:7", "--revision", "abc", "--why", "new",
    )  # fmt: skip
    assert added.code == 0, added.err

    text = command("models", "show", "credit@champion").out
    shown = command("models", "show", "credit@1", "--json").json

    for part in ("risk", "Who pays", "not for children", "rows.csv", "depth=3", "mlflow:7", "abc",
                 "champion", "model.register by ", ": new"):  # fmt: skip
        assert part in text, part
    assert shown["card"]["owner"] == "risk"
    assert shown["version"]["lineage"]["data_sha256"]
    assert [one["action"] for one in shown["events"]] == ["model.register", "model.alias"]


def test_a_card_is_completed_and_the_first_one_stays(command: Any, file: Path) -> None:
    command("models", "add", "credit", file, "--owner", "risk")

    done = command(
        "models", "card", "credit@1", "--set", "metrics.auc=0.8", "--set", "limits=a; b", "--why",
        "measured",
    )  # fmt: skip
    wrong = command("models", "card", "credit@1", "--set", "colour=red")
    shown = command("models", "show", "credit@1", "--json").json

    assert done.json == {"owner": "risk", "metrics": {"auc": 0.8}, "limits": ["a", "b"]}
    assert wrong.code == 1
    assert "no field of a card" in wrong.err
    assert shown["version"]["card"] == {"owner": "risk"}
    assert shown["card"] == done.json
    assert shown["events"][-1]["why"] == "measured"


def test_tags_are_set_and_taken_away(command: Any, file: Path) -> None:
    command("models", "add", "credit", file)

    command("models", "tag", "credit@1", "region=EU", "checked=yes")
    left = command("models", "tag", "credit@1", "checked=")

    assert left.out == "region=EU\n"


def test_verify_names_the_version_that_was_changed(command: Any, file: Path) -> None:
    command("models", "add", "credit", file)
    whole = command("models", "verify")
    stored = next(one for one in (command.folder / ".splice/models").rglob("*") if one.is_file())
    stored.write_bytes(stored.read_bytes()[:-1])

    broken = command("models", "verify", "credit")

    assert (whole.code, broken.code) == (0, 1)
    assert "credit@1" in broken.out
    assert "another hash" in broken.out


def test_every_change_names_who_made_it(
    command: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLICE_USER", "ada")
    command("models", "add", "credit", file, "--alias", "")
    command("models", "alias", "credit@1", "champion", "--why", "best")
    command("models", "withdraw", "credit@1", "--why", "wrong month")
    command("models", "restore", "credit@1")

    events = command("models", "show", "credit@1", "--json").json["events"]

    assert [(one["action"], one["by"], one.get("why", "")) for one in events] == [
        ("model.register", "ada", ""),
        ("model.alias", "ada", "best"),
        ("model.withdraw", "ada", "wrong month"),
        ("model.restore", "ada", ""),
    ]


def test_the_revision_of_the_project_is_kept(command: Any, file: Path) -> None:
    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        done = subprocess.run(
            ["git", *who, *arguments],
            cwd=command.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", "splice.toml")
    git("commit", "-qm", "first")
    command("models", "add", "clean", file)
    command.settings("[server]\nport = 8001\n")
    command("models", "add", "changed", file)

    found = {
        name: command("models", "show", f"{name}@1", "--json").json["version"]["lineage"]
        for name in ("clean", "changed")
    }

    head = git("rev-parse", "HEAD")
    assert found["clean"]["code_revision"] == head
    assert found["changed"]["code_revision"] == f"{head}+changes"


def test_a_pickle_needs_the_setting_the_reason_and_its_columns(command: Any) -> None:
    x = np.random.default_rng(1).normal(size=(50, 2))
    joblib.dump(LogisticRegression().fit(x, x[:, 0] > 0), command.folder / "m.pkl")
    trust = ("--unsafe-pickle", "--why", "ours")

    plain = command("models", "add", "credit", "m.pkl")
    unset = command("models", "add", "credit", "m.pkl", *trust, "--features", "a,b")
    command.settings("[models]\nallow_pickle = true\n")
    nameless = command("models", "add", "credit", "m.pkl", *trust)
    kept = command(
        "models", "add", "credit", "m.pkl", *trust, "--features", "a,b", "--classes", "no,yes"
    )

    assert [one.code for one in (plain, unset, nameless, kept)] == [1, 1, 1, 0]
    assert "export it to ONNX" in plain.err.replace("Export", "export")
    assert "allow_pickle" in unset.err
    assert "--features" in nameless.err
    events = command("models", "show", "credit@1", "--json").json["events"]
    assert events[0]["action"] == "model.register_pickle"


def test_a_registry_that_is_away_is_told_and_the_alias_moves(command: Any, file: Path) -> None:
    command("models", "add", "credit", file, "--alias", "")
    command.settings('[registry]\nurl = "http://127.0.0.1:9"\n')

    moved = command("models", "alias", "credit@1", "champion")
    pulled = command("models", "pull", "credit", "--version", "1")
    both = command("models", "pull", "credit")

    assert moved.code == 0
    assert "splice models sync credit" in moved.err
    assert command("models", "show", "credit@champion").code == 0
    assert pulled.code == 3
    assert both.code == 1
