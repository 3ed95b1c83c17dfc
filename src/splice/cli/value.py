"""`splice value`: the money that an integration moved, and where its figure stands."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from splice.app.clock import now_us
from splice.app.rolling import catch_up
from splice.cli.common import as_json, out, stores
from splice.cli.naming import TheOnly
from splice.control.rollouts import Rollouts
from splice.core.rollups import Window
from splice.core.studies import KpiStanding, Value
from splice.core.units import seconds
from splice.monitor.experiments import Studies
from splice.monitor.value import standing_amount, worth

_BASIS = {
    "holdout": "against those who are held out",
    "rollout": "challenger against champion, on the challenger's share",
    "baseline": "against the declared baseline",
    "none": "nothing to compare with",
}


def value(
    name: TheOnly = "",
    window: Annotated[str, typer.Option(help="How much of the past: the last 30 days.")] = "30 d",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What the integration is worth: money moved, less cost; and where its figure stands.

    What is new in the ledger is counted first.
    """
    until = now_us()
    wanted = Window(until - round(seconds(window, "--window") * 1e6), until)
    with stores() as (settings, opened):
        live = Rollouts(opened.releases, opened.models).live(name)
        currency = settings.cost.currency
        Studies(opened, currency).bring_up(name, live.number, until)
        catch_up(opened)
        found = worth(opened, live, wanted, currency)
    if json:
        as_json(found)
        return
    if found.standing is not None:
        _show_standing(found.standing)
    for one in (found.value, found.beside):
        if one is not None:
            _show_value(one)


def _show_standing(at: KpiStanding) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"{at.kpi}" + (f" ({at.unit})" if at.unit else ""))
    for column in ("now", "95 %", "calls", "baseline", "target", "due"):
        table.add_column(column, justify="right")
    span = ""
    if at.interval is not None:
        ends = [standing_amount(at, one) for one in (at.interval.low, at.interval.high)]
        span = " to ".join(ends)
    numbers = [
        "" if one is None else standing_amount(at, one) for one in (at.mean, at.baseline, at.target)
    ]
    table.add_row(at.outcome, numbers[0], span, f"{at.calls:,}", numbers[1], numbers[2], at.due)
    out.print(table)
    out.print(f"  {at.told}")


def _show_value(one: Value) -> None:
    kind = "causal" if one.causal else "estimate"
    head = f"{one.integration}  {_BASIS[one.basis]}"
    out.print(head if one.basis == "none" else f"{head}  {kind}")
    for line in dict.fromkeys(filter(None, (one.told, one.why))):
        out.print(f"  {line}")
