"""`splice budgets …`: what may be spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from splice.app import wiring
from splice.app.clock import now_us
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.cli.keys import Json, Why, Yes, budget_of, changing, keys_of, worth
from splice.control.keys import Keys
from splice.core.access import Budget, BudgetScope, Period
from splice.core.errors import InputMismatch, RequestError
from splice.core.units import cost_text
from splice.ports.keys import Spending

app = typer.Typer(no_args_is_help=True)

OfKey = Annotated[str | None, typer.Option("--key", help="Of one key: its id or name.")]
OfTeam = Annotated[str | None, typer.Option("--team", help="Of all keys of a team.")]
OfIntegration = Annotated[
    str | None, typer.Option("--integration", help="Of one integration, whoever calls it.")
]
OfAll = Annotated[bool, typer.Option("--all", help="Of everything.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List the budgets set here, and what recorded calls spent of each in its period.

    Budgets that integrations declare are in their declarations.
    """
    now = now_us()
    with stores() as (settings, opened):
        access = opened.keys.access()
        budgets, names = access.budgets, {one.id: one.name for one in access.keys}
        spent = _spent(opened, budgets, now)
        currency = settings.cost.currency
    if json:
        as_json(
            [
                {**budget_of(one, currency), "spent_nano": cost}
                for one, cost in zip(budgets, spent, strict=True)
            ]
        )
        return
    if not budgets:
        talk.print("No budget: splice budgets set makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("budget of", "amount", "spent"):
        table.add_column(column, no_wrap=True)
    for one, cost in zip(budgets, spent, strict=True):
        whose = _whose(one, names.get(one.of, ""))
        table.add_row(whose, worth(one, currency), cost_text(cost, currency))
    out.print(table)


@app.command("set")
def set_(
    amount: Annotated[str, typer.Argument(help='"EUR 50/month"; or hour, day, week, total.')],
    key: OfKey = None,
    team: OfTeam = None,
    integration: OfIntegration = None,
    everything: OfAll = False,
    yes: Yes = False,
    why: Why = "",
) -> None:
    """Set a budget, after showing the change; running servers hold it within a second."""
    with stores() as (settings, opened):
        keys = keys_of(settings, opened)
        scope, of = _target(keys, key, team, integration, everything)
        budget = keys.budget(scope, of, amount)
        before = _before(opened, budget)
        currency = settings.cost.currency
        was = "none" if before is None else worth(before, currency)
        talk.print(f"budget of {_whose(budget, key or '')}: {was} -> {worth(budget, currency)}")
        _warn(opened, budget)
        if before == budget:
            talk.print("Nothing to change.")
            return
        if not confirm("Set it?", yes):
            raise typer.Exit(REFUSED)
        opened.keys.put_budget(budget, changing(why))
    out.print(f"The budget of {_whose(budget, key or '')} is set.")


@app.command()
def delete(
    period: Annotated[Period, typer.Argument(help="Which of its budgets.")],
    key: OfKey = None,
    team: OfTeam = None,
    integration: OfIntegration = None,
    everything: OfAll = False,
    yes: Yes = False,
    why: Why = "",
) -> None:
    """Take a budget away, after showing it."""
    with stores() as (settings, opened):
        keys = keys_of(settings, opened)
        scope, of = _target(keys, key, team, integration, everything)
        before = _before(opened, Budget(scope, of, period, 0))
        if before is None:
            raise RequestError(
                f"budget of {scope} {of}".strip(), got=f"none {period}",
                mend="splice budgets list",
            )  # fmt: skip
        was = worth(before, settings.cost.currency)
        talk.print(f"budget of {_whose(before, key or '')}: {was} -> none")
        if not confirm("Take it away?", yes):
            raise typer.Exit(REFUSED)
        opened.keys.delete_budget(before, changing(why))
    out.print(f"The budget of {_whose(before, key or '')} is gone.")


def _target(
    keys: Keys, key: str | None, team: str | None, integration: str | None, everything: bool
) -> tuple[BudgetScope, str]:
    named = {
        BudgetScope.KEY: key,
        BudgetScope.TEAM: team,
        BudgetScope.INTEGRATION: integration,
        BudgetScope.ALL: "" if everything else None,
    }
    chosen = [(scope, of) for scope, of in named.items() if of is not None]
    if len(chosen) != 1 or (not chosen[0][1] and not everything):
        raise InputMismatch(
            "budget", got="no scope" if not chosen else "several scopes, or an empty name",
            promised="one of --key, --team, --integration and --all",
        )  # fmt: skip
    scope, of = chosen[0]
    return scope, keys.find(of).id if scope is BudgetScope.KEY else of


def _before(opened: wiring.Stores, budget: Budget) -> Budget | None:
    same = (budget.scope, budget.of, budget.period)
    budgets = opened.keys.access().budgets
    return next((one for one in budgets if (one.scope, one.of, one.period) == same), None)


def _warn(opened: wiring.Stores, budget: Budget) -> None:
    """A slip in a name would make a budget that holds nobody."""
    known = {
        BudgetScope.TEAM: {one.team for one in opened.keys.access().keys},
        BudgetScope.INTEGRATION: {one.integration for one in opened.releases.live()},
    }
    names = known.get(budget.scope)
    if names is not None and budget.of not in names:
        talk.print(f"  there is no {budget.scope} {budget.of} yet")


def _spent(opened: wiring.Stores, budgets: Sequence[Budget], now: int) -> list[int]:
    begins = [one.period.window(now)[0] for one in budgets]
    spending: dict[int, Spending] = {one: opened.keys.spending(one) for one in set(begins)}
    return [
        spending[begin].of(one.scope, one.of) for one, begin in zip(budgets, begins, strict=True)
    ]


def _whose(budget: Budget, name: str) -> str:
    if budget.scope is BudgetScope.ALL:
        return "everything"
    named = f" ({name})" if name and name != budget.of else ""
    return f"{budget.scope} {budget.of}{named}"
