"""`splice models validate|approve|promote|rollback`: what people and programs read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from gates_house import bad, good, integration, other, write_holdout

from splice.core.validation import Validation

MUST = ('splice.AtLeast("auc", 0.7)', 'splice.NotWorse("auc", margin=0.02)')


@pytest.fixture(scope="module")
def holdout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "holdout.csv"
    write_holdout(file)
    return file


@pytest.fixture
def bank(command: Any, holdout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project with a good model live, a better one, and a bad one; ada is at the keyboard."""
    monkeypatch.setenv("SPLICE_USER", "ada")
    (command.folder / "data").mkdir()
    shutil.copy(holdout, command.folder / "data" / "holdout.csv")
    command.write("integrations.py", integration(*MUST))
    for number, graph in enumerate((good(), other(), bad()), 1):
        file = command.folder / f"{number}.onnx"
        file.write_bytes(graph)
        alias = "champion" if number == 1 else ""
        assert command("models", "add", "credit", file, "--alias", alias).code == 0
    assert command("release", "apply", "--yes").code == 0
    return command


def test_a_version_is_validated_and_the_table_says_what_was_found(bank: Any) -> None:
    ran = bank("models", "validate", "credit@2")

    assert ran.code == 0, ran.err
    assert "credit@2 for credit-decision: data/holdout.csv, 300 rows, " in ran.out
    assert "AtLeast auc   passed  auc is 0.7" in ran.out
    assert "that of credit@1 0.7" in ran.out
    assert "credit@2 passed for credit-decision." in ran.out


def test_what_fails_ends_with_one_and_says_by_how_much(bank: Any) -> None:
    ran = bank("models", "validate", "credit@3")

    assert ran.code == 1
    assert "AtLeast auc   failed  auc is 0.5" in ran.out
    assert "wanted at least 0.7: 0.1" in ran.out
    assert "credit@3 did not pass: 2 of 3 fail." in ran.out
    refused = bank("models", "promote", "credit@3", "--yes")
    assert refused.code == 1
    assert "AtLeast auc: auc is 0.5" in refused.err
    assert "[not_promoted]" in refused.err
    assert bank("models", "list", "--json").json[-1]["aliases"] == ["champion"]


def test_a_program_reads_json(bank: Any) -> None:
    (found,) = bank("models", "validate", "credit@2", "--json").json

    assert (found["integration"], found["version"], found["passed"]) == ("credit-decision", 2, True)
    assert {one["gate"] for one in found["results"]} == {"Answers", "AtLeast auc", "NotWorse auc"}
    names = {"digest", "passed", *Validation.__struct_fields__}
    assert set(found) <= names


def test_promoting_shows_the_change_and_how_to_undo_it(bank: Any) -> None:
    asked = bank("models", "promote", "credit@2")
    assert asked.code == 1
    assert "Nothing was changed" in asked.err

    ran = bank("models", "promote", "credit@2", "--yes", "--why", "fewer rows")

    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "credit@champion  credit@1 -> credit@2",
        "  credit-decision  release 1: credit@1 -> credit@2",
        "Release 2 of credit-decision is live.",
        "Undo: splice models rollback credit",
    ]
    again = bank("models", "promote", "credit@2", "--yes")
    assert (again.code, again.out) == (0, "")
    assert "is the champion already" in again.err

    back = bank("models", "rollback", "credit", "--yes", "--why", "complaints")

    assert back.out.splitlines()[-1] == "Release 1 of credit-decision is live."
    events = bank("audit", "list", "--json")
    if events.code == 0:  # told by the command where it is there
        assert "model.rollback" in events.out


