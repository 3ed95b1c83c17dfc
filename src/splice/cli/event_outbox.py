"""`splice events outbox …`: decisions that are still to be sent, and those that were given up."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from splice.app.settings import user_name
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.core.units import plural
from splice.ports.events import Waiting
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(
    given_up: Annotated[
        bool, typer.Option("--given-up", help="Only those that are not tried any more.")
    ] = False,
    after: Annotated[int, typer.Option(help="Only above this number: pages.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List messages that wait or were given up, oldest first, and why the last try failed."""
    with stores() as (_, opened):
        found = opened.outbox.outbox(given_up=given_up, after=after, limit=limit)
    if json:
        as_json([_plain(one) for one in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("number", "target", "tries", "next try (UTC)"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="fold", min_width=20)
    for one in found:
        due = iso(one.due_us)[5:19].replace("T", " ") if one.due_us else "given up"
        table.add_row(str(one.number), _target(one), str(one.attempts), due, one.why)
    out.print(table)
    if not found:
        talk.print("Nothing was given up." if given_up else "Nothing waits.")


@app.command()
def send(
    numbers: Annotated[
        list[int], typer.Argument(help="Numbers of messages; see splice events outbox list.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Try messages again at once, those that were given up too."""
    if not confirm(f"Send {plural(len(numbers), 'message')} again?", yes):
        raise typer.Exit(REFUSED)
    with stores() as (_, opened):
        count = opened.outbox.send_again(numbers, now_us=time.time_ns() // 1000, by=user_name())
    out.print(f"{count} are due now")
    if count < len(numbers):
        talk.print("The others were sent, or are being sent.")
        raise typer.Exit(REFUSED)


def _plain(one: Waiting) -> dict[str, Any]:
    return {
        "number": one.number, "id": one.message.id, "target": _target(one),
        "tries": one.attempts, "why": one.why, "given_up": one.due_us == 0,
        "due_at": iso(one.due_us) if one.due_us else None,
    }  # fmt: skip


def _target(one: Waiting) -> str:
    """Without its query, which may hold a secret."""
    return one.message.target.partition("?")[0]
