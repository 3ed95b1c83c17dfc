"""`splice relay` and `splice outbox`: what applications of yours wrote, sent on."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

import splice
from splice import outbox
from splice.app.relaying import run_relays
from splice.app.settings import find_root
from splice.cli.common import Project, out, talk

app = typer.Typer(no_args_is_help=True)


def relay(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which; all of [relay.…] in splice.toml if left out.")
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End once every table is empty.")
    ] = False,
) -> None:
    """Send the outbox tables of your applications until SIGTERM or Ctrl-C.

    Each event is sent at least once, those of one aggregate in order. Several may run: one of them
    sends a table, and when it dies another takes over.
    """
    root = find_root(Project.folder)
    talk.print(f"splice {splice.__version__}  {root}")
    run_relays(root, names or [], until_empty=until_empty)


@app.command()
def ddl(
    dialect: Annotated[
        Literal["postgresql", "sqlite"], typer.Argument(help="The application's database.")
    ],
    table: Annotated[str, typer.Option(help="Name of the table.")] = "outbox",
) -> None:
    """Print the statements that make an outbox table."""
    out.print(outbox.ddl(dialect, table).strip())
