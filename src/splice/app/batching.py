"""What `splice batch` is asked for, as the objects that do it."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from splice.app.application import App
from splice.app.buses import KAFKA, kafka_bus, schema_source
from splice.app.event_sections import ConsumeSettings
from splice.app.settings import Settings, load, named_variable, prepare_for_ray
from splice.core.errors import DeclarationError, SettingsError, UnknownRelease
from splice.engine.line import Line
from splice.serve.batch.asking import Answers, Asking, LocalAsking, Todo
from splice.serve.batch.databases import place_of
from splice.serve.batch.decisions import TableTarget
from splice.serve.batch.files import FileRows
from splice.serve.batch.kafka import KafkaRows, Span
from splice.serve.batch.rows import Rows
from splice.serve.batch.tables import TableRows
from splice.serve.batch.targets import FileTarget, Target
from splice.serve.events.envelope import Envelopes

_POLL_S = 0.05


class Wanted(msgspec.Struct, frozen=True):
    """Where rows come from, and where their lines go.

    Both are the path of a file, the URL of a database (`sqlite:///shop.db?table=orders&key=id`), or
    `env:NAME?table=…` with the URL in the environment variable NAME. Rows may come from
    `kafka:TOPIC` as well: from an offset (of all partitions, or `PARTITION:OFFSET,…`) or a time, up
    to another that is not read.
    """

    source: str
    target: str
    query: str = ""
    ignore_extra: bool = False
    overwrite: bool = False
    append: bool = False
    from_offset: str = ""
    to_offset: str = ""
    since: str = ""
    until: str = ""

    @property
    def topic(self) -> str:
        """The topic that rows come from; empty where they come from elsewhere."""
        return self.source.removeprefix(KAFKA) if self.source.startswith(KAFKA) else ""


def is_file(text: str) -> bool:
    """Whether it is the path of a file, and no URL."""
    return "://" not in text and not text.startswith(("env:", KAFKA))


def shown(target: str) -> str:
    """A target as people may see it."""
    return target if is_file(target) else place_of(_url(target)).shown


def check(wanted: Wanted) -> None:
    """Passes what may be done, as far as it can be known from the names.

    Raises:
        SettingsError: The target is there already or is the input, or options do not fit.
    """
    source, target = Path(wanted.source), Path(wanted.target)
    if wanted.target.startswith(KAFKA):
        raise SettingsError(
            "--out", got=wanted.target[:80], promised="a file or a table",
            mend="splice consume sends decisions to topics",
        )  # fmt: skip
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
    if wanted.query and (wanted.topic or is_file(wanted.source)):
        raise SettingsError("--query", got=wanted.source[:80], promised="a database as the source")
    if wanted.topic:
        _span(wanted)
    elif wanted.from_offset or wanted.to_offset or wanted.since or wanted.until:
        raise SettingsError(
            "--from-offset, --to-offset, --since, --until",
            got="a source that is no topic", promised="kafka:TOPIC",
        )  # fmt: skip


def rows_of(wanted: Wanted, settings: Settings, line: Line) -> Rows:
    """The source.

    Raises:
        SettingsError: It cannot be read.
        StoreError: It cannot be reached.
    """
    where = f"{line.name}.input"
    if wanted.topic:
        consumed = settings.consume.get(line.name, ConsumeSettings())
        return KafkaRows(
            kafka_bus(settings).read, wanted.topic, _span(wanted),
            envelopes=Envelopes(consumed.format, schema_source(settings)),
            request=line.request, where=where, ignore_extra=wanted.ignore_extra,
        )  # fmt: skip
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


def _span(wanted: Wanted) -> Span:
    for offset, moment in (("from_offset", "since"), ("to_offset", "until")):
        if getattr(wanted, offset) and getattr(wanted, moment):
            option = f"--{offset.replace('_', '-')}"
            raise SettingsError(option, got=f"--{moment} besides", promised="one of them")
    return Span(
        _offsets("--from-offset", wanted.from_offset), _offsets("--to-offset", wanted.to_offset),
        _moment_us("--since", wanted.since), _moment_us("--until", wanted.until),
    )  # fmt: skip


def _offsets(option: str, text: str) -> dict[int, int] | None:
    """Offsets by partition; -1 stands for all of them."""
    if not text:
        return None
    try:
        pairs = [one.rpartition(":") for one in text.split(",")]
        found = {int(partition or -1) if colon else -1: int(at) for partition, colon, at in pairs}
        if len(found) != len(pairs) or min(found.values()) < 0 or (-1 in found and len(pairs) > 1):
            raise ValueError
    except ValueError:
        raise SettingsError(
            option, got=text[:80], promised="an offset, or PARTITION:OFFSET with commas between"
        ) from None
    return found


def _moment_us(option: str, text: str) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            option, got=text[:80], promised="a time such as 2026-03-01T06:00:00+00:00"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


def _url(text: str) -> str:
    if not text.startswith("env:"):
        return text
    name, _, query = text.removeprefix("env:").partition("?")
    url = named_variable(name)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url
