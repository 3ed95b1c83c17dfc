"""`splice batch`: an integration over many rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from splice.app import batching
from splice.app.application import App
from splice.app.settings import Settings
from splice.cli import batch_options as options
from splice.cli.common import Project, as_json, out, talk
from splice.core.errors import SettingsError
from splice.core.units import cost_text, plural
from splice.engine.line import Line
from splice.engine.offline import OfflineRoute
from splice.ports.offline import Standing
from splice.serve.batch.files import FileRows
from splice.serve.batch.job import Job
from splice.serve.batch.offline import OfflineJob, check_online
from splice.serve.batch.plan import Plan, Result
from splice.serve.batch.shards import Shard
from splice.serve.batch.targets import FileTarget

_LLM_CONCURRENCY = 4


def batch(
    integration: options.Name,
    source: options.Source,
    target: options.Target,
    release: options.Release = None,
    concurrency: options.Concurrency = None,
    ignore_extra: options.IgnoreExtra = False,
    overwrite: options.Overwrite = False,
    append: options.Append = False,
    query: options.Query = "",
    from_offset: options.FromOffset = "",
    to_offset: options.ToOffset = "",
    since: options.Since = "",
    until: options.Until = "",
    engine: options.Engine = "local",
    workers: options.Workers = None,
    offline: options.Offline = False,
    wait: options.Wait = False,
    fallback: options.Fallback = True,
    status: options.Status = False,
    cancel: options.Cancel = False,
    json: options.Json = False,
) -> None:
    """Answer every row of a file, a table or a topic. After a kill, the same command goes on."""
    places = batching.Wanted(
        source, target, query, ignore_extra, overwrite, append, from_offset, to_offset, since, until
    )
    batching.check(places)
    if not offline and (wait or status or cancel or not fallback):
        raise SettingsError(
            "--wait, --no-fallback, --status, --cancel", got="no --offline", mend="add --offline"
        )
    settings = Project.settings()
    wanted = _Wanted(
        integration, places, release, concurrency, engine, workers,
        offline=offline, wait=wait, fallback=fallback, status=status, cancel=cancel,
    )  # fmt: skip
    result = asyncio.run(_run(settings, wanted))
    if json:
        as_json(result)
    elif isinstance(result, Result):
        _say(result, batching.shown(target), settings.cost.currency)
    else:
        _list(result)


class _Wanted(msgspec.Struct, frozen=True):
    """The options of one command."""

    integration: str
    places: batching.Wanted
    release: int | None
    concurrency: int | None
    engine: Literal["local", "ray"]
    workers: int | None
    offline: bool = False
    wait: bool = False
    fallback: bool = True
    status: bool = False
    cancel: bool = False


async def _run(settings: Settings, wanted: _Wanted) -> Result | list[Stand]:
    app = App(settings=settings, apply="never")  # asking makes no releases
    async with app:
        line = await batching.line_of(app, wanted.integration, wanted.release)
        source = await asyncio.to_thread(batching.rows_of, wanted.places, settings, line)
        target = batching.target_of(wanted.places, line, numbered=source.keys_are_numbers)
        slow = any(step.route.kind == "llm" for step in line.steps)
        concurrency = wanted.concurrency or (_LLM_CONCURRENCY if slow else 64)
        if wanted.offline:
            if wanted.engine != "local":
                raise SettingsError("--offline", got="--engine ray", promised="one of them")
            if not isinstance(source, FileRows) or not isinstance(target, FileTarget):
                raise SettingsError("--offline", got="no file", promised="a file, in and out")
            offline = OfflineJob(
                app.engine, app.records, line, source, target, concurrency=concurrency
            )
            return await _offline(app, line, offline, wanted)
        check_online(target.parts)
        who = batching.Who(wanted.engine, wanted.workers, concurrency)
        asking = batching.asking_of(who, app, line, target.parts)
        job = Job(line, source, target, asking)
        plan = await asyncio.to_thread(job.plan, ignore_extra=wanted.places.ignore_extra)
        return await _with_progress(plan, job.run)


async def _offline(app: App, line: Line, job: OfflineJob, wanted: _Wanted) -> Result | list[Stand]:
    services = app.services
    job.epoch = services.meter.epoch()
    job.route_of = lambda place: OfflineRoute(
        app.engine, line, services.features, fallback=wanted.fallback, place=place
    )
    if wanted.cancel:
        talk.print(f"{plural(await job.cancel(), 'batch is', 'batches are')} being ended")
    if wanted.cancel or wanted.status:
        return [_stand(*one) for one in await job.standings()]
    job.route_of("")  # that it can be is known before anything is written
    plan = job.plan(ignore_extra=wanted.places.ignore_extra)
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
        counts = f"{plural(one.rows, 'row')}, {one.answered} answered, {one.failed} failed"
        out.print(f"{one.batch or 'no batch yet'}  {one.state}  {counts}{why}")


def _say(result: Result, target: str, currency: str) -> None:
    if result.pending:
        answered = result.rows - result.pending
        out.print(f"{answered} of {result.rows} rows are back; the provider has a day for the rest")
        if result.waiting:
            out.print(f"Others are sent when there is room: {result.waiting}")
        out.print("The same command goes on; with --wait it stays until all are answered.")
        return
    rate = (result.rows - result.resumed) / result.seconds if result.seconds else 0.0
    out.print(
        f"{plural(result.rows, 'row')}: {result.answered} answered, {result.failed} failed, "
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
