"""`splice experiment`: what a rollout or a holdout has told so far, in plain words."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from splice.app.clock import now_us
from splice.cli.common import as_json, out, stores, talk
from splice.cli.naming import TheOnly
from splice.control.rollouts import Rollouts
from splice.core.rollout import share_text
from splice.core.studies import Effect, Study
from splice.core.units import duration_text
from splice.monitor.effects import amount, between
from splice.monitor.experiments import Studies
from splice.serve.http.desk import iso


def experiment(
    name: TheOnly = "",
    past: Annotated[bool, typer.Option("--all", help="Those that ended, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Whether the challenger, or the integration itself, made the difference.

    Intervals hold however often you look. What is new in the ledger is counted first.
    """
    with stores() as (settings, opened):
        live = Rollouts(opened.releases, opened.models).live(name)
        studies = Studies(opened, settings.cost.currency)
        found = studies.bring_up(name, live.number, now_us())
        currency = settings.cost.currency
    shown = [one for one in found if past or one.running] or found[:1]
    if json:
        as_json(shown)
        return
    for one in shown:
        _show(one, currency)
    if not found:
        talk.print(
            f"{name} has no experiment: no release of it had a challenger or a holdout. "
            f"Begin one: splice rollout start {name} MODEL@VERSION --share '10 %', or declare "
            'holdout = splice.Holdout("5 %").'
        )


def _show(one: Study, currency: str) -> None:
    began = iso(one.since_us)[:16].replace("T", " ")
    state = "running" if one.running else "settled" if one.settled else "ended"
    releases = ", ".join(map(str, one.releases))
    what = "holdout" if one.kind == "holdout" else "rollout"
    out.print(f"{one.integration}  {what}  releases {releases}  since {began} UTC  {state}")
    out.print(_arms(one))
    if one.effects:
        out.print(_effects(one, currency))
    primary = one.primary
    lines = [primary.told if primary is not None else "", one.ratio.told]
    if one.causal:
        lines.append(f"A difference is caused by the variant. {one.why}")
    else:
        lines.append(f"A difference need not be caused by the variant. {one.why}")
    if one.matures_us:
        lines.append(f"Outcomes count {duration_text(one.matures_us / 1e6)} after their call.")
    for line in filter(None, (*lines, *(_guard(each) for each in one.effects), *one.notes)):
        out.print(f"  {line}")


def _arms(one: Study) -> Table:
    table = _table("arm", "runs")
    for column in ("share", "units", "calls", "units due", "calls due"):
        table.add_column(column, justify="right")
    for arm in one.arms:
        share = "by flag" if arm.share is None else share_text(arm.share)
        table.add_row(
            arm.name, arm.runs, share, f"{arm.units:,}", f"{arm.calls:,}",
            f"{arm.mature_units:,}", f"{arm.mature_calls:,}",
        )  # fmt: skip
    return table


def _effects(one: Study, currency: str) -> Table:
    table = _table("figure")
    for column in (one.arms[0].name, one.arms[1].name, "difference", "95 % at any time"):
        table.add_column(column, justify="right")
    table.add_column("")
    past = any(each.reduction >= 0.005 for each in one.effects)
    if past:
        table.add_column("by the past")
    for each in one.effects:
        share = each.share
        means = [
            "" if mean is None else amount(each.figure, mean, currency, share=share)
            for mean in (each.control, each.treated)
        ]
        apart = span = ""
        if each.difference is not None and each.interval is not None:
            apart = amount(each.figure, each.difference, currency, signed=True, share=share)
            span = between(each.figure, each.interval, currency, share=share)
        less = f"{each.reduction:.0%} less variance" if each.reduction >= 0.005 else ""
        cells = [each.figure, *means, apart, span, each.verdict.replace("_", " ")]
        table.add_row(*cells, *([less] if past else []))
    return table


def _guard(each: Effect) -> str:
    if not each.guard or each.margin is None:
        return ""
    margin = amount(each.figure, each.margin, signed=True, share=each.share).lstrip("+")
    return {
        "holds": f"Guardrail {each.figure} holds: worse by {margin} at most.",
        "broken": f"Guardrail {each.figure} is broken: worse by more than {margin}.",
        "open": f"Guardrail {each.figure} cannot be told yet: it may be worse by {margin} or not.",
    }[each.guard]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
