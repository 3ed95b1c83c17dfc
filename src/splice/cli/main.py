"""`splice`: the entry point, and the tree of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import splice
from splice.cli import (
    accuracy,
    audit,
    audit_proofs,
    batch,
    budgets,
    call_export,
    calls,
    consume,
    dashboard,
    documents,
    drift,
    duties,
    encryption,
    endpoints,
    event_outbox,
    event_publish,
    events,
    experiment,
    incidents,
    keys,
    models,
    monitors,
    outcomes,
    people,
    policies,
    project,
    prompts,
    relay,
    release,
    report,
    retrain,
    reviews,
    rollout,
    serve,
    subjects,
    value,
)
from splice.cli.common import EXIT_CODES, Project, fail
from splice.core.errors import SpliceError


class Commands(TyperGroup):
    """The tree of commands; notes which one was given, for the audit log."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The next command in the arguments."""  # Typer's own types are private
        name, command, rest = super().resolve_command(ctx, args)
        words, inner = ["splice", str(name)], command
        for word in rest:
            inner = getattr(inner, "commands", {}).get(word)
            if inner is None:
                break
            words.append(word)
        Project.command = " ".join(words)
        return name, command, rest


app = typer.Typer(
    name="splice",
    cls=Commands,
    help="Carry an AI capability from a pilot into the systems you run, and keep it there.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"splice {splice.__version__}")
        raise typer.Exit


@app.callback()
def options(
    folder: Annotated[
        Path, typer.Option("--project", help="Folder of splice.toml, or one below it.")
    ] = Path(),
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    Project.folder = folder


app.command()(project.init)
app.command()(project.check)
app.command()(serve.serve)
app.command()(consume.consume)
app.command()(relay.relay)
app.command()(batch.batch)
app.command()(accuracy.accuracy)
app.command()(drift.drift)
app.command()(report.report)
app.command()(duties.risk)
app.command()(duties.duties)
app.command()(documents.evidence)
app.command()(experiment.experiment)
app.command()(value.value)
app.command()(release.stop)
app.command()(release.start)
app.add_typer(release.app, name="release", help="Numbered releases of integrations.")
app.add_typer(retrain.app, name="retrain", help="Train a model anew, and release it.")
app.add_typer(rollout.app, name="rollout", help="A challenger's share of the calls.")
app.add_typer(documents.app, name="cards", help="Cards of models and integrations.")
app.add_typer(incidents.app, name="incidents", help="Serious incidents: clocks and evidence.")
audit.app.command()(audit_proofs.prove)
audit.app.command("check-proof")(audit_proofs.check_proof)
audit.app.command("export")(audit_proofs.export_)
app.add_typer(audit.app, name="audit", help="Who changed what, from where and why; and proof.")
calls.app.command("export")(call_export.export_)
app.add_typer(calls.app, name="calls", help="Recorded calls.")
events.app.command()(event_publish.publish)
events.app.add_typer(event_outbox.app, name="outbox", help="Decisions that are to be sent.")
app.add_typer(events.app, name="events", help="Publish events; those that could not be answered.")
app.add_typer(relay.app, name="outbox", help="Outbox tables of your applications.")
app.add_typer(outcomes.app, name="outcomes", help="What really happened.")
app.add_typer(dashboard.app, name="dashboard", help="Files for Grafana and Prometheus.")
models.app.command()(endpoints.endpoint)
app.add_typer(models.app, name="models", help="Registered models.")
app.add_typer(monitors.app, name="monitors", help="What is watched, and who is told.")
app.add_typer(policies.app, name="policies", help="What may go into a model, and come out.")
app.add_typer(prompts.app, name="prompts", help="Versions of prompts.")
app.add_typer(subjects.app, name="subjects", help="People: what is recorded of them, erasure.")
app.add_typer(encryption.app, name="encryption", help="Keys that encrypt what is recorded.")
app.add_typer(reviews.app, name="reviews", help="Calls that a person must look at.")
app.add_typer(keys.app, name="keys", help="API keys: who may ask.")
app.add_typer(people.app, name="people", help="People: who signs in to the console.")
app.add_typer(budgets.app, name="budgets", help="Budgets: what may be spent.")


def main() -> None:
    """Run a command; an error of ours is one message and an exit code, never a traceback."""
    try:
        app(prog_name="splice")
    except SpliceError as error:
        raise SystemExit(fail(error).exit_code) from None


if __name__ == "__main__":
    main()
