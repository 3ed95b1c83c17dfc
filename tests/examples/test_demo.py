"""`make demo` is a promise: it runs to its end, and its figures come from the ledger."""

from __future__ import annotations

import fcntl
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> tuple[str, Path]:
    """Run once: the workers of a run share it, whoever of them comes first."""
    shared = tmp_path_factory.getbasetemp().parent / f"demo-{testrun_uid}"
    shared.mkdir(exist_ok=True)
    place, said = shared / "demo", shared / "said.txt"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            command = [sys.executable, str(EXAMPLES / "demo.py"), "--place", str(place)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stdout + done.stderr
            said.write_text(done.stdout)
    return said.read_text(), place


def row(text: str, name: str) -> tuple[int, int]:
    """Calls, and the share of right answers in percent."""
    found = re.search(rf"^  {name} +\d+ +(\d+) .*?(\d+)% \(", text, re.MULTILINE)
    assert found, text
    return int(found[1]), int(found[2])


@pytest.mark.model
def test_the_demo_answers_by_model_and_rule_and_shows_what_became_of_it(
    demo: tuple[str, Path],
) -> None:
    text, _ = demo

    model_calls, model_right = row(text, "credit@1")
    rule_calls, rule_right = row(text, "default_probability")
    assert (model_calls, rule_calls) == (200, 100)
    assert model_right > 75
    assert rule_right > 55
    assert f"all {rule_calls} as fallback" in text
    assert "credit@1 is withdrawn: taken away by the demo" in text
    assert "What became of it\n" in re.sub(r"[│ ]*\n", "\n", text)


@pytest.mark.model
def test_the_demo_lets_the_classifier_win_only_because_the_figures_do(
    demo: tuple[str, Path],
) -> None:
    text, _ = demo

    classifier, llm = row(text, "tickets@1"), row(text, "smollm2-135m-instruct")
    assert classifier[0] == llm[0] == 40
    assert classifier[1] > llm[1]
    assert "the figures favour tickets@1" in text


def test_the_declared_thresholds_are_those_that_training_chose(demo: tuple[str, Path]) -> None:
    _, place = demo
    source = (EXAMPLES / "credit" / "integration.py").read_text()
    report = json.loads((place / "build" / "credit" / "report.json").read_text())

    chosen = re.search(r"Thresholds\(approve=([\d.]+), decline=([\d.]+)\)", source)

    assert chosen
    assert (float(chosen[1]), float(chosen[2])) == (
        report["thresholds"]["approve"],
        report["thresholds"]["decline"],
    )


@pytest.mark.model
def test_the_demo_shows_the_gateway_with_its_reasons_its_bill_and_masked_texts(
    demo: tuple[str, Path],
) -> None:
    text, _ = demo
    part = text.partition("The gateway:")[2].partition("splice calls explain")[0]

    reasons = re.findall(r" (first|cached) +[\d.]+ ", part)
    assert reasons == ["first", "cached", "first"]
    assert re.search(r"first +[\d.]+ +\d+ ms +\d+\+\d+ ", part)
    assert "unknown" not in part
    assert part.count("I am [email].") == 3
    assert "anna@example.com" not in text


@pytest.mark.model
def test_the_demo_takes_documents_in_and_each_gets_its_decision(demo: tuple[str, Path]) -> None:
    text, place = demo
    part = text.partition("Document intake:")[2].partition("splice calls explain")[0]
    plain = re.sub(r"\s+", " ", part)

    assert re.search(r"21 events in [\d.]+ s: 12 accept, 6 reject, 3 review; 21 rows", plain)
    assert "12 of 12 accepted documents are of the kind they were made as" in plain
    assert "3 wait for a person, who has a day for each" in plain
    said = r"a person says that it is to be accepted: its outcome kind is now \w+\."
    assert re.search(said, plain)
    assert re.search(
        r"scanned\.pdf +pdf +invoice +0\.\d\d +accept +NO-2026-5326 EUR 2310\.33", part
    )
    assert re.search(r"huge\.txt +refused +by the upload service", part)
    with sqlite3.connect(place / "project" / ".splice" / "ledger.db") as ledger:
        rows = ledger.execute("SELECT key, count(*) FROM documents GROUP BY key").fetchall()
    ledger.close()
    assert [count for _, count in rows] == [1] * 21


@pytest.mark.model
def test_the_demo_shadows_a_second_version_and_the_gates_refuse_it(demo: tuple[str, Path]) -> None:
    text, _ = demo
    plain = re.sub(r"\s+", " ", text)

    calls, right = row(text, r"credit@2\s\(shadow\)")
    assert 100 <= calls <= 300  # all wait for their turn; a machine without any time loses some
    assert right < row(text, "credit@1")[1]
    assert "no second person's consent" in plain
    assert "bob consents to credit@1 for credit-decision" in plain
    refused = plain.partition("$ splice models promote credit@2")[2]
    assert re.search(r"NotWorse auc: auc is 0\.\d+, that of credit@1 0\.\d+: worse by", refused)
    assert re.search(r"[\d,]+ events and [\d,]+ calls hold", refused)