def test_without_gates_it_is_said_that_nothing_was_checked(bank: Any) -> None:
    source = integration(*MUST)
    start, end = source.index("    gates ="), source.index("    def decide")
    bank.write("integrations.py", source[:start] + source[end:])
    assert bank("release", "apply", "--yes").code == 0

    validated = bank("models", "validate", "credit@3")
    ran = bank("models", "promote", "credit@3", "--yes")

    assert validated.code == 1
    assert "no gates for it" in validated.err
    assert ran.code == 0
    assert "credit-decision: declares no gates, so nothing was checked" in ran.err
    assert "Release 3 of credit-decision is live." in ran.out


def test_a_second_person_consents_by_command(bank: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.write("integrations.py", integration(*MUST, risk="HIGH"))

    refused = bank("release", "apply", "--yes")
    assert refused.code == 1
    assert "splice models approve credit@1 --integration credit-decision" in refused.err
    # The release that is live has other gates: the consent is to the validation, not to a release.
    monkeypatch.setenv("SPLICE_USER", "bob")
    approved = bank("models", "approve", "credit@1", "--why", "read the table")
    assert approved.code == 0, approved.err
    assert approved.out.startswith("bob consents to credit@1 for credit-decision (validation ")
    monkeypatch.setenv("SPLICE_USER", "ada")
    assert bank("release", "apply", "--yes").code == 0

    assert "needs a second person's consent" in bank("models", "validate", "credit@2").err
    own = bank("models", "approve", "credit@2", "--why", "mine")
    assert own.code == 1
    assert "consent of ada, who registered it" in own.err


@pytest.mark.parametrize("verb", ["validate", "promote", "approve"])
def test_an_unknown_version_is_wrong_usage(bank: Any, verb: str) -> None:
    why = ["--why", "x"] if verb == "approve" else []

    ran = bank("models", verb, "credit@9", *why)

    assert ran.code == 2
    assert "credit@9: got no such version, expected one of credit: 3, 2, 1" in ran.err


def test_check_names_the_line_of_gates_whose_data_is_not_there(bank: Any) -> None:
    bank.write("integrations.py", integration(*MUST).replace("holdout.csv", "gone.csv"))

    ran = bank("check")

    assert ran.code == 1
    assert "Credit.gates" in ran.err
    assert "gone.csv: No such file" in ran.err


def test_applying_needs_no_data_where_the_same_gates_were_pinned(bank: Any) -> None:
    (bank.folder / "data" / "holdout.csv").unlink()

    ran = bank("release", "apply", "--yes")

    assert (ran.code, ran.err.strip()) == (0, "Nothing to apply.")


def test_a_version_answers_no_share_of_the_calls_before_it_has_passed(bank: Any) -> None:
    start = ("rollout", "start", "credit-decision")
    refused = bank(*start, "credit@3", "--share", "1 %", "-y")
    shadow = bank("rollout", "shadow", "credit-decision", "credit@3", "--share", "10 %")
    started = bank(*start, "credit@2", "--share", "1 %", "-y")
    finished = bank("rollout", "finish", "credit-decision", "-y")

    assert refused.code == 1
    assert "AtLeast auc: auc is 0.5" in refused.err
    assert (shadow.code, started.code, finished.code) == (0, 0, 0)
    assert "credit@2 is the champion; live now: release 4" in finished.out
    (status,) = bank("rollout", "status", "--json").json  # the shadow goes on
    assert "share" not in status
    assert [one["version"] for one in status["rollout"]["shadows"]] == ["credit@3"]


def test_a_version_that_learned_from_the_rows_of_its_gates_does_not_pass(bank: Any) -> None:
    file = bank.folder / "2b.onnx"

    changed = onnx.load_from_string(other())
    changed.doc_string = "the same trees, told to be of the held-out rows"
    file.write_bytes(changed.SerializeToString())
    bank("models", "add", "credit", file, "--data", bank.folder / "data" / "holdout.csv")

    ran = bank("models", "validate", "credit@4")

    assert ran.code == 1
    assert "Unseen" in ran.out
    assert "credit@4 was trained on holdout.csv itself" in ran.out.replace("data/", "")
