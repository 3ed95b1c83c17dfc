"""Incidents: a clock by their kind, evidence that is frozen and copied, and who is reminded."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from duties_house import DAY_US, NAME, Command, calls, now_us, opened, write_project

from splice.adapters.notifiers.wording import headline
from splice.adapters.vaults.file import FileVault
from splice.app.folders import broken
from splice.app.incidents import remind_of
from splice.app.settings import load
from splice.control.duties.incidents import Happened, Incidents, reminder_due
from splice.core.alerts import Message
from splice.core.duties import Incident, freeze_of
from splice.core.errors import DeclarationError, Overtaken
from splice.declare.law import eu_ai_act

HOUR_US = 3_600_000_000
ALERTS = """
[alerts.oncall]
kind = "webhook"
url = "https://oncall.example/hook"

[alerts.others]
kind = "webhook"
url = "https://others.example/hook"
integrations = ["triage"]
"""


@pytest.fixture
def applied(command: Command) -> Command:
    write_project(command.folder, more=ALERTS)
    assert command("release", "apply", "--yes").code == 0
    return command


def open_one(command: Command, kind: str = "health", *more: str) -> dict[str, Any]:
    said = command("incidents", "open", NAME, "--kind", kind, "--what", "It hurt", "--json", *more)
    assert said.code == 0, said.err
    return said.json


@pytest.mark.parametrize(
    ("kind", "days"),
    [("death", 10), ("health", 15), ("infrastructure", 2), ("widespread", 2), ("rights", 15),
     ("property", 15)],
)  # fmt: skip
def test_the_clock_runs_from_when_it_was_known(kind: str, days: int) -> None:
    stored: list[Incident] = []

    class Kept:
        def open_incident(self, incident: Incident, freeze: object) -> None:
            stored.append(incident)

    book = Incidents(Kept(), eu_ai_act(), lambda: "id")  # type: ignore[arg-type]
    book.open(Happened(NAME, kind, "it hurt", "ada", 5 * DAY_US), 7 * DAY_US)

    assert stored[0].due_us == (5 + days) * DAY_US
    assert stored[0].left_us(7 * DAY_US) == (days - 2) * DAY_US


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (Happened(NAME, "mishap", "x", "ada", 1), "no such kind"),
        (Happened(NAME, "death", "x", "ada", 9), "has not come"),
        (Happened(NAME, "death", " ", "ada", 1), "nothing"),
        (Happened(NAME, "death", "x", "ada", 1, 3, 2), "end before the beginning"),
    ],
)
def test_what_makes_no_sense_is_refused(said: Happened, wrong: str) -> None:
    with pytest.raises(DeclarationError, match=wrong):
        Incidents(None, eu_ai_act(), lambda: "id").open(said, 5)  # type: ignore[arg-type]


def test_an_incident_freezes_its_window_and_copies_what_is_in_it(applied: Command) -> None:
    with opened(applied.folder) as stores:
        inside, before = calls(7), calls(3, ago_us=60 * DAY_US)
        stores.records.append(inside + before)

    incident = open_one(applied)

    folder = Path(incident["evidence"])
    lines = (folder / "calls.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["call_id"] for line in lines} == {one.call_id for one in inside}
    assert json.loads(lines[0])["input"]
    assert broken(folder, incident["evidence_sha256"]) == []
    assert (folder.stat().st_mode & 0o777, (folder / "calls.jsonl").stat().st_mode & 0o777) == (
        0o700, 0o600,
    )  # fmt: skip
    with opened(applied.folder) as stores:
        freezes = stores.duties.freezes()
        at = inside[0].asked_us
        assert freeze_of(freezes, NAME, at, at + 1) is not None
        assert freeze_of(freezes, NAME, before[0].asked_us, before[0].asked_us + 1) is None
        (event,) = [one for one in stores.audit.events() if one.action == "incident.copy"]
    assert event.details["evidence_sha256"] == incident["evidence_sha256"]


def test_a_copy_holds_nothing_in_clear_that_the_ledger_enciphers(command: Command) -> None:
    write_project(command.folder)
    file = command.folder / "integrations.py"
    protected = "    protect = splice.Protect(encrypt=True)\n    risk ="
    file.write_text(file.read_text("utf-8").replace("    risk =", protected, 1), "utf-8")
    FileVault(command.folder / ".splice-keys" / "vault.json").make(1)
    assert command("release", "apply", "--yes").code == 0
    (record,) = calls(1)
    secret = msgspec.structs.replace(
        record, entity="Ludmilla", input=b'{"applicant":"Ludmilla","amount":41.5}'
    )
    with opened(command.folder) as stores:
        stores.records.append([secret])
        assert stores.records.get(secret.call_id) is not None

    incident = open_one(command)

    (line,) = (Path(incident["evidence"]) / "calls.jsonl").read_text("utf-8").splitlines()
    copied = json.loads(line)
    assert copied["call_id"] == secret.call_id
    assert copied.get("entity") != "Ludmilla"
    assert copied["locked"]
    texts = [base64.b64decode(copied[one]) for one in ("input", "reply") if one in copied]
    assert all(b"Ludmilla" not in one for one in texts), texts


def test_a_copy_that_was_changed_is_named(applied: Command) -> None:
    incident = open_one(applied)
    folder = Path(incident["evidence"])
    (folder / "audit.jsonl").write_text("nothing to see", "utf-8")
    (folder / "releases.jsonl").unlink()
    (folder / "more.txt").write_text("planted", "utf-8")

    shown = applied("incidents", "show", incident["id"])

    assert shown.code == 1
    assert "audit.jsonl: changed" in shown.out
    assert "releases.jsonl" in shown.out
    assert "more.txt: not in the manifest" in shown.out


def test_a_report_stops_the_clock_and_a_closed_one_keeps_its_evidence(applied: Command) -> None:
    incident = open_one(applied, "death")["id"]

    assert "10.0 d left" in applied("incidents", "list").out
    early = applied("incidents", "thaw", incident, "--why", "no need")
    assert early.code == 1
    assert "one that is open" in early.err
    assert applied("incidents", "report", incident, "--reference", "B-77").code == 0
    assert "Reported" in applied("incidents", "list").out
    assert applied("incidents", "close", incident, "--finding", "a wrong unit, mended").code == 0
    with opened(applied.folder) as stores:
        assert len(stores.duties.freezes()) == 1
    assert applied("incidents", "thaw", incident, "--why", "the authority agreed").code == 0
    with opened(applied.folder) as stores:
        assert stores.duties.freezes() == []
        actions = [one.action for one in stores.audit.events(subject=NAME)]
    assert actions[-5:] == [
        "incident.open", "incident.copy", "incident.report", "incident.close", "freeze.lift",
    ]  # fmt: skip
    assert applied("audit", "verify").code == 0


def test_an_incident_past_its_clock_is_a_gap_of_article_73(applied: Command) -> None:
    incident = open_one(applied, "infrastructure", "--aware", "3 d")["id"]

    told = applied("duties", NAME)

    assert "[ ] incidents.reported" in told.out
    assert incident in told.out
    assert "h too late" in applied("incidents", "list").out
    applied("incidents", "report", incident, "--reference", "B-1")
    assert "[x] incidents.reported" in applied("duties", NAME).out


def test_an_unknown_incident_is_said(applied: Command) -> None:
    said = applied("incidents", "show", "no-such-id")

    assert said.code == 2
    assert "no incident of that id" in said.err


def of_clock(left_h: float, reminded: tuple[int, ...] = (), **more: Any) -> Incident:
    """An incident with so much left at the time 0."""
    due = round(left_h * HOUR_US)
    made = Incident(
        "i", NAME, "death", "x", 0, due, 0, 0, 0, "ada", "f", reminded=reminded, revision=1
    )
    return msgspec.structs.replace(made, **more)


@pytest.mark.parametrize(
    ("incident", "due"),
    [
        (of_clock(200), 10_000),
        (of_clock(200, (10_000,)), None),
        (of_clock(100, (10_000,)), 168),
        (of_clock(20, (10_000, 168)), 24),
        (of_clock(20, (10_000, 24)), None),
        (of_clock(0.5, (10_000, 24)), 1),
        (of_clock(-5, (10_000, 24)), 0),
        (of_clock(-5, (10_000, 0)), None),
        (of_clock(1, reported_us=1), None),
        (of_clock(1, closed_us=1), None),
    ],
)
def test_a_reminder_is_due_once_at_each_mark(incident: Incident, due: int | None) -> None:
    assert reminder_due(incident, 0) == due


def test_channels_of_the_integration_are_reminded_once(applied: Command) -> None:
    incident = open_one(applied, "infrastructure")
    settings = load(applied.folder)

    with opened(applied.folder) as stores:
        told = [remind_of(settings, stores, now_us()) for _ in range(2)]
        notes = stores.alerts.waiting_notes(["oncall", "others"])
        later = incident["due_us"] - 5 * HOUR_US
        told += [remind_of(settings, stores, later) for _ in range(2)]
        news = stores.alerts.waiting_notes(["oncall"])[len(notes) :]

    assert told == [1, 0, 1, 0]
    assert [(one.channel, one.kind, one.severity) for one in notes] == [
        ("oncall", "opened", "critical")
    ]
    assert incident["id"] in notes[0].text
    reworded = msgspec.structs.replace(notes[0], text="serious: " + notes[0].text)
    message = Message("m", "oncall", NAME, "waiting", now_us(), (reworded,), ())
    assert headline(message) == f"[critical] {NAME}: 1 opened (incident)"
    assert [one.kind for one in news] == ["still open"]
    assert "5.0 hours left" in news[0].text


def test_two_processes_remind_once(applied: Command) -> None:
    open_one(applied, "infrastructure")

    with opened(applied.folder) as stores:
        (seen,) = stores.duties.incidents(only_open=True)
        assert remind_of(load(applied.folder), stores, now_us()) == 1
        with pytest.raises(Overtaken):
            stores.duties.remind(msgspec.structs.replace(seen, reminded=(1,)), [])
        assert len(stores.alerts.waiting_notes(["oncall"])) == 1
