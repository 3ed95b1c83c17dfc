"""`splice events publish`: lines of a file become events."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from splice.app.application import App
from splice.cli.common import Project, out, talk
from splice.core.errors import RequestError, SpliceError
from splice.core.units import plural
from splice.engine.line import Line
from splice.serve.events.cloudevents import looks_structured, structured_letter
from splice.serve.events.letter import Letter

_CHUNK = 500


def publish(
    integration: Annotated[str, typer.Argument(help="Which shall answer them.")],
    file: Annotated[Path, typer.Argument(help="JSON lines; - for standard input.")],
    once: Annotated[
        bool,
        typer.Option("--once", help="The same line is answered once, whenever it comes again."),
    ] = False,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="As they are: a wrong line becomes a dead letter, later."),
    ] = False,
) -> None:
    """Publish the lines of a file: each is JSON of a request, or a CloudEvent in structured mode.

    They go into the embedded queue, or where `source` of [consume.NAME] says. A wrong line stops it
    and is named; the lines before it are published.
    """
    if str(file) == "-":
        count = asyncio.run(_publish(integration, sys.stdin.buffer, "-", once, not unchecked))
    else:
        with _opened(file) as lines:
            count = asyncio.run(_publish(integration, lines, file.name, once, not unchecked))
    out.print(f"{plural(count, 'event')} published")


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise RequestError(str(file), got=error.strerror or str(error)) from None


async def _publish(integration: str, lines: BinaryIO, name: str, once: bool, checked: bool) -> int:
    app = App(settings=Project.settings(), apply="never")
    async with app:
        line = app.engine.line(integration)
        source = f"/splice/{integration}/cli"
        done, some = 0, list[Letter]()
        seen = Counter[bytes]()
        for number, text in _numbered(lines):
            try:
                letter = _letter(line, text) if checked else _unchecked(text)
            except SpliceError as error:
                if some:
                    done += len(await app.publisher.publish(line, some, source, checked=checked))
                if done:
                    talk.print(f"{plural(done, 'event')} published, up to the line before it.")
                error.where = f"{name}:{number}: {error.where}"
                raise
            if once and letter.id is None:
                seen[text] += 1
                letter.id = hashlib.sha256(b"%d " % seen[text] + text).hexdigest()[:32]
            some.append(letter)
            if len(some) == _CHUNK:
                done += len(await app.publisher.publish(line, some, source, checked=checked))
                some = []
        return done + len(await app.publisher.publish(line, some, source, checked=checked))


def _numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number, text in enumerate(lines, 1):
        if text.strip():
            yield number, text.strip()


def _unchecked(text: bytes) -> Letter:
    """A CloudEvent keeps its id and source, whatever its data; all else goes as it is."""
    try:
        return _read(text)
    except SpliceError:
        return Letter(text)


def _letter(line: Line, text: bytes) -> Letter:
    letter = _read(text)
    line.request.decode(letter.body, line.where)
    return letter


def _read(text: bytes) -> Letter:
    return structured_letter(text, b"") if looks_structured(text) else Letter(text)
