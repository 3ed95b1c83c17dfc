"""`splice audit …`: who changed what, from where and why, and whether all of it still holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from splice.app import auditing
from splice.app.clock import now_us
from splice.app.settings import Settings, user_name
from splice.cli.common import REFUSED, Project, as_json, out, stores, talk
from splice.control.audit_words import details_of
from splice.control.signing import new_key
from splice.core.audit import AuditEvent, Origin
from splice.core.errors import SettingsError
from splice.core.inspection import Inspection
from splice.core.units import plural
from splice.ports.audit import EventFilter
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--public-key", help="File with the public key; audit.public_key if left out."),
]
HeadFile = Annotated[
    Path | None, typer.Option("--head", help="File with signed heads that were kept elsewhere.")
]


@app.command("list")
def list_(
    subject: Annotated[
        str, typer.Option(help="Only of this model, model version or integration.")
    ] = "",
    by: Annotated[str, typer.Option(help="Only by this person.")] = "",
    action: Annotated[
        str, typer.Option(help="Only this action; `release.` finds all of them.")
    ] = "",
    since: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    json: Json = False,
) -> None:
    """List control actions, oldest first; the newest of them if there are more than the limit."""
    wanted = EventFilter(subject, by, action, limit=limit)
    with stores() as (_, opened):
        if since:
            found = opened.audit.events(subject=subject or None, since=since, limit=limit)
            found = [one for one in found if _is_wanted(one, wanted)]
        else:
            found = opened.audit.find(wanted)[::-1]
        details = [_details(details_of(one, opened.reviews.review)) for one in found]
    if json:
        as_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("number", "when (UTC)", "by", "from", "action"):
        table.add_column(column, no_wrap=True)
    for column in ("subject", "why", "details"):
        table.add_column(column, overflow="fold", min_width=14)
    for one, words in zip(found, details, strict=True):
        when = iso(one.at_us)[:19].replace("T", " ")
        table.add_row(
            str(one.number), when, one.by, one.origin.surface, one.action, one.subject, one.why,
            words,
        )  # fmt: skip
    out.print(table)


def _is_wanted(event: AuditEvent, wanted: EventFilter) -> bool:
    named = wanted.action.endswith(".") and event.action.startswith(wanted.action)
    return (not wanted.by or event.by == wanted.by) and (
        not wanted.action or named or event.action == wanted.action
    )


_LONG = 100  # ids and hashes are shorter, and are shown whole


def _details(details: dict[str, Any]) -> str:
    """What is short enough to be read; `--json` and `show` have all of it."""
    plain = {k: str(v) for k, v in details.items() if isinstance(v, (str, int, float, bool))}
    return ", ".join(
        f"{k}={v if len(v) <= _LONG else v[: _LONG - 1] + '…'}"
        for k, v in plain.items()
        if k != "sha256"
    )


@app.command()
def show(
    number: Annotated[int, typer.Argument(min=1, help="Number of the event.")], json: Json = False
) -> None:
    """Show an event: what it was before, what it became, and from where it was done."""
    with stores() as (_, opened):
        found = opened.audit.event(number)
        details = {} if found is None else details_of(found, opened.reviews.review)
    if found is None:
        talk.print(f"There is no event {number}.", style="red")
        raise typer.Exit(REFUSED)
    if json:
        as_json(found)
        return
    out.print(f"{found.action} of {found.subject}")
    _line("when", iso(found.at_us))
    _line("by", found.by)
    _line("from", _origin(found.origin))
    _line("why", found.why)
    _line("before", found.before)
    _line("after", found.after)
    for name, value in details.items():
        _line(name, value)
    _line("sha256", found.sha256)


def _origin(origin: Origin) -> str:
    told = (origin.command, origin.address and f"address {origin.address}", origin.host)
    return " · ".join(part for part in (origin.surface, *told) if part)


def _line(name: str, value: Any) -> None:  # a JSON value
    if value not in (None, ""):
        out.print(f"  {name:<10} {value}")


@app.command()
def init(
    name: Annotated[
        str, typer.Option(help="Name of the ledger in its signed heads: `example.com/claims`.")
    ] = "splice",
) -> None:
    """Make the key that signs heads of the ledger, and the one that verifies them.

    Keep the first one secret, best as a secret of the processes that serve
    (`audit.signing_key_env`); whoever can write the ledger must not have it. Give the second to
    whoever is to verify.
    """
    settings = Project.settings()
    secret, public = (
        settings.path(place) for place in (settings.audit.signing_key, settings.audit.public_key)
    )
    there = [str(one) for one in (secret, public) if one.exists()]
    if there:
        raise SettingsError(
            "splice audit init", got=f"a key that is there already: {', '.join(there)}",
            promised="to make the first one",
            mend="keep it: what it signed can only be verified with it. To begin anew, name other "
            "files in audit.signing_key and audit.public_key",
        )  # fmt: skip
    line, key = new_key(name)
    with stores() as (_, opened):
        _write_new(secret, line, 0o600)
        _write_new(public, key.text(), 0o644)
        opened.audit.add_event(
            "audit.init", name, by=user_name(), now_us=now_us(), after={"public_key": key.text()}
        )
    out.print(key.text())
    talk.print(f"The signing key is in {secret}; the line above, in {public}, verifies.")
    if secret.resolve().is_relative_to(settings.path(".").resolve()):
        talk.print(
            "It lies beside the ledger: whoever can write both could rewrite the ledger and sign "
            "that. To prove anything against him, move it to where only the processes that serve "
            "read it (audit.signing_key_env), and have heads kept elsewhere (audit.heads).",
            style="yellow",
        )


def _write_new(file: Path, line: str, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise SettingsError(
            str(file), got="a key that is there already",
            mend="keep it: what it signed can only be verified with it; or name another file",
        ) from None  # fmt: skip
    with os.fdopen(number, "w") as opened:
        opened.write(line + "\n")
        opened.flush()
        os.fsync(opened.fileno())


@app.command()
def head() -> None:
    """Sign a head of all that is recorded now, and print it; without a key, the newest there is."""
    with stores() as (settings, opened):
        checkpointer = auditing.checkpointer_of(settings, opened)
        found = (
            opened.checkpoints.newest_head()
            if checkpointer is None
            else checkpointer.make(now_us())
        )
    if found is None:
        talk.print("There is no signed head: splice audit init makes the key.")
        raise typer.Exit(REFUSED)
    typer.echo(found.text, nl=False)


@app.command()
def verify(
    head: HeadFile = None,
    public_key: KeyFile = None,
    export: Annotated[
        Path | None, typer.Option(help="Verify this export instead of the ledger.")
    ] = None,
    json: Json = False,
) -> None:
    """Check the chain of events, all calls, archived ones too, and every signed head.

    Exit code 1 names the first record that was changed, removed, put in or reordered. What was
    rewritten as a whole, with all its hashes, contradicts a signed head: those in audit.heads, and
    those that you kept and bring with --head. The network is not used.
    """
    if export is not None:
        key = None
        if public_key is not None:
            key = auditing.public_key_of(Settings(), public_key)
        seen = auditing.verified_export(export, key, head)
    else:
        with stores() as (settings, opened):
            key = auditing.public_key_of(settings, public_key)
            seen = auditing.verified(settings, opened, key, head)
    if json:
        as_json(seen)
    else:
        _told(seen)
    if seen.broken is not None:
        raise typer.Exit(REFUSED)


def _told(seen: Inspection) -> None:
    for warning in seen.warnings:
        talk.print(f"Note: {warning}.", style="yellow")
    if seen.broken is not None:
        talk.print(f"{seen.broken}.", style="red")
        return
    more = [
        f"{count} {what}"
        for count, what in (
            (seen.archived, "in files of the archive"),
            (seen.dropped, "without their texts, which were dropped"),
        )
        if count
    ]
    out.print(
        f"{plural(seen.events, 'event')} and {plural(seen.calls, 'call')} hold." + _among(more)
    )
    if seen.heads:
        out.print(
            f"Signed heads that agree: {seen.heads}; the newest covers "
            f"{plural(seen.covered, 'call')}."
        )
    else:
        out.print(
            "No head was signed: whoever rewrote all of it would not be found. splice audit init "
            "makes a key; splice audit head signs one now."
        )


def _among(parts: list[str]) -> str:
    return f" Among the calls: {', '.join(parts)}." if parts else ""
