"""What `splice batch` is asked for, as the objects that do it."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from splice.app.application import App
from splice.app.settings import load, named_variable, prepare_for_ray
from splice.core.errors import DeclarationError, SettingsError, UnknownRelease
from splice.engine.line import Line
from splice.serve.batch.asking import Answers, Asking, LocalAsking, Todo
from splice.serve.batch.databases import place_of
from splice.serve.batch.decisions import TableTarget
from splice.serve.batch.files import FileRows
from splice.serve.batch.rows import Rows
from splice.serve.batch.tables import TableRows
from splice.serve.batch.targets import FileTarget, Target

_POLL_S = 0.05


class Wanted(msgspec.Struct, frozen=True):
    """Where rows come from, and where their lines go.

    Both are the path of a file, the URL of a database (`sqlite:///shop.db?table=orders&key=id`), or
    `env:NAME?table=…` with the URL in the environment variable NAME.
    """

    source: str
    target: str
    query: str = ""
    ignore_extra: bool = False
    overwrite: bool = False
    append: bool = False


def is_file(text: str) -> bool:
    """Whether it is the path of a file, and no URL."""
    return "://" not in text and not text.startswith("env:")


def shown(target: str) -> str:
    """A target as people may see it."""
    return target if is_file(target) else place_of(_url(target)).shown


def check(wanted: Wanted) -> None:
    """Passes what may be done, as far as it can be known from the names.

    Raises:
        SettingsError: The target is there already or is the input, or options do not fit.
    """
    source, target = Path(wanted.source), Path(wanted.target)
    if is_file(wanted.target):
        if is_file(wanted.source) and target.resolve() == source.resolve():
            raise SettingsError(
                wanted.target, got="the input itself",
                promised="a file to write the replies to", mend="name another",
            )  # fmt: skip
        if target.exists() and not wanted.overwrite:
            raise SettingsError(
                wanted.target, got="a file that is there already",
                mend="add --overwrite, or name another",
            )  # fmt: skip
        if wanted.append:
            raise SettingsError("--append", got="a file", promised="a table as the target")
    elif wanted.overwrite:
        raise SettingsError(
            "--overwrite", got="a table, whose rows of other jobs stay", mend="use --append"
        )
    if wanted.query and is_file(wanted.source):
        raise SettingsError("--query", got="a file", promised="a database as the source")


def rows_of(wanted: Wanted, line: Line) -> Rows:
    """The source.

    Raises:
        SettingsError: It cannot be read.
        StoreError: It cannot be reached.
    """
    where = f"{line.name}.input"
    if is_file(wanted.source):
        file = Path(wanted.source)
        return FileRows(file, line.request, where, ignore_extra=wanted.ignore_extra)
    place = place_of(_url(wanted.source), query=wanted.query)
    return TableRows(
        place, line.request, where, query=wanted.query, ignore_extra=wanted.ignore_extra
    )


def target_of(wanted: Wanted, line: Line, *, numbered: bool) -> Target:
    """The target; `numbered` says whether whole numbers name the rows.

    Raises:
        SettingsError: It cannot be written.
    """
    if is_file(wanted.target):
        return FileTarget(Path(wanted.target))
    place = place_of(_url(wanted.target))
    parts = Path(f"{place.named[1]}.parts")
    return TableTarget(place, line.reply, parts, numbered=numbered, append=wanted.append)


class Who(msgspec.Struct, frozen=True):
    """Who asks: this process, or so many workers of Ray; and how many rows at once in all."""

    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    concurrency: int = 64


def asking_of(who: Who, app: App, line: Line, parts: Path) -> Asking:
    """How rows are asked.

    Raises:
        SettingsError: Ray is not installed, or its workers would overspend a budget.
    """
    if who.engine == "local":
        if who.workers is not None:
            raise SettingsError("--workers", got="--engine local", mend="add --engine ray")
        return LocalAsking(app.engine, app.records, line, concurrency=who.concurrency)
    workers = who.workers or os.cpu_count() or 1
    budgets = line.declaration.options.budgets
    if budgets and workers > 1 and app.settings.meters.url.startswith("memory:"):
        raise SettingsError(
            "meters.url", got="budgets in the memory of each worker",
            promised="budgets that all workers share", mend="name a Redis, or add --workers 1",
        )  # fmt: skip
    prepare_for_ray()
    from splice.serve.batch.ray import RayAsking  # it wants a Unix

    opened = partial(
        open_worker, app.settings.root, line.name, line.release.number,
        max(1, who.concurrency // workers),
    )  # fmt: skip
    return RayAsking(parts, opened, workers)


class BatchWorker:
    """Asks in a process of its own, with an app of its own."""

    def __init__(self, app: App, line: Line, concurrency: int) -> None:
        self._app = app
        self._asking = LocalAsking(app.engine, app.records, line, concurrency=concurrency)

    async def ask(self, todo: list[Todo]) -> Answers:
        """The lines of some rows, recorded."""
        return await self._asking.ask(todo)

    async def end(self) -> None:
        """Begin no further call; returns when those that run have ended and are recorded."""
        self._asking.ending = True
        while self._app.engine.in_flight:
            await asyncio.sleep(_POLL_S)
        await self._app.services.recorder.flush()


async def open_worker(root: str, integration: str, release: int, concurrency: int) -> BatchWorker:
    """A worker of a batch: it reads the settings by itself, so that nobody hands secrets on."""
    app = App(settings=load(Path(root)), apply="never")
    await app.start()
    return BatchWorker(app, await line_of(app, integration, release), concurrency)


async def line_of(app: App, integration: str, release: int | None) -> Line:
    """The release to ask.

    Raises:
        DeclarationError: It is broken.
        UnknownIntegration: It is not live.
        UnknownRelease: There is none of that number.
    """
    if (why := app.watched.broken.get(integration)) is not None:
        raise DeclarationError(integration, got=why, mend=f"splice release rollback {integration}")
    line = app.engine.line(integration)
    if release is None:
        return line
    found = await asyncio.to_thread(app.watched.line_of, integration, release)
    if found is None:
        raise UnknownRelease(integration, got=f"no release {release}")
    return found


def _url(text: str) -> str:
    if not text.startswith("env:"):
        return text
    name, _, query = text.removeprefix("env:").partition("?")
    url = named_variable(name)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url
