"""The questionnaire and the checklist, as the command line shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from duties_house import (
    ANSWERS,
    DAY_US,
    NAME,
    Command,
    calls,
    defaults,
    now_us,
    opened,
    validation_of,
    write_project,
)

from splice.core.versions import Card

ROOT = Path(__file__).parents[2]


@pytest.fixture
def applied(command: Command) -> Command:
    """A project whose credit integration is live."""
    write_project(command.folder)
    assert command("release", "apply", "--yes").code == 0
    return command


def lines_of(command: Command, *more: str) -> dict[str, dict[str, Any]]:
    said = command("duties", NAME, "--json", *more).json
    return {
        line["key"]: line for chapter in said["checklist"]["chapters"] for line in chapter["lines"]
    }


def test_a_prohibited_practice_is_told_and_cannot_be_applied(command: Command) -> None:
    write_project(
        command.folder, answers=ANSWERS.replace("practices=[]", 'practices=["manipulation"]')
    )

    checked, applied = command("check"), command("release", "apply", "--yes")

    assert checked.code == applied.code == 1
    assert "a prohibited practice (Art. 5(1)(a)" in checked.err
    with opened(command.folder) as stores:
        assert stores.releases.live() == []


def test_a_risk_that_the_answers_contradict_is_told(command: Command) -> None:
    write_project(command.folder)
    file = command.folder / "integrations.py"
    file.write_text(file.read_text("utf-8").replace("Risk.HIGH", "Risk.LIMITED"), "utf-8")

    checked = command("check")

    assert checked.code == 1
    assert "write risk = splice.Risk.HIGH" in checked.err.replace("Write", "write")


def test_the_tier_is_told_with_its_article_date_and_source(applied: Command) -> None:
    told = applied("risk", NAME)

    assert f"{NAME}: high" in told.out
    assert "declared: risk high; " in told.out
    assert "uses credit" in told.out
    assert "Annex III 5(b)" in told.out
    assert "from 2027-12-02" in told.out
    assert "eur-lex.europa.eu" in told.out
    assert "not legal advice" in told.err
    assert "Art. 27" in told.out
    assert applied("risk").out == told.out


def test_the_questions_are_printed_with_every_key(command: Command) -> None:
    told = command("risk", "--questions")

    for key in ("social_scoring", "credit", "lifts", "interacts", "narrow_task", "automatic"):
        assert key in told.out


def test_a_fresh_integration_has_gaps_that_say_what_closes_them(applied: Command) -> None:
    told = applied("duties", NAME)

    assert told.code == 1
    assert "[ ] risk.limits" in told.out
    assert 'splice models card credit@1 --set "limits=…"' in told.out
    assert "[ ] records.automatic" in told.out
    assert "[x] documentation.design" in told.out
    assert "[x] records.chain" in told.out


def test_evidence_ticks_the_items_and_nothing_else_does(applied: Command) -> None:
    before = lines_of(applied)
    with opened(applied.folder) as stores:
        version = stores.models.resolve("credit", "1")
        assert version is not None
        stores.validations.add_validation(validation_of(version))
        answered = calls(40)
        stores.records.append(answered)
        stores.outcomes.append_outcomes(defaults(answered), now_us())
        stores.releases.set_stopped(NAME, "a drill", by="ada", now_us=now_us())
        stores.releases.set_stopped(NAME, "", by="ada", now_us=now_us())
    set_ = ["owner=ada", "purpose=Loans", "training_data=2024", "limits=No firms",
            "assumptions=Salaried", "metrics.auc=0.81"]  # fmt: skip
    applied("models", "card", "credit@1", *[part for one in set_ for part in ("--set", one)])

    after = lines_of(applied)

    ticked = {
        key for key in after if (before[key]["state"], after[key]["state"]) == ("gap", "done")
    }
    assert ticked == {
        "risk.limits", "risk.tested", "data.tested", "data.bias", "documentation.cards",
        "instructions.figures", "accuracy.validated", "accuracy.measured", "accuracy.robust",
        "records.automatic", "oversight.stop", "fria.period",
    }  # fmt: skip
    assert "40 calls" in after["records.automatic"]["said"]
    assert "40 outcomes of defaulted" in after["accuracy.measured"]["said"]
    assert "age=18-25" in after["data.bias"]["said"]
    proof = after["risk.tested"]["proofs"][0]
    assert proof["kind"] == "validation"
    assert len(proof["digest"]) == 64


def test_each_proven_line_names_a_proof_and_each_gap_what_closes_it(applied: Command) -> None:
    for key, line in lines_of(applied, "--all").items():
        if line["state"] == "gap":
            assert line["todo"], key
        elif key != "incidents.reported":  # where there was none, nothing is to be shown
            assert line["proofs"], key


def test_a_failed_or_expired_validation_is_a_gap(applied: Command) -> None:
    with opened(applied.folder) as stores:
        version = stores.models.resolve("credit", "1")
        assert version is not None
        stores.validations.add_validation(validation_of(version, expires_us=now_us() - 1))

    lines = lines_of(applied)

    assert lines["risk.tested"]["state"] == "done"
    assert lines["accuracy.validated"]["state"] == "gap"
    assert "Expired: credit@1" in lines["accuracy.validated"]["said"]
    with opened(applied.folder) as stores:
        stores.validations.add_validation(validation_of(version, passed=False))
    assert lines_of(applied)["risk.tested"]["state"] == "gap"


def test_what_only_a_person_knows_is_attested_and_expires(applied: Command) -> None:
    attest = (
        "duties",
        NAME,
        "--attest",
        "risk.residual",
        "--text",
        "Late payers",
        "--valid",
        "30 d",
    )

    assert applied(*attest).code == 1  # other gaps are left

    with opened(applied.folder) as stores:
        (said,) = stores.duties.attestations(NAME)
    assert said.text == "Late payers"
    assert said.expires_us - said.at_us == 30 * DAY_US
    line = lines_of(applied)["risk.residual"]
    assert line["state"] == "done"
    assert "Late payers" in line["said"]
    applied("duties", NAME, "--withdraw", said.id, "--why", "not so")
    assert lines_of(applied)["risk.residual"]["state"] == "gap"
    assert "was taken back" in lines_of(applied)["risk.residual"]["said"]


def test_what_ran_out_is_a_gap_again(applied: Command) -> None:
    applied("duties", NAME, "--attest", "risk.residual", "--text", "Late payers", "--valid", "1 us")

    line = lines_of(applied)["risk.residual"]

    assert line["state"] == "gap"
    assert "has run out" in line["said"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--attest", "risk.tested", "--text", "x"), "an item that records show"),
        (("--attest", "no.such", "--text", "x"), "no such item"),
        (("--attest", "risk.residual"), "Which risks are left"),
        (("--attest", "risk.residual", "--text", "x", "--valid", "2000 d"), "three years"),
    ],
)
def test_nothing_else_can_be_ticked_by_hand(
    applied: Command, options: tuple[str, ...], told: str
) -> None:
    said = applied("duties", NAME, *options)

    assert said.code == 2
    assert told in said.err
    with opened(applied.folder) as stores:
        assert stores.duties.attestations(NAME) == []


def test_a_changed_audit_log_is_a_gap_that_names_the_event(applied: Command) -> None:
    import sqlite3

    with sqlite3.connect(applied.folder / ".splice/ledger.db") as database:
        database.execute("DROP TRIGGER IF EXISTS audit_events_no_update")
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            if "audit" in name:
                database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE audit_events SET by = 'mallory' WHERE number = 1")
    database.close()

    line = lines_of(applied)["records.chain"]

    assert line["state"] == "gap"
    assert "Event 1 does not hold" in line["said"]


def test_a_card_says_what_a_person_must_add(applied: Command) -> None:
    told = applied("cards", "model", "credit@1")

    assert "# Model card: credit@1" in told.out
    assert "where it must not be used" in told.out
    assert "the hash of its training data" in told.out
    card = applied("cards", "model", "credit@1", "--format", "json").json
    assert card["answers"] == [f"{NAME} release 1"]
    assert Card(**card["card"]) == Card()


def test_the_card_of_an_integration_has_its_routes_and_its_gaps(applied: Command) -> None:
    told = applied("cards", "integration", NAME)

    for part in ("Integration card: credit-decision", "Decide on small loans.", "rule:scorecard",
                 "People who ask for a loan", "Which risks are left"):  # fmt: skip
        assert part in told.out


def test_the_impact_assessment_is_prefilled_and_names_what_is_missing(applied: Command) -> None:
    with opened(applied.folder) as stores:
        stores.records.append(calls(12))
        stores.records.append(calls(5, ago_us=40 * DAY_US))

    found = applied("cards", "fria", NAME, "--format", "json").json

    elements = {one["point"]: one for one in found["elements"]}
    assert found["due"] is True
    assert "17 calls on 2 of" in elements["Art. 27(1)(b)"]["said"]
    assert elements["Art. 27(1)(c)"]["known"] == ["As declared: People who ask for a loan"]
    assert "mostly follows" in elements["Art. 27(1)(a)"]["known"][1]
    assert "Which harm can it do" in elements["Art. 27(1)(d)"]["missing"]
    assert "not legal advice" in found["notice"]


def test_tests_that_statements_name_are_there(applied: Command) -> None:
    named = {
        proof["name"]
        for line in lines_of(applied, "--all").values()
        for proof in line["proofs"]
        if proof["kind"] == "test"
    }

    assert named
    assert all((ROOT / one).is_file() for one in named)
