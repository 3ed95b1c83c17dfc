"""`splice retrain …`: train a model anew, and release it through its gates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table
from typer.core import TyperGroup

from splice.app import pipelines
from splice.app.clock import now_us
from splice.app.pipeline_process import folder_of
from splice.app.plugins import plugin
from splice.app.settings import Settings, user_name
from splice.cli.common import REFUSED, Project, as_json, out, stores, talk
from splice.core.errors import DeclarationError
from splice.core.pipeline import STEPS, PipelineRun, Step, StepRun
from splice.core.schedule import moment_text, next_slot
from splice.core.units import duration_text, plural
from splice.ports.pipelines import PipelineCompiler, PipelineShape, Target


class _RunByName(TyperGroup):
    """`splice retrain NAME` is short for `splice retrain run NAME`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # of typer's own copy of click
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return super().resolve_command(ctx, ["run", *args])
        return super().resolve_command(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=_RunByName)

Name = Annotated[str, typer.Argument(help="Name of the integration.")]
Why = Annotated[str, typer.Option("--why", help="Reason, kept with the run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    name: Name,
    why: Why = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was left behind.")
    ] = False,
    step: Annotated[
        str | None, typer.Option(help=f"Only this step: {', '.join(STEPS)}. Begins a run at data.")
    ] = None,
    of: Annotated[str, typer.Option("--run", help="With --step: id of the run.")] = "",
    run_to: Annotated[
        Path | None, typer.Option(help="With --step: write the id of the run into this file.")
    ] = None,
) -> None:
    """Run the pipeline of an integration now, step by step. Exit 1 where it fails or is refused."""
    with stores() as (settings, opened):
        plan = pipelines.plan_of(settings, name)
        runs = pipelines.pipelines_of(settings, opened)
        if step is not None:
            only = _step(step)
            if not of and only == "data":
                of = runs.ask(name, by=user_name(), why=why, stepwise=True).id
            found = runs.step(of, only, plan)
            if (one := found.step(only)) is not None:
                _tell(one)
            if run_to is not None:
                run_to.parent.mkdir(parents=True, exist_ok=True)
                run_to.write_text(found.id, "utf-8")
        else:
            begun = runs.begin(plan, by=user_name(), why=why, resume=resume)
            talk.print(f"{name}  run {begun.id}")
            found = runs.go(begun, plan, _tell)
    _close(settings, found, whole=step is None)


def _step(name: str) -> Step:
    found = next((one for one in STEPS if one == name), None)
    if found is None:
        raise DeclarationError("--step", got=repr(name)[:80], promised=f"one of {', '.join(STEPS)}")
    return cast("Step", name)


def _close(settings: Settings, found: PipelineRun, *, whole: bool) -> None:
    """What came of it, and where to look."""
    if found.state in ("failed", "refused"):
        last = found.steps[-1] if found.steps else None
        talk.print(f"{found.state}: {found.error}", style="red")
        if last is not None and found.state == "failed":
            talk.print(f"Its output: {folder_of(settings, found.id) / last.step}.log")
        raise typer.Exit(REFUSED)
    if whole:
        out.print(f"Run {found.id} is {found.state}.")
    elif found.state == "running":
        out.print(found.id)


def _tell(step: StepRun) -> None:
    took = duration_text(max(step.ended_us - step.began_us, 1000) / 1e6)
    said = _said(step) if step.state == "done" else ""
    talk.print(f"  {step.step:<9} {step.state:<8} {took:>8}  {said}".rstrip())


def _said(step: StepRun) -> str:
    """What a step gave, in a few words."""
    outputs = step.outputs
    if step.step == "data":
        rows = f", {plural(outputs['rows'], 'row')}" if outputs.get("rows") else ""
        return f"{outputs['name']}{rows}, {outputs['sha256'][:12]}"
    if step.step == "train":
        metrics = ", ".join(f"{k} {v:.4g}" for k, v in outputs["metrics"].items())
        return f"{outputs['run']}{', ' if metrics else ''}{metrics}"
    if step.step == "register":
        return outputs["version"] + ("" if outputs["new"] else ", which was there already")
    if step.step == "validate":
        return f"passed for {', '.join(outputs['validations']) or 'nothing: it answers already'}"
    if challenger := outputs.get("challenger"):
        return f"{challenger} for {outputs['share']}"
    before = outputs.get("before", "")
    is_new = outputs["champion"] != before
    return f"{outputs['champion']} is the champion{f', was {before}' if before and is_new else ''}"


