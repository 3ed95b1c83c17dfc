"""`splice outcomes …`: what really happened."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from splice.app.clock import now_us
from splice.app.seals import Seals
from splice.app.settings import user_name
from splice.cli.common import out, stores, talk
from splice.core.call import Outcome
from splice.core.units import plural
from splice.declare.codec import codec
from splice.serve.http.desk import OutcomeIn
from splice.serve.http.pages import outcome_of

app = typer.Typer(no_args_is_help=True)
_CHUNK = 1000


@app.command()
def add(
    file: Annotated[
        Path,
        typer.Argument(help="JSONL: integration, name, value, call_id or entity, at.", exists=True),
    ],
) -> None:
    """Add outcomes from a file; one with the same content and time (`at`) is kept once.

    A wrong line stops it and is named; the lines before it are kept, and can be sent again.
    """
    reader = codec(OutcomeIn)
    received = new = 0
    batch: list[Outcome] = []
    named: set[str] = set()
    with stores() as (settings, opened), file.open("rb") as lines:
        digest = hashlib.file_digest(lines, "sha256").hexdigest()
        lines.seek(0)
        # First: what of the file was taken before a wrong line is told as well.
        opened.audit.add_event(
            "outcomes.add", file.name, by=user_name(), now_us=now_us(), after={"sha256": digest}
        )
        seals = Seals(settings, opened)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{file.name}:{number}"
            told = reader.decode(line.strip(), where)
            named.add(told.integration)
            batch.append(seals.recorded(outcome_of(told, where, now_us())))
            if len(batch) == _CHUNK:
                new += opened.outcomes.append_outcomes(batch, now_us())
                received, batch = received + len(batch), []
        if batch:
            new += opened.outcomes.append_outcomes(batch, now_us())
            received += len(batch)
        known = {one.integration for one in opened.releases.live()}
    out.print(f"{plural(received, 'outcome')}, {new} new")
    for name in sorted(named - known):
        talk.print(f"There is no live release of {name}: its outcomes wait for calls of it.")
