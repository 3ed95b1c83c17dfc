"""`splice people …`: who signs in to the console, and what he may do there."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.cli.keys import Granted, Json, Off, On, Ungranted, Why, Yes, changing
from splice.control.keys import checked_grants
from splice.core.access import Grant, grants_text, without
from splice.core.errors import InputMismatch, RequestError
from splice.core.people import Person
from splice.ports.people import PeopleStore
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Who = Annotated[str, typer.Argument(help="E-mail address, or what people.claim calls him.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """List people: who signed in, and who was granted a role before he did."""
    with stores() as (_, opened):
        people = opened.people.people()
    if json:
        as_json([person_of(one) for one in people])
        return
    if not people:
        talk.print("Nobody: splice people grant ADDRESS --role viewer")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("who", "name", "roles", "signed in (UTC)", "state"):
        table.add_column(column, overflow="fold")
    for one in people:
        seen = "never" if one.seen_us is None else iso(one.seen_us)[:16].replace("T", " ")
        state = "" if one.barred_us is None else "barred"
        table.add_row(one.id, one.name, grants_text(one.grants) or "none here", seen, state)
    out.print(table)


@app.command()
def grant(
    who: Who, role: Granted, integration: On = "*", why: Why = "", json: Json = False
) -> None:
    """Give somebody a role in integrations; it holds with his next page.

    Roles by groups of the identity provider are in the settings: people.roles.
    """
    name = _called(who)
    more = checked_grants((Grant(role, _list(integration)),))
    with stores() as (_, opened):
        before = opened.people.person(name)
        grants = tuple(dict.fromkeys((*(before.grants if before else ()), *more)))
        stored = opened.people.put_grants(name, grants, changing(why))
    _tell(stored, json)


@app.command()
def ungrant(
    who: Who, role: Ungranted = None, integration: Off = "", why: Why = "", json: Json = False
) -> None:
    """Take roles away that were given here: all, or those that the options name."""
    with stores() as (_, opened):
        before = _known(opened.people, who)
        left = without(before.grants, role, _list(integration))
        stored = opened.people.put_grants(before.id, left, changing(why))
    _tell(stored, json)


@app.command()
def bar(who: Who, why: Why = "", yes: Yes = False) -> None:
    """Let somebody in no more, and end his sessions, whatever the provider says."""
    with stores() as (_, opened):
        person = _known(opened.people, who)
        if not confirm(f"Bar {person.id}?", yes):
            raise typer.Exit(REFUSED)
        opened.people.bar(person.id, True, changing(why))
    out.print(f"{person.id} is barred, and signed out everywhere.")


@app.command()
def admit(who: Who, why: Why = "") -> None:
    """Let somebody in again who was barred."""
    with stores() as (_, opened):
        person = _known(opened.people, who)
        opened.people.bar(person.id, False, changing(why))
    out.print(f"{person.id} may sign in again.")


@app.command("sign-out")
def sign_out(who: Who, why: Why = "") -> None:
    """End all sessions of somebody; he may sign in again."""
    with stores() as (_, opened):
        person = _known(opened.people, who)
        ended = opened.people.sign_out_everywhere(person.id, changing(why))
    out.print(f"{ended} session{'' if ended == 1 else 's'} of {person.id} ended.")


@app.command()
def forget(who: Who, why: Why = "", yes: Yes = False) -> None:
    """Take somebody out, with his roles: whoever signs in by that name then is another."""
    with stores() as (_, opened):
        person = _known(opened.people, who)
        if not confirm(f"Forget {person.id}, with all roles?", yes):
            raise typer.Exit(REFUSED)
        opened.people.forget(person.id, changing(why))
    out.print(f"{person.id} is forgotten.")


def person_of(one: Person) -> dict[str, Any]:
    """Somebody as JSON."""
    return {
        "id": one.id,
        "name": one.name,
        "issuer": one.issuer,
        "subject": one.subject,
        "roles": one.grants,
        "created_at": iso(one.created_us),
        "signed_in_at": None if one.seen_us is None else iso(one.seen_us),
        "barred_at": None if one.barred_us is None else iso(one.barred_us),
    }


def _tell(person: Person, json: bool) -> None:
    if json:
        as_json(person_of(person))
        return
    out.print(f"{person.id}: {grants_text(person.grants) or 'no role given here'}")


def _known(people: PeopleStore, who: str) -> Person:
    found = people.person(_called(who))
    if found is None:
        raise RequestError(
            f"person {who[:80]!r}", got="nobody of that name", mend="splice people list"
        )
    return found


def _called(who: str) -> str:
    """A name as it is stored: a sign-in makes it lower case, too."""
    name = who.strip().lower()
    if not name or not name.isprintable() or " " in name or len(name) > 200:
        raise InputMismatch("person", got=repr(who[:80]), promised="an address, or another name")
    return name


def _list(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())