@app.command()
def ask(
    name: Name,
    why: Annotated[str, typer.Option("--why", help="Reason, kept with the run.")],
) -> None:
    """Ask for a run: `splice retrain watch` takes it up. One that waits already is not doubled."""
    with stores() as (settings, opened):
        found = pipelines.ask(settings, opened, name, by=user_name(), why=why)
    out.print(f"Run {found.id} of {name} is asked for.")


@app.command()
def watch(
    once: Annotated[
        bool, typer.Option("--once", help="Do what is to be done now, and end.")
    ] = False,
) -> None:
    """Run what is due, asked for or left behind, one after the other, until it is told to end."""

    def told(run: PipelineRun, step: StepRun) -> None:
        talk.print(f"{run.integration}  run {run.id}")
        _tell(step)
        if step.error:
            talk.print(f"  {step.error}", style="red")

    with stores() as (settings, opened):
        watching = pipelines.Watch(settings, opened)
        if once:
            with pipelines.ending():
                ran = watching.look(told)
            out.print(f"{ran} run{'s' if ran != 1 else ''}")
            return
        made, _ = pipelines.plans(settings)
        for name, plan in made.items():
            schedule = plan.pipeline.schedule
            when = "when it is asked for"
            if schedule is not None:
                when = f"{schedule.text}, next {moment_text(next_slot(schedule, now_us()))}"
            talk.print(f"{name}  {when}")
        talk.print("watching")
        watching.run(told)


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only of this integration.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    with stores() as (_, opened):
        found = opened.pipelines.runs(name, limit=limit)
    if json:
        as_json([pipelines.shown(one) for one in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("run", "integration", "asked (UTC)", "by", "state", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="ellipsis", no_wrap=True, min_width=24)
    for one in found:
        asked = moment_text(one.asked_us).removesuffix(" UTC")
        table.add_row(
            one.id, one.integration, asked, one.by, one.state, one.version, one.error or one.why
        )
    out.print(table)


@app.command()
def show(run: Annotated[str, typer.Argument(help="Id of the run.")], json: Json = False) -> None:
    """Show a run: each step with what it was given, what it gave, its time and its error."""
    with stores() as (settings, opened):
        found = opened.pipelines.run(run)
    if found is None:
        raise DeclarationError(f"run {run[:80]}", got="no such run", mend="splice retrain list")
    if json:
        as_json(pipelines.shown(found))
        return
    out.print(f"{found.integration}  run {found.id}  {found.state}")
    rows: dict[str, Any] = {
        "asked": f"{moment_text(found.asked_us)} by {found.by}{': ' if found.why else ''}"
        f"{found.why}",
        "code": found.bundle[:12],
        "data": found.data_sha256[:12],
        "training": found.tracked,
        "version": found.version,
    }
    for label, value in rows.items():
        if value:
            out.print(f"  {label:<9} {value}")
    for step in found.steps:
        took = duration_text(max(step.ended_us - step.began_us, 1000) / 1e6)
        said = _said(step) if step.state == "done" else ""
        line = f"  {step.step:<9} {step.state:<8} {took if step.ended_us else '':>8}  {said}"
        out.print(line.rstrip())
    if found.error:
        out.print(f"  {found.error}")
    out.print(f"  files     {folder_of(settings, found.id)}")


@app.command("compile")
def compile_(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="File to write.")],
    image: Annotated[str, typer.Option(help="Image that holds the project and Splice.")],
    runner: Annotated[
        str,
        typer.Option(help="container: each step is one; python: each is a function that calls it."),
    ] = "container",
    project: Annotated[str, typer.Option(help="Folder of splice.toml in the image.")] = ".",
    splice: Annotated[str, typer.Option(help="The command line in the image.")] = "splice",
    target: Annotated[str, typer.Option(help="For what system.")] = "kubeflow",
) -> None:
    """Describe the pipeline for another system: Kubeflow Pipelines, as its IR."""
    settings = Project.settings()
    plan = pipelines.plan_of(settings, name)
    compiler: PipelineCompiler = plugin("pipelines", target)()
    purpose = f"Trains {plan.pipeline.model} anew, and releases it through its gates."
    shape = PipelineShape(name, plan.pipeline.steps, purpose)
    text = compiler.compile(shape, Target(image, project, runner, tuple(splice.split())))
    to.write_text(text, "utf-8")
    out.print(f"Wrote {to}: {', '.join(plan.pipeline.steps)}")
    if plan.pipeline.schedule is not None:
        talk.print(f"Schedule it there: {plan.pipeline.schedule.text} (UTC)")
