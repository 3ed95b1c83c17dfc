"""`splice subjects …`: what is recorded of a person, and its erasure."""

from __future__ import annotations

from typing import Annotated

import typer

from splice.app.clock import now_us
from splice.app.settings import user_name
from splice.app.tending import eraser_of
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.core.erasure import receipt
from splice.core.units import plural
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)
Person = Annotated[str, typer.Argument(help="The person, as calls name him: his entity.")]


@app.command()
def erase(
    person: Person,
    why: Annotated[
        str, typer.Option("--why", help="Reason, kept with the receipt; it must not name him.")
    ],
    integration: Annotated[
        list[str] | None, typer.Option(help="Only in this integration. Repeatable.")
    ] = None,
    final: Annotated[
        bool,
        typer.Option("--final", help="Make older copies of the key store useless at once, too."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Destroy a person's keys: texts that were encrypted with them can never be read again.

    Prints the receipt, which names him by an HMAC only. Running servers forget within a second.
    Exit code 1 where calls about him were recorded without encryption: they stay readable.
    """
    with stores() as (_, opened):
        if not confirm("Erase all texts about this person, for good?", yes):
            raise typer.Exit(REFUSED)
        done = eraser_of(opened).erase(
            person, by=user_name(), why=why, now_us=now_us(),
            integrations=tuple(integration or ()), final=final,
        )  # fmt: skip
    as_json(receipt(done))
    if not (done.keys or done.calls or done.in_clear or done.dropped):
        talk.print("Nothing was recorded of this person here: is that how calls name him?")
    if done.in_clear:
        were = plural(done.in_clear, "call about this person was", "calls about this person were")
        talk.print(
            f"{were} recorded without encryption: readable as before. ledger.keep and "
            "protect.keep drop the texts of old calls.",
            style="red",
        )
        raise typer.Exit(REFUSED)


@app.command()
def export(person: Person) -> None:
    """Print all that is recorded of a person, as JSON: calls, answers, outcomes."""
    with stores() as (_, opened):
        found = eraser_of(opened).known(person, by=user_name(), now_us=now_us())
    as_json(found)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
) -> None:
    """List receipts of erasures, newest first, as lines of text."""
    with stores() as (_, opened):
        found = opened.subjects.erasures(limit=limit)
    if not found:
        talk.print("Nobody was erased yet.")
    for one in found:
        state = "final" if one.final else f"final once {one.kek} is destroyed"
        if not one.kek and not one.final:
            state = "finished"
        names = ", ".join(one.integrations)
        out.print(
            f"{one.tag}  {iso(one.at_us)[:19]}  by {one.by}  {plural(one.calls, 'call')} of "
            f"{names}  "
            f"({state})  {one.why}"
        )
