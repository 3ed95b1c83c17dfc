"""`splice calls export`: recorded calls as a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import typer

from splice.app.clock import now_us
from splice.app.settings import user_name
from splice.cli.common import stores, talk
from splice.cli.moments import WrongOption, moment_us
from splice.cli.writing import write_out, write_whole
from splice.core.call import Reason, Status
from splice.core.errors import UnknownIntegration
from splice.monitor.export import PAGE, Form, Source, export
from splice.monitor.export_columns import columns_of
from splice.ports.stores import CallFilter

_FORMS = ", ".join(get_args(Form))


def export_(
    integration: Annotated[str, typer.Argument(help="Name of the integration.")],
    since: Annotated[
        str | None, typer.Option(help='Only calls of the last "7 d", or since 2027-01-31.')
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only calls before; written alike.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only about this entity.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only that ended so.")] = None,
    route: Annotated[str | None, typer.Option(help="Only answered by this route.")] = None,
    variant: Annotated[
        str | None, typer.Option(help="Only of this variant: champion, challenger, shadow.")
    ] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only answered for this reason.")] = None,
    release: Annotated[int | None, typer.Option(help="Only by this release.")] = None,
    outcome: Annotated[
        list[str] | None, typer.Option(help="An outcome that gets a column of its own. Repeatable.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help=f"One of {_FORMS}; by the ending of --out if left out.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="File to write, whole or not at all; else to stdout.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
) -> None:
    """Write recorded calls with request, reply, prediction and outcomes, newest first."""
    chosen = _form(form, out)
    wanted = CallFilter(
        integration=integration, entity=entity, status=status, route=route, variant=variant,
        reason=reason, release=release, limit=PAGE,
        since_us=None if since is None else moment_us(since, "--since"),
        until_us=None if until is None else moment_us(until, "--until"),
    )  # fmt: skip
    with stores() as (settings, opened):
        manifests = [one.manifest for one in opened.releases.releases(integration)]
        if not manifests:
            raise UnknownIntegration(
                integration[:80],
                got="no release of that name",
                mend="splice release list shows them",
            )
        truths = [one.outcome for manifest in manifests for one in manifest.truths]
        columns = columns_of(manifests, [*(outcome or ()), *truths])
        source = Source(opened.records, opened.outcomes, settings.cost.currency)
        pieces = export(source, wanted, chosen, columns, most=limit)
        # Before the first line is out: what leaves the ledger is told, whatever comes then.
        # Not of whom: that would be in the audit log for good.
        asked = {"since": since, "until": until, "limit": limit, "of_one_entity": bool(entity)}
        opened.audit.add_event(
            "calls.export", integration, by=user_name(), now_us=now_us(),
            details={name: value for name, value in asked.items() if value is not None},
            after={"format": chosen, "out": "" if out is None else out.name},
        )  # fmt: skip
        if out is None:
            write_out(pieces)
            return
        size = write_whole(out, _with_progress(pieces, out))
    talk.print(f"{out}: {size:,} bytes")


def _form(form: str, out: Path | None) -> Form:
    name = form or ("" if out is None else out.suffix.lstrip(".").lower()) or "csv"
    for known in get_args(Form):
        if name == known:
            if known == "parquet" and out is None and sys.stdout.isatty():
                raise WrongOption("--out", got="a terminal", promised="a file for Parquet")
            return known
    raise WrongOption("--format", got=repr(name[:80]), promised=f"one of {_FORMS}")


def _with_progress(pieces: Iterator[bytes], out: Path) -> Iterator[bytes]:
    if not talk.is_terminal:
        yield from pieces
        return
    size = 0
    with talk.status(str(out)) as status:
        for piece in pieces:
            size += len(piece)
            status.update(f"{out}: {size / 1e6:,.1f} MB")
            yield piece
