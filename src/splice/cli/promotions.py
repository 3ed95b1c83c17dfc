"""`splice models validate|promote|approve|rollback`: versions go through gates, or back."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from splice.app import gating, wiring
from splice.app.clock import now_us
from splice.app.promoting import after_move
from splice.app.settings import Settings, user_name
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.control.cases import Case, day
from splice.control.promote import Move, Place, Promoter
from splice.core.errors import NotPromoted
from splice.core.release import ModelVersion
from splice.core.units import plural
from splice.core.validation import GateResult, Validation
from splice.ports.promotions import Promoted

Ref = Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]
Name = Annotated[str, typer.Argument(help="Name of the model.")]
Integration = Annotated[
    str | None, typer.Option("--integration", help="Only for this one; all that route by it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Why = Annotated[str, typer.Option("--why", help="Reason, kept with the change.")]


def add_to(app: typer.Typer) -> None:
    """The commands, under `splice models`."""
    app.command()(validate)
    app.command()(approve)
    app.command()(promote)
    app.command()(rollback)


def _cases(
    settings: Settings, opened: wiring.Stores, promoter: Promoter, ref: str, only: str | None
) -> tuple[ModelVersion, list[Case]]:
    """A case for every integration that the version would answer in.

    Of one that has a live release, its gates count; of one that has none yet, those on the disk.
    """
    version = promoter.version(ref)
    places = promoter.places(version, only)
    cases = [one.case for one in places if one.case is not None]
    live = {one.integration for one in opened.releases.live()}
    cases += [
        one
        for one in gating.declared_cases(settings, opened, version, wiring.modules_of(settings))
        if one.integration not in live and only in (None, one.integration)
    ]
    if not cases:
        where = only or "any integration that routes by its champion"
        raise NotPromoted(
            version.label, got=f"no gates for it in {where}", promised="gates to run",
            mend="declare gates = splice.Gates(…), and apply",
        )  # fmt: skip
    return version, cases


def validate(ref: Ref, integration: Integration = None, json: Json = False) -> None:
    """Run the gates of every integration that routes by the model; nothing is promoted.

    Exit 1 where one fails. What was found is kept: promoting asks for it.
    """
    with stores() as (settings, opened):
        promoter = gating.promoter_of(settings, opened)
        validator = gating.validator_of(settings, opened)
        _, cases = _cases(settings, opened, promoter, ref, integration)
        found = [validator.validate(case, by=user_name(), now_us=now_us()) for case in cases]
    if json:
        as_json([_plain(one) for one in found])
    else:
        for one, case in zip(found, cases, strict=True):
            _show(one, case)
    if not all(one.passed for one in found):
        raise typer.Exit(REFUSED)


def _plain(validation: Validation) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(validation)
    return {**plain, "passed": validation.passed, "digest": validation.digest}


def _show(validation: Validation, case: Case) -> None:
    label = f"{validation.model}@{validation.version}"
    out.print(
        f"{label} for {validation.integration}: {validation.data}, "
        f"{plural(validation.rows, 'row')}, "
        f"{validation.data_sha256[:12]}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("gate", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for one in validation.results:
        table.add_row(one.gate, _mark(one), one.detail)
    out.print(table)
    failed = sum(not one.passed for one in validation.results)
    if failed:
        out.print(f"{label} did not pass: {failed} of {len(validation.results)} fail.")
        return
    until = f", until {day(validation.expires_us)}" if validation.expires_us else ""
    out.print(f"{label} passed for {validation.integration}{until}.")
    if case.gates.approver:
        talk.print(
            f"It needs a second person's consent: splice models approve {label} "
            f'--integration {validation.integration} --why "…"'
        )


def _mark(result: GateResult) -> Text:
    return Text("passed", style="green") if result.passed else Text("failed", style="red")


def approve(
    ref: Ref,
    why: Annotated[str, typer.Option("--why", help="What you looked at; kept with the consent.")],
    integration: Integration = None,
) -> None:
    """Consent to a version's newest validation, as neither who registered nor who promotes it."""
    with stores() as (settings, opened):
        version = gating.promoter_of(settings, opened).version(ref)
        validator = gating.validator_of(settings, opened)
        for one in validator.approve(
            version, integration, by=user_name(), why=why, now_us=now_us()
        ):
            out.print(
                f"{one.by} consents to {version.label} for {one.integration} "
                f"(validation {one.validation[:12]})."
            )


def promote(ref: Ref, why: Why = "", yes: Yes = False) -> None:
    """Make a version the champion, through the gates of every integration that routes by it.

    Alias, releases and audit event change together, or not at all. Running servers follow within a
    second.
    """
    with stores() as (settings, opened):
        promoter = gating.promoter_of(settings, opened)
        move = promoter.promotion(ref)
        label = move.version.label
        if not move.changes:
            talk.print(f"{label} is the champion already; every release that follows it runs it.")
            return
        validations = promoter.checked(move, by=user_name(), now_us=now_us())
        for one in validations:
            talk.print(
                f"{one.integration}: {plural(len(one.results), 'result')} passed "
                f"(validation {one.digest[:12]})"
            )
        for name in move.unchecked:
            talk.print(f"{name}: declares no gates, so nothing was checked")
        if not move.places:
            talk.print("No live release routes by it: nothing was checked, only the alias moves.")
        _show_move(move)
        if not confirm(f"Promote {label}?", yes):
            raise typer.Exit(REFUSED)
        made = promoter.promote(move, validations, by=user_name(), why=why, now_us=now_us())
        _done(settings, opened, move, made)
    out.print(f"Undo: splice models rollback {move.version.name}")


def _show_move(move: Move) -> None:
    name = move.version.name
    before = f"{name}@{move.seen}" if move.seen else "nothing"
    out.print(f"{name}@champion  {before} -> {move.version.label}")
    for place in move.places:
        if place.changes:
            out.print(f"  {place.live.integration}  release {place.live.number}: {_routes(place)}")


def _routes(place: Place) -> str:
    pairs = zip(place.live.manifest.routes, place.manifest.routes, strict=True)
    return ", ".join(f"{a.version} -> {b.version}" for a, b in pairs if a.sha256 != b.sha256)


def _done(settings: Settings, opened: wiring.Stores, move: Move, made: Promoted) -> None:
    if warning := after_move(settings, opened, move.version):
        talk.print(warning, style="yellow")
    for release in made.releases:
        out.print(f"Release {release.number} of {release.integration} is live.")
    if not made.releases:
        out.print(f"{move.version.name}@champion is {move.version.label}.")


def rollback(
    name: Name,
    to: Annotated[
        int | None, typer.Option("--to", help="Version; the champion before if left out.")
    ] = None,
    why: Why = "",
    yes: Yes = False,
) -> None:
    """Make the champion before the champion again, at once: no gate is asked."""
    with stores() as (settings, opened):
        promoter = gating.promoter_of(settings, opened)
        move = promoter.rollback(name, to)
        if not move.changes:
            talk.print(f"{move.version.label} is the champion already.")
            return
        _show_move(move)
        if not confirm(f"Go back to {move.version.label}?", yes):
            raise typer.Exit(REFUSED)
        made = promoter.roll_back(move, by=user_name(), why=why, now_us=now_us())
        _done(settings, opened, move, made)
