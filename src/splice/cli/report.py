"""`splice report`: what an integration did in a month, for its owner."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from splice.app.clock import now_us
from splice.cli.common import stores, talk
from splice.cli.moments import WrongOption
from splice.cli.naming import TheOnly
from splice.cli.writing import write_out, write_whole
from splice.core.errors import SettingsError


def report(
    integration: TheOnly = "",
    month: Annotated[str, typer.Option(help="As 2026-11; the last whole one if left out.")] = "",
    zone: Annotated[str, typer.Option(help="Time zone of its days, as Europe/Berlin.")] = "UTC",
    out: Annotated[
        Path | None,
        typer.Option(help="File that ends with .html or .pdf; HTML to stdout if left out."),
    ] = None,
) -> None:
    """Write a report: objective, effect, cost, quality, incidents, changes."""
    ending = ".html" if out is None else out.suffix.lower()
    if ending not in (".html", ".pdf"):
        raise WrongOption("--out", got=repr(str(out)[:80]), promised="a file .html or .pdf")
    try:
        # They need libraries that not everybody has, and that take their time.
        from splice.app.reporting import month_of_stores
        from splice.console.report.content import report_of
        from splice.console.report.html import as_html
        from splice.console.report.pdf import as_pdf
        from splice.monitor.months import Month, month_of, zone_of
    except ImportError as error:
        raise SettingsError("report", got=str(error), mend="install splice-ai[report]") from error
    now = now_us()
    if month:
        chosen = month_of(month, zone)
    else:
        today = datetime.fromtimestamp(now / 1e6, UTC).astimezone(zone_of(zone)).date()
        chosen = Month(today.replace(day=1), zone).before
    with stores() as (settings, opened):
        found = month_of_stores(opened, integration, chosen, now, settings.cost.currency)
    made = report_of(found)
    content = as_pdf(made) if ending == ".pdf" else as_html(made)
    told = f"{found.month.name}, as known on {chosen.date_of(found.known_us)}"
    if out is None:
        write_out([content])
        talk.print(f"{told}. Another month: --month 2026-11; into a file: --out report.pdf")
        return
    write_whole(out, [content])
    talk.print(f"{out}: {told}")
