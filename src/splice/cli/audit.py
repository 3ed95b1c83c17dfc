"""`splice audit …`: who changed what, when and why, in a chain that shows a change."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from splice.cli.common import REFUSED, as_json, out, stores, talk
from splice.core.audit import FIRST, AuditEvent, first_broken
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

_PAGE = 1000


@app.command("list")
def list_(
    subject: Annotated[
        str | None, typer.Option(help="Only of this model, model version or integration.")
    ] = None,
    since: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List control actions, oldest first."""
    with stores() as (_, opened):
        events = opened.audit.events(subject=subject, since=since, limit=limit)
    if json:
        as_json(events)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("number", "when (UTC)", "by", "action"):
        table.add_column(column, no_wrap=True)
    for column in ("subject", "why", "details"):
        table.add_column(column, overflow="fold", min_width=14)
    for one in events:
        when = iso(one.at_us)[:19].replace("T", " ")
        table.add_row(
            str(one.number), when, one.by, one.action, one.subject, one.why, _details(one)
        )
    out.print(table)


_SHORT = 24


def _details(event: AuditEvent) -> str:
    """What is short enough to be read; `--json` has all of it."""
    plain = {k: v for k, v in event.details.items() if isinstance(v, (str, int, float, bool))}
    return ", ".join(f"{k}={str(v)[:_SHORT]}" for k, v in plain.items() if k != "sha256")


@app.command()
def verify(
    head: Annotated[
        str, typer.Option(help="A hash that was printed before, or its beginning.")
    ] = "",
) -> None:
    """Check the chain from its first event on; exit code 1 names the first that does not hold.

    A chain alone cannot show that its end was cut off: keep the hash that this prints somewhere
    else, and give it with --head the next time.
    """
    count, previous, seen = 0, FIRST, not head
    with stores() as (_, opened):
        while page := opened.audit.events(since=count, limit=_PAGE):
            broken = _broken(page, count, previous)
            if broken is not None:
                talk.print(
                    f"Event {broken.number} ({broken.action} of {broken.subject}) does not hold: "
                    "it, or one before it, was changed or taken out.",
                    style="red",
                )
                raise typer.Exit(REFUSED)
            seen = seen or any(one.sha256.startswith(head) for one in page)
            count, previous = page[-1].number, page[-1].sha256
    if not seen:
        talk.print(
            f"No event has the hash {head}: the chain was cut off, or rewritten.", style="red"
        )
        raise typer.Exit(REFUSED)
    out.print(f"{count} events hold; the last has the hash {previous[:16]}.")


def _broken(page: list[AuditEvent], count: int, previous: str) -> AuditEvent | None:
    gap = next((one for i, one in enumerate(page) if one.number != count + 1 + i), None)
    return gap or first_broken(page, previous)
