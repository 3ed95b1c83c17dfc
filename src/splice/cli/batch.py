"""`splice batch`: an integration over a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from splice.app.application import App
from splice.cli.calls import cost_text
from splice.cli.common import Project, as_json, out, talk
from splice.core.errors import DeclarationError, SettingsError, UnknownRelease
from splice.serve.batch.job import Job, Plan, Result

_LLM_CONCURRENCY = 4


def batch(
    integration: Annotated[str, typer.Argument(help="Name of the integration.")],
    source: Annotated[Path, typer.Argument(help="Requests: .csv, .jsonl or .parquet.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Replies: any of the three.")],
    release: Annotated[
        int | None, typer.Option(help="Release to ask; the live one if left out.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Rows asked at once.")
    ] = None,
    ignore_extra: Annotated[
        bool, typer.Option("--ignore-extra", help="Leave out columns that are not in the request.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Answer every row of a file. After a kill, the same command goes on where it was cut short."""
    if target.exists() and not overwrite:
        raise SettingsError(
            str(target), got="a file that is there already", mend="add --overwrite, or name another"
        )
    settings = Project.settings()

    async def run() -> Result:
        app = App(settings=settings, apply="never")  # asking makes no releases
        async with app:
            if (why := app.watched.broken.get(integration)) is not None:
                raise DeclarationError(
                    integration, got=why, mend=f"splice release rollback {integration}"
                )
            line = app.engine.line(integration)
            if release is not None:
                found = await asyncio.to_thread(app.watched.line_of, integration, release)
                if found is None:
                    raise UnknownRelease(integration, got=f"no release {release}")
                line = found
            slow = any(step.route.kind == "llm" for step in line.steps)
            job = Job(
                app.engine, app.records, line, source=source, target=target,
                concurrency=concurrency or (_LLM_CONCURRENCY if slow else 64),
            )  # fmt: skip
            plan = job.plan(ignore_extra=ignore_extra)
            return await _with_progress(job, plan)

    result = asyncio.run(run())
    if json:
        as_json(result)
        return
    rate = (result.rows - result.resumed) / result.seconds if result.seconds else 0.0
    out.print(
        f"{result.rows} rows: {result.answered} answered, {result.failed} failed, "
        f"{result.invalid} not of the request type; {result.resumed} from an earlier run",
    )
    out.print(
        f"{result.seconds:.1f} s ({rate:.0f} rows/s), cost "
        f"{cost_text(result.cost_nano, settings.cost.currency)}, written to {target}",
    )


async def _with_progress(job: Job, plan: Plan) -> Result:
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rows]} rows"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=talk) as progress:
        task = progress.add_task(plan.integration, total=1.0, rows=0)

        def show(done: float, result: Result) -> None:
            progress.update(task, completed=done, rows=result.rows)

        return await job.run(plan, show)
