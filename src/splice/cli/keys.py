"""`splice keys …`: who may ask."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.settings import Settings, user_name
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.control.keys import Issued, KeyRequest, Keys
from splice.core.access import (
    Budget,
    BudgetScope,
    Change,
    Grant,
    Key,
    Period,
    Role,
    grant_of,
    grants_text,
    without,
)
from splice.core.units import Money
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Ref = Annotated[str, typer.Argument(help="Id of the key, or its name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Granted = Annotated[Role, typer.Option("--role", help="What it may do.")]
Ungranted = Annotated[Role | None, typer.Option("--role", help="Only this one.")]
On = Annotated[str, typer.Option("--integration", help="Where: names or patterns, with commas.")]
Off = Annotated[
    str, typer.Option("--integration", help="Only in these, as they were written; with commas.")
]
Why = Annotated[str, typer.Option(help="Reason; it is in the audit log.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def keys_of(settings: Settings, opened: wiring.Stores) -> Keys:
    """Keys and budgets of a project."""
    return Keys(opened.keys, pepper=wiring.pepper_of(settings), currency=settings.cost.currency)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for: ci, billing-service.")],
    team: Annotated[str, typer.Option(help="Whose budget it shares.")] = "",
    tenant: Annotated[
        str, typer.Option(help="Whose cached answers it shares; the team's if left out.")
    ] = "",
    integrations: Annotated[
        str, typer.Option(help="Integrations that it may call: names or patterns, with commas.")
    ] = "*",
    models: Annotated[
        str, typer.Option(help="Models that it may name itself: openai/*, with commas.")
    ] = "",
    addresses: Annotated[
        str, typer.Option(help="Networks that it may be used from: 10.0.0.0/8, with commas.")
    ] = "",
    expires: Annotated[str, typer.Option(help="When it ends: 90d, or 2027-01-31 (UTC).")] = "",
    requests_per_minute: Annotated[int | None, typer.Option(help="Requests in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Tokens in a minute.")] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help='"EUR 50/month"; again for another period.')
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="Role beside calling: viewer, or reviewer@fraud-*; again for more."),
    ] = None,
    why: Why = "",
    json: Json = False,
) -> None:
    """Make a key and print its secret, once: only a digest of it is kept."""
    asked = KeyRequest(
        name=name,
        team=team,
        tenant=tenant,
        integrations=_list(integrations),
        models=_list(models),
        addresses=_list(addresses),
        expires=expires,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        budgets=tuple(budget or ()),
        grants=tuple(grant_of(one) for one in role or ()),
        why=why,
    )
    with stores() as (settings, opened):
        issued = keys_of(settings, opened).create(asked, by=user_name(), now_us=now_us())
        currency = settings.cost.currency
    _show_secret(issued, currency, json)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    json: Json = False,
) -> None:
    """List keys, oldest first."""
    now = now_us()
    with stores() as (_, opened):
        known = opened.keys.access().keys
    keys = [one for one in known if every or state_of(one, now) == "active"]
    if json:
        as_json([key_of(one, now) for one in keys])
        return
    if not keys:
        talk.print("No key: splice keys create makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "team"):
        table.add_column(column, no_wrap=True)
    for column in ("calls", "names", "from", "a minute", "state"):
        table.add_column(column, overflow="fold")
    for one in keys:
        table.add_row(
            one.id, one.name, one.team, ", ".join(one.integrations), ", ".join(one.models),
            ", ".join(one.addresses) or "anywhere", _limits(one), _ends(one, now),
        )  # fmt: skip
    out.print(table)


@app.command()
def show(key: Ref, json: Json = False) -> None:
    """Show what a key may do; its secret nobody can show."""
    now = now_us()
    with stores() as (settings, opened):
        found = keys_of(settings, opened).find(key)
        every = opened.keys.access().budgets
        budgets = [one for one in every if (one.scope, one.of) == (BudgetScope.KEY, found.id)]
        currency = settings.cost.currency
    if json:
        as_json({**key_of(found, now), "budgets": [budget_of(one, currency) for one in budgets]})
        return
    for line in _lines(found, budgets, currency):
        out.print(line)


@app.command()
def revoke(key: Ref, yes: Yes = False, why: Why = "") -> None:
    """End a key for good: running servers refuse it within a second."""
    with stores() as (settings, opened):
        keys = keys_of(settings, opened)
        found = keys.find(key)
        for line in _lines(found, (), settings.cost.currency):
            talk.print(line)
        if found.revoked_us is not None:
            talk.print("It was revoked already.")
            return
        if not confirm(f"End key {found.id} for good?", yes):
            raise typer.Exit(REFUSED)
        keys.revoke(found, changing(why))
    out.print(f"Key {found.id} ({found.name}) is revoked.")


@app.command()
def rotate(
    key: Ref,
    overlap: Annotated[
        str, typer.Option(help='How long its present secret still counts: "24 h"; empty: no more.')
    ] = "",
    yes: Yes = False,
    why: Why = "",
    json: Json = False,
) -> None:
    """Give a key another secret and print it, once; the old one ends within a second.

    With --overlap both count meanwhile, so that whoever uses it can change at leisure.
    """
    with stores() as (settings, opened):
        keys = keys_of(settings, opened)
        found = keys.find(key)
        ends = f"end its present secret in {overlap}" if overlap else "end its present secret"
        if not confirm(f"Key {found.id} ({found.name}): {ends}?", yes):
            raise typer.Exit(REFUSED)
        issued = keys.rotate(found, changing(why), overlap=overlap)
        currency = settings.cost.currency
    _show_secret(issued, currency, json)


@app.command()
def grant(
    key: Ref, role: Granted, integration: On = "*", why: Why = "", json: Json = False
) -> None:
    """Give a key a role in integrations, beside calling; it holds within a second."""
    with stores() as (settings, opened):
        keys = keys_of(settings, opened)
        found = keys.find(key)
        more = Grant(role, _list(integration))
        stored = keys.grant(found, (*found.grants, more), changing(why))
    _tell_roles(stored, json)


@app.command()
def ungrant(
    key: Ref, role: Ungranted = None, integration: Off = "", why: Why = "", json: Json = False
) -> None:
    """Take roles of a key away: all, or those that the options name."""
    with stores() as (settings, opened):
        keys = keys_of(settings, opened)
        found = keys.find(key)
        stored = keys.grant(found, without(found.grants, role, _list(integration)), changing(why))
    _tell_roles(stored, json)


def changing(why: str) -> Change:
    """Whoever runs this command, now."""
    return Change(user_name(), now_us(), why)


def _tell_roles(key: Key, json: bool) -> None:
    if json:
        as_json(key_of(key, now_us()))
        return
    out.print(f"Key {key.id} ({key.name}): {grants_text(key.grants) or 'no role beside calling'}")


def key_of(key: Key, now: int) -> dict[str, Any]:
    """A key as JSON, without its digest."""
    return {
        "id": key.id,
        "name": key.name,
        "state": state_of(key, now),
        "team": key.team,
        "tenant": key.tenant,
        "integrations": key.integrations,
        "models": key.models,
        "addresses": key.addresses,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "created_at": iso(key.created_us),
        "expires_at": None if key.expires_us is None else iso(key.expires_us),
        "old_secret_until": None if key.former_until_us is None else iso(key.former_until_us),
        "roles": key.grants,
        "revoked_at": None if key.revoked_us is None else iso(key.revoked_us),
        "by": key.by,
    }


def budget_of(budget: Budget, currency: str) -> dict[str, Any]:
    """A budget as JSON."""
    return {
        "scope": budget.scope.value,
        "of": budget.of,
        "period": budget.period.value,
        "currency": currency,
        "amount_nano": budget.amount_nano,
    }


def state_of(key: Key, now: int) -> str:
    """`active`, `expired` or `revoked`."""
    if key.revoked_us is not None:
        return "revoked"
    return "expired" if key.expires_us is not None and key.expires_us <= now else "active"


def worth(budget: Budget, currency: str) -> str:
    """A budget in words."""
    every = {Period.TOTAL: "in total", Period.HOUR: "an hour"}
    period = every.get(budget.period, f"a {budget.period}")
    return f"{Money(currency, budget.amount_nano).exact} {period}"


def _show_secret(issued: Issued, currency: str, json: bool) -> None:
    if json:
        budgets = [budget_of(one, currency) for one in issued.budgets]
        as_json({**key_of(issued.key, now_us()), "budgets": budgets, "secret": issued.token})
        return
    for line in _lines(issued.key, issued.budgets, currency):
        talk.print(line)
    talk.print("Its secret, which is shown this once:")
    out.print(issued.token)


def _lines(key: Key, budgets: tuple[Budget, ...] | list[Budget], currency: str) -> list[str]:
    spends = [worth(one, currency) for one in budgets]
    told = {
        "team": key.team,
        "tenant": key.tenant,
        "may call": ", ".join(key.integrations),
        "may name": ", ".join(key.models) or "no model itself",
        "roles": grants_text(key.grants),
        "from": ", ".join(key.addresses) or "anywhere",
        "a minute": _limits(key),
        "budget": ", ".join(spends),
        "state": _ends(key, now_us()),
        "old secret": _old_secret(key),
    }
    lines = [f"key {key.id}  {key.name}"]
    return lines + [f"  {what:<10} {value}" for what, value in told.items() if value]


def _old_secret(key: Key) -> str:
    until_us = key.former_until_us
    if until_us is None or until_us <= now_us():
        return ""
    return f"counts until {iso(until_us)[:16].replace('T', ' ')}"


def _limits(key: Key) -> str:
    limits = ((key.requests_per_minute, "requests"), (key.tokens_per_minute, "tokens"))
    return ", ".join(f"{most} {what}" for most, what in limits if most is not None)


def _ends(key: Key, now: int) -> str:
    state = state_of(key, now)
    if state == "active" and key.expires_us is not None:
        return f"active until {iso(key.expires_us)[:16].replace('T', ' ')}"
    return state


def _list(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())
