"""`splice drift`: which columns of an integration's calls are no longer what they were."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from msgspec import structs
from rich.table import Table
from rich.text import Text

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.references import training_of
from splice.app.rolling import catch_up
from splice.app.settings import Settings
from splice.cli.common import as_json, out, stores, talk
from splice.cli.naming import the_only
from splice.core.errors import SettingsError, UnknownIntegration, UnknownRelease
from splice.core.profiles import Against, ColumnDrift, DriftQuestion, DriftReport, Profile
from splice.core.release import Release
from splice.core.rollups import Window
from splice.core.units import plural, seconds

_RELEASE = re.compile(r"(?:release )?(\d{1,9})")
_USUAL = "7 d"
_TRAINING = "the training data"
_MEASURES = {
    "psi": "PSI", "ks": "KS", "js": "JS", "chi2": "Cramér's V", "wasserstein": "Wasserstein",
    "missing": "missing", "types": "types", "text": "text", "vector": "meaning",
}  # fmt: skip


def drift(
    integration: Annotated[
        str | None,
        typer.Argument(help="Name; the only one if left out, none where --rows names a file."),
    ] = None,
    window: Annotated[str, typer.Option(help="How much of the past is looked at.")] = "24 h",
    against: Annotated[
        str | None,
        typer.Option(
            help='"training", a number of a release, or the time before the window: "30 d". '
            "Left out: the training data where there is a profile of it, else 7 days."
        ),
    ] = None,
    release: Annotated[int | None, typer.Option(help="Only calls of one release.")] = None,
    segment: Annotated[
        str, typer.Option(help="Only calls of one segment: country=DE. It must be declared.")
    ] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="Only this column; may be given more than once.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="Compare the rows of this file, without a ledger.", dir_okay=False),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="What --rows is compared with.", dir_okay=False)
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show every column, not only those that moved.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with all measures.")] = False,
) -> None:
    """Say which columns have drifted, by how much, and how sure that is."""
    columns = tuple(column or ())
    if rows is not None or reference is not None:
        report = _of_rows(rows, reference, columns)
        title = f"{rows}: {plural(report.calls, 'row')}" if rows else ""
    else:
        integration = the_only(integration or "", ", or --rows and --reference")
        with stores() as (settings, opened):
            _check_installed()
            question, training = _question(
                settings, opened, integration, (window, against, release)
            )
            question = structs.replace(question, segment=segment, columns=columns)
            from splice.monitor.references import drift_of

            if not catch_up(opened):
                talk.print("Some calls are not profiled yet.", style="dim")
            report = drift_of(opened.rollups, question, training=training)
        title = f"{integration}  last {window}: {plural(report.calls, 'call')}"
    if json:
        as_json(report)
        return
    _print(report, title, every=every or bool(columns))


def _check_installed() -> None:
    try:
        import_module("splice.monitor.drift")
    except ImportError as error:
        raise SettingsError(
            "drift", got=f"no library for statistics ({error.name})",
            promised="numpy, scipy and datasketches", mend="install splice-ai[monitor]",
        ) from None  # fmt: skip


def _of_rows(rows: Path | None, reference: Path | None, columns: tuple[str, ...]) -> DriftReport:
    if rows is None or reference is None:
        raise SettingsError(
            "drift", got="one file", promised="two: --rows and --reference", mend="name the other"
        )
    _check_installed()
    from splice.monitor.rows import drift_of_rows
    from splice.monitor.tables import read

    return drift_of_rows(read(rows), read(reference), columns)


def _question(
    settings: Settings,
    opened: wiring.Stores,
    integration: str,
    asked: tuple[str, str | None, int | None],
) -> tuple[DriftQuestion, Mapping[str, Profile] | None]:
    """What is asked, and the profile of the training data where that is what it is against."""
    length, against, release = asked
    live = _release(opened, integration, release)
    until = now_us()
    window = Window(until - round(seconds(length, "--window") * 1e6), until)
    training = None
    if against in (None, "training"):
        training = training_of(settings)(live)
        if training is not None or against == "training":
            return DriftQuestion(integration, window, Against("training"), release), training
    named = _RELEASE.fullmatch(against or "")
    if named is not None:
        number = _release(opened, integration, int(named[1])).number
        compared = Against("release", release=number)
        # Two releases are compared with each other, also within one window.
        theirs = live.number if live.number != number else release
        return DriftQuestion(integration, window, compared, theirs), None
    earlier = window.since_us - round(seconds(against or _USUAL, "--against") * 1e6)
    before = Window(earlier, window.since_us)
    return DriftQuestion(integration, window, Against("window", before), release), None


def _release(opened: wiring.Stores, integration: str, number: int | None) -> Release:
    live = {one.integration: one.number for one in opened.releases.live()}
    if integration not in live:
        raise UnknownIntegration(
            integration, got="no release of that name", mend="splice release list shows them"
        )
    found = opened.releases.release(integration, number or live[integration])
    if found is None:
        raise UnknownRelease(
            integration, got=f"no release {number}", mend=f"splice release list {integration}"
        )
    return found


def _print(report: DriftReport, title: str, *, every: bool) -> None:
    beside = f", against {report.against}" if report.against else ""
    beside += f" ({report.reference_calls:,})" if report.reference_calls else ""
    talk.print(title + beside)
    if report.why:
        talk.print(report.why[:1].upper() + report.why[1:] + ".")
        return
    shown = [one for one in report.columns if every or one.alarm or _moved(one)]
    if report.against == _TRAINING and not every:  # it has labels, and calls have predictions
        shown = [one for one in shown if not one.why.endswith(" no such column")]
    if shown:
        out.print(_table(shown))
    alarms, left = len(report.alarms), len(report.columns) - len(shown)
    drifted = "No column has drifted" if not alarms else f"{alarms} drifted"
    more = f" --all shows {left} more." if left else ""
    talk.print(f"{drifted}, of {len(report.columns)} columns.{more}")


def _moved(one: ColumnDrift) -> bool:
    """Whether there is something to see, if not enough for an alarm; or nothing could be told."""
    if one.value is None:
        return True
    return one.limit is not None and one.value >= one.limit / 2


def _table(columns: list[ColumnDrift]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("column", "", "measure"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "95 %", "limit"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("what changed", overflow="fold")
    for one in columns:
        mark = Text("drifted", style="red") if one.alarm else Text("")
        if one.value is None:
            table.add_row(one.column, Text("-", style="dim"), "", "", "", "", one.why)
            continue
        table.add_row(
            one.column, mark, _MEASURES.get(one.measure, one.measure), _figure(one.value),
            f"{_figure(one.low)} to {_figure(one.high)}", _figure(one.limit), one.why,
        )  # fmt: skip
    return table


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value >= 0.095 else f"{value:.3f}"
