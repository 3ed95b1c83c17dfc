"""`splice dashboard …`: files for the monitoring that you have."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from splice.app.grafana import dashboard
from splice.app.prometheus_rules import rules_file
from splice.cli.common import Project

app = typer.Typer(no_args_is_help=True)


@app.command()
def grafana(
    title: Annotated[str, typer.Option(help="Title of the dashboard.")] = "Splice",
    currency: Annotated[
        str | None, typer.Option(help="Of the costs; that of the project if left out.")
    ] = None,
) -> None:
    """Print a Grafana dashboard of every metric: import it, and choose your Prometheus."""
    made = dashboard(currency or Project.settings().cost.currency, title)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(made)).decode() + "\n")


@app.command()
def rules() -> None:
    """Print Prometheus alerting rules, to begin with."""
    sys.stdout.write(rules_file())
