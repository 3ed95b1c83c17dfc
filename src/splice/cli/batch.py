"""`splice batch`: an integration over a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from splice.app.application import App
from splice.app.settings import Settings
from splice.cli.calls import cost_text
from splice.cli.common import Project, as_json, out, talk
from splice.core.errors import DeclarationError, SettingsError, UnknownRelease
from splice.engine.line import Line
from splice.engine.offline import OfflineRoute
from splice.ports.offline import Standing
from splice.serve.batch.job import Job, Plan, Result
from splice.serve.batch.offline import OfflineJob, check_online
from splice.serve.batch.shards import Shard

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
    offline: Annotated[
        bool,
        typer.Option("--offline", help="By the provider's batch endpoint: within a day, for less."),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Offline: until every row is answered.")
    ] = False,
    fallback: Annotated[
        bool,
        typer.Option(help="Offline: rows that fail there go on to the next route, online."),
    ] = True,
    status: Annotated[
        bool, typer.Option("--status", help="Offline: say how it stands, and change nothing.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Offline: end what the provider has not answered yet.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Answer every row of a file. After a kill, the same command goes on where it was cut short."""
    if target.exists() and not overwrite:
        raise SettingsError(
            str(target), got="a file that is there already", mend="add --overwrite, or name another"
        )
    if not offline and (wait or status or cancel or not fallback):
        raise SettingsError(
            "--wait, --no-fallback, --status, --cancel", got="no --offline", mend="add --offline"
        )
    settings = Project.settings()
    wanted = _Wanted(
        integration, source, target, release, concurrency, ignore_extra,
        offline=offline, wait=wait, fallback=fallback, status=status, cancel=cancel,
    )  # fmt: skip
    result = asyncio.run(_run(settings, wanted))
    if json:
        as_json(result)
    elif isinstance(result, Result):
        _say(result, target, settings.cost.currency)
    else:
        _list(result)


class _Wanted(msgspec.Struct, frozen=True):
    """The options of one command."""

    integration: str
    source: Path
    target: Path
    release: int | None
    concurrency: int | None
    ignore_extra: bool
    offline: bool = False
    wait: bool = False
    fallback: bool = True
    status: bool = False
    cancel: bool = False


async def _run(settings: Settings, wanted: _Wanted) -> Result | list[Stand]:
    app = App(settings=settings, apply="never")  # asking makes no releases
    async with app:
        line = await _line(app, wanted.integration, wanted.release)
        slow = any(step.route.kind == "llm" for step in line.steps)
        kind = OfflineJob if wanted.offline else Job
        job = kind(
            app.engine, app.records, line, source=wanted.source, target=wanted.target,
            concurrency=wanted.concurrency or (_LLM_CONCURRENCY if slow else 64),
        )  # fmt: skip
        if isinstance(job, OfflineJob):
            return await _offline(app, line, job, wanted)
        check_online(job.parts)
        return await _with_progress(job.plan(ignore_extra=wanted.ignore_extra), job.run)


async def _offline(app: App, line: Line, job: OfflineJob, wanted: _Wanted) -> Result | list[Stand]:
    services = app.services
    job.epoch = services.meter.epoch()
    job.route_of = lambda place: OfflineRoute(
        app.engine, line, services.features, fallback=wanted.fallback, place=place
    )
    if wanted.cancel:
        talk.print(f"{await job.cancel()} batches are being ended")
    if wanted.cancel or wanted.status:
        return [_stand(*one) for one in await job.standings()]
    job.route_of("")  # that it can be is known before anything is written
    plan = job.plan(ignore_extra=wanted.ignore_extra)
    return await _with_progress(plan, partial(job.work, wait=wanted.wait))


class Stand(msgspec.Struct):
    """How one batch of an offline job stands."""

    batch: str
    state: str
    rows: int
    answered: int
    failed: int
    why: str = ""


def _stand(shard: Shard, standing: Standing | None) -> Stand:
    if standing is None:
        tally = shard.tally
        return Stand(shard.batch, shard.state, shard.rows, tally.answered, tally.failed)
    state = "ending" if standing.cancelled and standing.state == "running" else standing.state
    return Stand(
        shard.batch, state, shard.rows, standing.answered, standing.failed, standing.why
    )  # fmt: skip


def _list(stands: list[Stand]) -> None:
    if not stands:
        out.print("no batches: nothing was sent, or all of it has been collected")
    for one in stands:
        why = f" ({one.why})" if one.why else ""
        counts = f"{one.rows} rows, {one.answered} answered, {one.failed} failed"
        out.print(f"{one.batch or 'no batch yet'}  {one.state}  {counts}{why}")


async def _line(app: App, integration: str, release: int | None) -> Line:
    """The release to ask."""
    if (why := app.watched.broken.get(integration)) is not None:
        raise DeclarationError(integration, got=why, mend=f"splice release rollback {integration}")
    line = app.engine.line(integration)
    if release is None:
        return line
    found = await asyncio.to_thread(app.watched.line_of, integration, release)
    if found is None:
        raise UnknownRelease(integration, got=f"no release {release}")
    return found


def _say(result: Result, target: Path, currency: str) -> None:
    if result.pending:
        answered = result.rows - result.pending
        out.print(f"{answered} of {result.rows} rows are back; the provider has a day for the rest")
        if result.waiting:
            out.print(f"Others are sent when there is room: {result.waiting}")
        out.print("The same command goes on; with --wait it stays until all are answered.")
        return
    rate = (result.rows - result.resumed) / result.seconds if result.seconds else 0.0
    out.print(
        f"{result.rows} rows: {result.answered} answered, {result.failed} failed, "
        f"{result.invalid} not of the request type; {result.resumed} from an earlier run",
    )
    out.print(
        f"{result.seconds:.1f} s ({rate:.0f} rows/s), cost "
        f"{cost_text(result.cost_nano, currency)}, written to {target}",
    )


async def _with_progress(
    plan: Plan, work: Callable[[Plan, Callable[[float, Result], None]], Awaitable[Result]]
) -> Result:
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rows]} rows"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=talk) as progress:
        task = progress.add_task(plan.integration, total=1.0, rows=0)

        def show(done: float, result: Result) -> None:
            progress.update(task, completed=done, rows=result.rows)

        return await work(plan, show)
