"""`splice incidents …`: what happened, what is left of the clock, and the evidence that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from splice.app.clock import now_us
from splice.app.folders import broken
from splice.app.incidents import copy_evidence, incidents_of
from splice.app.settings import user_name
from splice.cli.common import REFUSED, as_json, out, stores, talk
from splice.cli.moments import moment_us
from splice.control.duties.incidents import Happened
from splice.core.duties import Incident
from splice.core.errors import UnknownIntegration
from splice.core.units import plural
from splice.declare.law import eu_ai_act
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the incident.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("open")
def open_(
    name: Annotated[str, typer.Argument(help="Name of the integration.")],
    kind: Annotated[
        str,
        typer.Option(help="death, health, infrastructure, widespread, rights, property."),
    ],
    what: Annotated[str, typer.Option(help="What happened, in a sentence.")],
    aware: Annotated[
        str, typer.Option(help='When it became known ("3 h" ago, or a time); now if left out.')
    ] = "",
    since: Annotated[
        str, typer.Option(help="From when evidence is kept; 30 days before that if left out.")
    ] = "",
    until: Annotated[str, typer.Option(help="Up to when; without end if left out.")] = "",
    folder: Annotated[
        Path | None,
        typer.Option("--copy", help="Folder of the copy; .splice/incidents/ID if left out."),
    ] = None,
    json: Json = False,
) -> None:
    """Open an incident: its clock starts, its evidence is frozen and copied."""
    now = now_us()
    with stores() as (settings, opened):
        if not opened.releases.releases(name):
            raise UnknownIntegration(name[:80], got="no integration of that name")
        book, by = incidents_of(opened), user_name()
        said = Happened(
            name, kind, what, by,
            moment_us(aware, "--aware") if aware else now,
            moment_us(since, "--since") if since else None,
            moment_us(until, "--until") if until else 0,
        )  # fmt: skip
        incident = book.open(said, now)
        target = folder or settings.path(f".splice/incidents/{incident.id}")
        made = copy_evidence(opened, incident, target.absolute(), now)
        incident = book.copied(incident.id, made.folder, made.sha256, by=by, now_us=now_us())
    if json:
        as_json(incident)
        return
    out.print(f"Incident {incident.id} is open. {_clock(incident, now)}")
    out.print(
        f"  evidence  {plural(made.calls, 'call')} in {plural(made.files, 'file')}, {made.folder}"
    )
    out.print(f"  manifest  sha256 {made.sha256}")
    talk.print(
        "Nothing of its window is archived away, dropped or erased until splice incidents thaw. "
        + eu_ai_act().notice
    )


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only of this integration.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are closed.")] = False,
    json: Json = False,
) -> None:
    """List incidents with what is left of their clocks."""
    with stores() as (_, opened):
        found = opened.duties.incidents(name, only_open=not all_)
    if json:
        as_json(found)
        return
    now = now_us()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("incident", "integration", "kind", "clock", "what"):
        table.add_column(column, no_wrap=column != "what")
    for one in found:
        clock = "closed" if not one.is_open else _clock(one, now)
        table.add_row(one.id, one.integration, one.kind, clock, one.what)
    out.print(table)


def _clock(incident: Incident, now: int) -> str:
    if incident.reported_us:
        return f"Reported {iso(incident.reported_us)[:16]} UTC."
    left_h = incident.left_us(now) / 3_600_000_000
    due = f"{iso(incident.due_us)[:16]} UTC"
    if left_h <= 0:
        return f"To be reported by {due}: {-left_h:.1f} h too late."
    left = f"{left_h / 24:.1f} d" if left_h >= 48 else f"{left_h:.1f} h"
    return f"To be reported by {due}: {left} left."


@app.command()
def show(incident_id: Id, json: Json = False) -> None:
    """Show an incident, its clock, its freeze, and whether the copy of its evidence is whole."""
    with stores() as (_, opened):
        incident = incidents_of(opened).get(incident_id)
        freezes = opened.duties.freezes(incident.integration, lifted=True)
    freeze = next((one for one in freezes if one.id == incident.freeze), None)
    wrong = broken(Path(incident.evidence), incident.evidence_sha256)
    if json:
        as_json({"incident": incident, "freeze": freeze, "copy_wrong": wrong})
    else:
        kind = next(one for one in eu_ai_act().incidents if one.key == incident.kind)
        out.print(f"{incident.id}  {incident.integration}  {kind.text} ({kind.point})")
        out.print(f"  {incident.what}")
        out.print(f"  known since {iso(incident.aware_us)[:16]} UTC. {_clock(incident, now_us())}")
        if incident.reference:
            out.print(f"  reported as {incident.reference} by {incident.reported_by}")
        if freeze is not None:
            kept = "kept" if not freeze.lifted_us else f"let go by {freeze.lifted_by}"
            until = iso(freeze.until_us)[:16] if freeze.until_us else "without end"
            out.print(f"  evidence {iso(freeze.since_us)[:16]} to {until}: {kept}")
        copied = f"sha256 {incident.evidence_sha256[:16]}"
        out.print(f"  copy {incident.evidence}: {'; '.join(wrong) or 'whole'}, {copied}")
        if not incident.is_open:
            out.print(f"  closed by {incident.closed_by}: {incident.finding}")
    if wrong:
        raise typer.Exit(REFUSED)


@app.command()
def copy(
    incident_id: Id,
    folder: Annotated[Path, typer.Option("--out", help="New folder.")],
) -> None:
    """Copy the evidence of an incident once more, with what came since."""
    with stores() as (_, opened):
        now, book = now_us(), incidents_of(opened)
        made = copy_evidence(opened, book.get(incident_id), folder.absolute(), now)
        book.copied(incident_id, made.folder, made.sha256, by=user_name(), now_us=now)
    out.print(f"{plural(made.calls, 'call')} in {plural(made.files, 'file')}, {made.folder}")
    out.print(f"manifest sha256 {made.sha256}")


@app.command()
def report(
    incident_id: Id,
    reference: Annotated[str, typer.Option(help="What the authority calls the report.")],
) -> None:
    """Note that the authority was told: the clock stops."""
    with stores() as (_, opened):
        now = now_us()
        found = incidents_of(opened).report(incident_id, reference, by=user_name(), now_us=now)
    out.print(f"{found.id}: {_clock(found, now)}")


@app.command()
def close(
    incident_id: Id,
    finding: Annotated[str, typer.Option(help="What was found, and what was done against it.")],
) -> None:
    """Close an incident. Its evidence stays frozen until splice incidents thaw."""
    with stores() as (_, opened):
        now = now_us()
        found = incidents_of(opened).close(incident_id, finding, by=user_name(), now_us=now)
    out.print(f"{found.id} is closed. Its evidence stays: splice incidents thaw {found.id}")
    if not found.reported_us:
        talk.print("It was never reported to an authority.", style="yellow")


@app.command()
def thaw(
    incident_id: Id, why: Annotated[str, typer.Option(help="Why the evidence may go.")]
) -> None:
    """Let the evidence of a closed incident go back to its usual retention."""
    with stores() as (_, opened):
        incidents_of(opened).thaw(incident_id, by=user_name(), why=why, now_us=now_us())
    out.print(f"The evidence of {incident_id} is kept no longer than other calls.")
