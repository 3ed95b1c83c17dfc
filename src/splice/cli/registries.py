"""`splice models pull|push|sync`: a registry elsewhere, such as MLflow."""

from __future__ import annotations

from typing import Annotated

import typer

from splice.app import registries
from splice.cli.cards import version_of
from splice.cli.common import out, stores, talk
from splice.control.parity import TOLERANCE
from splice.core.errors import DeclarationError


def pull(
    name: Annotated[str, typer.Argument(help="Name of the model, there and here.")],
    version: Annotated[int, typer.Option(help="Its version there.", min=0)] = 0,
    alias: Annotated[str, typer.Option(help="Or its alias there.")] = "",
    point: Annotated[str, typer.Option(help="Alias here to point at it; none by default.")] = "",
    tolerance: Annotated[
        float, typer.Option(help="Most that a converted model may be off.", min=0)
    ] = TOLERANCE,
) -> None:
    """Take a version over from the registry that the settings name: file, card, lineage, tags."""
    if bool(version) == bool(alias):
        raise DeclarationError(name, got="both or neither", promised="--version or --alias")
    with stores() as (settings, opened):
        adopted = registries.pull(
            settings, opened, name, str(version or alias),
            aliases=(point,) if point else (), tolerance=tolerance,
        )  # fmt: skip
    kept = adopted.version
    out.print(f"{kept.label}  {kept.sha256[:12]}  from {kept.lineage.registry}")
    if not adopted.is_new:
        talk.print("These bytes are that version already.")


def push(ref: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]) -> None:
    """Register a version in the registry that the settings name; once is enough."""
    with stores() as (settings, opened):
        version = version_of(opened, ref)
        place = registries.push(settings, opened, version)
    out.print(f"{version.label} is {place}")


def sync(name: Annotated[str, typer.Argument(help="Name of the model, there and here.")]) -> None:
    """Make aliases and tags alike, here and in the registry; the champion is decided here."""
    with stores() as (settings, opened):
        synced = registries.sync(settings, opened, name)
    for one in synced.done:
        out.print(one)
    for one in synced.notes:
        talk.print(one)
    if not synced.done:
        out.print("Nothing to do.")
