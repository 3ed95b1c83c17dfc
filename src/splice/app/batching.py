"""What `splice batch` is asked for, as the objects that do it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from splice.app.application import App
from splice.app.settings import named_variable
from splice.core.errors import DeclarationError, SettingsError, UnknownRelease
from splice.engine.line import Line
from splice.serve.batch.databases import place_of
from splice.serve.batch.decisions import TableTarget
from splice.serve.batch.files import FileRows
from splice.serve.batch.rows import Rows
from splice.serve.batch.tables import TableRows
from splice.serve.batch.targets import FileTarget, Target


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
