"""The figures of a month from a real ledger, and the command that writes them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from splice.app import wiring
from splice.app.reporting import month_of_stores
from splice.app.settings import load
from splice.console.report.content import report_of
from splice.console.report.html import as_html
from splice.core.call import Record
from splice.core.errors import UnknownIntegration
from splice.core.ids import uuid7
from splice.monitor.months import month_of
from splice.testing.contracts.records import simple_record

BERLIN = ZoneInfo("Europe/Berlin")
NAME = "order-screening"


def call(number: int, *moment: int, fold: int = 0) -> Record:
    at_us = round(datetime(*moment, tzinfo=BERLIN, fold=fold).timestamp() * 1e6)  # type: ignore[misc]
    return msgspec.structs.replace(
        simple_record(random.Random(number)), call_id=uuid7(at_us // 1000, number),
        asked_us=at_us, integration=NAME, release=1, cost_nano=1000,
    )  # fmt: skip


@pytest.fixture
def project(applied: Callable[[str], Any], command: Any) -> Any:
    """A project whose integration is released and was asked around the change of the clocks."""
    applied("")
    stores = wiring.Stores(load(command.folder))
    stores.records.append([
        call(1, 2026, 9, 30, 23, 59, 59), call(2, 2026, 10, 1, 0, 0, 0),
        call(3, 2026, 10, 25, 0, 30), call(4, 2026, 10, 25, 2, 30),
        call(5, 2026, 10, 25, 2, 30, fold=1), call(6, 2026, 10, 25, 23, 30),
        call(7, 2026, 10, 26, 0, 0), call(8, 2026, 10, 31, 23, 59, 59),
        call(9, 2026, 11, 1, 0, 0, 0),
    ])  # fmt: skip
    stores.close()
    return command


def figures(folder: Path, month: str, zone: str = "Europe/Berlin", days_later: int = 3) -> Any:
    stores = wiring.Stores(load(folder))
    chosen = month_of(month, zone)
    now_us = chosen.window.until_us + days_later * 86_400_000_000
    try:
        return month_of_stores(stores, NAME, chosen, now_us, "EUR")
    finally:
        stores.close()


def test_calls_count_on_the_day_that_their_place_had(project: Any) -> None:
    found = figures(project.folder, "2026-10")

    days = {one.date.day: one.totals.calls for one in found.days if one.totals.calls}
    assert days == {1: 1, 25: 4, 26: 1, 31: 1}
    assert found.totals.calls == 7
    assert found.before.calls == 1
    assert found.waiting == 0


def test_another_place_has_other_days(project: Any) -> None:
    found = figures(project.folder, "2026-10", "UTC")

    days = {one.date.day: one.totals.calls for one in found.days if one.totals.calls}
    assert days == {24: 1, 25: 4, 31: 2}


def test_a_closed_month_reads_the_same_whenever_it_is_asked_for(project: Any) -> None:
    early, late = (figures(project.folder, "2026-10", days_later=days) for days in (1, 300))

    assert as_html(report_of(early)) == as_html(report_of(late))


def test_a_month_before_the_first_release_has_none(project: Any) -> None:
    found = figures(project.folder, "2020-02")

    assert found.release is None
    assert found.totals.calls == 0
    assert "Nothing had been released yet." in report_of(found).summary


def test_what_was_changed_in_the_month_is_told_with_who_and_why(project: Any) -> None:
    project("stop", NAME, "--why", "odd scores")
    project("start", NAME)
    month = datetime.now(BERLIN).strftime("%Y-%m")

    found = figures(project.folder, month)

    actions = [one.action for one in found.changes]
    assert actions == ["release.live", "integration.stop", "integration.start"]
    assert found.release is not None
    assert found.release.number == 1
    text = as_html(report_of(found)).decode()
    assert "odd scores" in text
    assert "Release 1 went live" in text


def test_an_integration_that_is_not_there_has_no_report(project: Any) -> None:
    stores = wiring.Stores(load(project.folder))
    with pytest.raises(UnknownIntegration):
        month_of_stores(stores, "nobody", month_of("2026-10"), 10**15, "EUR")
    stores.close()


def test_the_command_writes_the_file_that_its_name_says(project: Any) -> None:
    page = project("report", NAME, "--month", "2026-10", "--zone", "Europe/Berlin")
    wrote = project("report", NAME, "--month", "2026-10", "--out", project.folder / "r.pdf")

    assert "7 calls" in page.out
    assert page.out.endswith("</html>")
    assert (wrote.code, wrote.out) == (0, "")
    assert (project.folder / "r.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--month", "2026-13"], "2026-11"),
        (["--month", "2026-10", "--zone", "Nowhere"], "Europe/Berlin"),
        (["--month", "2026-10", "--out", "report.docx"], ".html or .pdf"),
        (["--month", "2026-10", "--out", "no/such/folder/r.html"], "a file that can be written"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(
    project: Any, arguments: list[str], said: str
) -> None:
    before = set(project.folder.iterdir())

    ran = project("report", NAME, *arguments)

    assert ran.code == 2
    assert said in ran.err
    assert set(project.folder.iterdir()) == before


def test_calls_are_exported_whole_or_not_at_all(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.folder / "calls.csv"
    file.write_text("what was there")

    def broken(*_: Any, **__: Any) -> Any:
        yield b"half"
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("splice.cli.call_export.export", broken)
        failed = project("calls", "export", NAME, "--out", file)
    left = [one.name for one in project.folder.iterdir() if "part" in one.name]
    was = file.read_text()
    done = project("calls", "export", NAME, "--out", file, "--until", "2026-10-02")

    assert (failed.code, was, left) == (2, "what was there", [])
    assert "the disk is full" in failed.err
    assert done.code == 0
    assert len(file.read_text().splitlines()) == 3
    assert "request.amount_eur" in file.read_text()


def test_an_export_goes_to_stdout_in_the_form_that_is_asked_for(project: Any) -> None:
    lines = project("calls", "export", NAME, "--format", "jsonl", "--limit", "2")
    odd = project("calls", "export", NAME, "--format", "xlsx")
    nobody = project("calls", "export", "nobody")

    assert [msgspec.json.decode(line)["integration"] for line in lines.out.splitlines()] == [
        NAME
    ] * 2
    assert (odd.code, nobody.code) == (2, 2)
    assert "csv, jsonl, parquet" in odd.err
