"""`splice accuracy`: how right an integration was, by what really happened."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from splice.app import rolling
from splice.app.clock import now_us
from splice.app.labelling import catch_up
from splice.cli.common import as_json, out, stores, talk
from splice.cli.moments import WrongOption, moment_us
from splice.cli.naming import TheOnly
from splice.core.errors import UnknownIntegration
from splice.core.quality import MEASURES, By, Measured, Quality, QualityWanted
from splice.core.rollups import Window
from splice.core.units import duration_text
from splice.monitor.accuracy import maturity_text, quality, usual_window
from splice.serve.http.desk import iso

_BYS: dict[str, By] = {
    "": "", "release": "release", "variant": "variant", "segment": "segment", "day": "day",
}  # fmt: skip
_SHARES = {
    name for name, one in MEASURES.items() if one.unit.startswith("share") and name != "r2"
} - {"auc", "calibration_error"}
_BESIDE = ("accuracy", "precision", "recall", "auc", "rmse", "bias", "r2", "ndcg", "mrr", "rating")
"""Figures of a part that fit beside each other."""


def accuracy(
    integration: TheOnly = "",
    window: Annotated[
        str | None,
        typer.Option(
            help='Calls asked since then: "90 d" or a date. Left out: until 30 days before '
            "outcomes are due."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Calls asked before then; now where left out.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Side by side: release, variant, segment or day (UTC).")
    ] = "",
    outcome: Annotated[str, typer.Option(help="Which truth, where several are declared.")] = "",
    release: Annotated[int | None, typer.Option(help="Only calls of one release.")] = None,
    variant: Annotated[
        str, typer.Option(help="Only of this variant: champion, challenger, shadow, holdout.")
    ] = "",
    segment: Annotated[
        str, typer.Option(help="Only calls of one segment: country=DE. It must be declared.")
    ] = "",
    early: Annotated[
        bool, typer.Option("--early", help="Reckon with outcomes of calls that are not due, too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how right an integration was, with intervals, and how much of that is known yet."""
    chosen = _BYS.get(by)
    if chosen is None:
        promised = f"one of {', '.join(filter(None, _BYS))}"
        raise WrongOption("--by", got=repr(by[:80]), promised=promised)
    with stores() as (_, opened):
        now = now_us()
        if integration not in {one.integration for one in opened.releases.live()}:
            raise UnknownIntegration(
                integration, got="no release of that name", mend="splice release list shows them"
            )
        rolling.catch_up(opened)
        catch_up(opened, now)
        end = now if until is None else moment_us(until, "--until")
        usual = usual_window(opened.releases, integration, outcome, now)
        since = usual.since_us if window is None else moment_us(window, "--window")
        if since >= end:
            raise WrongOption("--window", got="no time at all", promised="a start before the end")
        found = quality(
            opened.labels, opened.releases,
            QualityWanted(
                integration, Window(since, end), now, outcome, release, variant,
                segment or None, chosen, early=early,
            ),
        )  # fmt: skip
    if json:
        as_json(found)
        return
    _print(found)


def _print(found: Quality) -> None:
    if not found.outcome:
        for note in found.notes:
            talk.print(note)
        return
    begin, end = (iso(us)[:10] for us in (found.window.since_us, found.window.until_us - 1))
    talk.print(
        f"{found.integration}  {found.outcome} ({found.task}), due after "
        f"{duration_text(found.matures_s)}; calls asked {begin} to {end} (UTC)"
    )
    talk.print(maturity_text(found))
    out.print(_figures(found.figures))
    if found.estimated is not None and any(
        one.value is not None for one in found.estimated.figures
    ):
        talk.print("")
        for note in found.estimated.notes:
            talk.print(note)
        out.print(_figures(found.estimated.figures, "estimate"))
    if found.parts:
        talk.print("")
        out.print(_parts(found))
    for note in found.notes:
        talk.print(note, style="dim")


def _figures(figures: tuple[Measured, ...], title: str = "value") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure", no_wrap=True)
    table.add_column(title, justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("labels" if title == "value" else "calls", justify="right", no_wrap=True)
    table.add_column("")
    for one in figures:
        table.add_row(one.name, _text(one, one.value), _interval(one), f"{one.count:,}", one.why)
    return table


def _parts(found: Quality) -> Table:
    names = [
        name for name in _BESIDE
        if any((one := part.figure(name)) and one.value is not None for part in found.parts)
    ]  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part", no_wrap=True)
    for column in ("calls", "due", "labelled"):
        table.add_column(column, justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for part in found.parts:
        counts = part.counts
        table.add_row(
            part.of or "-", f"{counts.calls:,}", f"{counts.mature:,}",
            f"{counts.labelled + counts.assumed:,}",
            *(_beside(part.figure(name)) for name in names),
        )  # fmt: skip
    return table


def _beside(one: Measured | None) -> str:
    if one is None or one.value is None:
        return "unknown"
    interval = _interval(one)
    return f"{_text(one, one.value)} ({interval})" if interval else _text(one, one.value)


def _interval(one: Measured) -> str:
    if one.low is None or one.high is None:
        return ""
    return f"{_text(one, one.low)} to {_text(one, one.high)}"


def _text(one: Measured, value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value * 100:.1f} %" if one.name in _SHARES else f"{value:.4g}"
