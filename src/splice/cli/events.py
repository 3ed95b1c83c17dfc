"""`splice events …`: the embedded queue, and events that could not be answered."""

from __future__ import annotations

import base64
import time
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from splice.app.event_sections import ConsumeSettings
from splice.app.settings import user_name
from splice.app.wiring import Stores
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.cli.moments import WrongOption
from splice.core.errors import RequestError, SpliceError, UnknownIntegration
from splice.core.events import DeadLetter
from splice.core.release import Manifest
from splice.core.units import plural
from splice.declare.bodies import refuse_duplicate_keys
from splice.serve.events.asyncapi import Consumed, asyncapi_document
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

_STATES = ("dead", "replayed", "dropped")

Numbers = Annotated[
    list[int], typer.Argument(help="Numbers of dead letters; see splice events list.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_(
    integration: Annotated[str | None, typer.Option(help="Only of this integration.")] = None,
    state: Annotated[str, typer.Option(help="dead, replayed, dropped or all.")] = "dead",
    before: Annotated[int | None, typer.Option(help="Only below this number: pages.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """List dead letters, newest first: events that could not be answered, and why."""
    if state not in (*_STATES, "all"):
        raise WrongOption("--state", got=state[:80], promised=f"{', '.join(_STATES)} or all")
    states = _STATES if state == "all" else (state,)
    with stores() as (_, opened):
        letters = opened.dead_letters.dead_letters(
            integration, states=states, before=before, limit=limit
        )
        live = sorted(one.integration for one in opened.releases.live())
    if integration is not None and not letters and integration not in live:
        raise UnknownIntegration(
            integration[:80], got="no live release of that name, and no such dead letter",
            promised=f"one of {', '.join(live)}" if live else "",
        )  # fmt: skip
    if json:
        as_json([_plain(one) for one in letters])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("number", "when (UTC)", "integration", "origin"):
        table.add_column(column, no_wrap=True)
    table.add_column("tries", justify="right")
    table.add_column("state" if state == "all" else "error", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=20)
    for one in letters:
        table.add_row(
            str(one.id), iso(one.at_us)[5:19].replace("T", " "), one.integration,
            str(one.event.origin), str(one.attempts),
            one.state if state == "all" else one.code, f"{one.where}: {one.detail}",
        )  # fmt: skip
    out.print(table)
    if not letters:
        talk.print("No dead letters.")


@app.command()
def show(number: Annotated[int, typer.Argument(help="Number of a dead letter.")]) -> None:
    """Print one dead letter whole, as JSON: the original bytes, headers, origin and error."""
    with stores() as (_, opened):
        letter = opened.dead_letters.dead_letter(number)
    if letter is None:
        raise RequestError(f"event {number}", got="no such dead letter", mend="splice events list")
    as_json(_plain(letter) | _content(letter))


@app.command()
def replay(numbers: Numbers, yes: Yes = False) -> None:
    """Put dead letters back into the streams they came from, to be tried again."""
    if not confirm(f"Replay {plural(len(numbers), 'event')}?", yes):
        raise typer.Exit(REFUSED)
    with stores() as (_, opened):
        done = opened.dead_letters.replay(numbers, by=user_name(), now_us=time.time_ns() // 1000)
        unknown = _unknown(opened, numbers, done)
    _said("replayed", done, numbers, unknown)


@app.command()
def drop(
    numbers: Numbers,
    why: Annotated[str, typer.Option(help="Why they are given up; it is kept.")],
    yes: Yes = False,
) -> None:
    """Give dead letters up: their bodies are erased, what happened to them is kept."""
    if not confirm(f"Erase the bodies of {len(numbers)} events?", yes):
        raise typer.Exit(REFUSED)
    now_us = time.time_ns() // 1000
    with stores() as (_, opened):
        done = opened.dead_letters.drop(numbers, by=user_name(), why=why, now_us=now_us)
        unknown = _unknown(opened, numbers, done)
    _said("dropped", done, numbers, unknown)


@app.command()
def asyncapi() -> None:
    """Print an AsyncAPI 3 document of what is consumed: streams, targets, and their messages."""
    with stores() as (settings, opened):
        live = {one.integration: one.number for one in opened.releases.live()}
        manifests = [
            release.manifest
            for name in sorted(settings.consume)
            if name in live and (release := opened.releases.release(name, live[name]))
        ]
    kafka = settings.kafka
    tls = str(kafka.options.get("security.protocol", "")).upper().endswith("SSL")
    as_json(
        asyncapi_document(
            [_consumed(manifest, settings.consume[manifest.integration]) for manifest in manifests],
            kafka.servers, kafka.schema_registry, tls=tls,
        )
    )  # fmt: skip


def _consumed(manifest: Manifest, one: ConsumeSettings) -> Consumed:
    name = manifest.integration
    return Consumed(
        manifest, one.source or f"queue:{name}", one.targets, one.group or f"splice-{name}",
        one.format, one.reply_format, one.dead,
    )  # fmt: skip


def _unknown(opened: Stores, numbers: list[int], done: list[int]) -> list[int]:
    """Numbers that no event ever had."""
    letters = opened.dead_letters
    return [n for n in numbers if n not in done and letters.dead_letter(n) is None]


def _said(what: str, done: list[int], numbers: list[int], unknown: list[int]) -> None:
    out.print(f"{len(done)} {what}")
    if left := [str(one) for one in numbers if one not in (*done, *unknown)]:
        talk.print(f"Passed over, for they are not dead letters now: {', '.join(left)}")
    if unknown:
        talk.print(f"There is none of number {', '.join(map(str, unknown))}: splice events list")
    if len(done) < len(set(numbers)):
        raise typer.Exit(REFUSED)


def _plain(letter: DeadLetter) -> dict[str, Any]:
    origin = letter.event.origin
    return {
        "number": letter.id, "integration": letter.integration, "state": letter.state,
        "by": letter.by, "code": letter.code, "where": letter.where, "detail": letter.detail,
        "attempts": letter.attempts, "dead_at": iso(letter.at_us),
        "origin": {"stream": origin.stream, "partition": origin.partition, "offset": origin.offset},
    }  # fmt: skip


def _content(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "sent_at": iso(event.at_us) if event.at_us > 0 else None,
        "key": _text(event.key),
        "headers": [{"name": name, "value": _text(value)} for name, value in event.headers],
        "value": _json(event.value),
    }


def _json(raw: bytes | None) -> Any:  # JSON where it is JSON, and nothing of it would be lost
    if raw is not None:
        with suppress(SpliceError, msgspec.DecodeError, UnicodeDecodeError):
            found = msgspec.json.decode(raw)
            refuse_duplicate_keys(raw, "value")
            return found
    return _text(raw)


def _text(raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}
