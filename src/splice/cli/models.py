"""`splice models …`: registered model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from splice.app import wiring
from splice.app.clock import now_us
from splice.cli import promotions
from splice.cli.common import as_json, out, stores
from splice.control.registry import CHAMPION, split_ref
from splice.core.errors import DeclarationError
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)
Ref = Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[Path, typer.Argument(help="ONNX file.", exists=True, dir_okay=False)],
    alias: Annotated[str, typer.Option(help="Alias to point at it; empty for none.")] = CHAMPION,
) -> None:
    """Register a file as the next version; the same bytes keep their number."""
    with stores() as (settings, opened):
        registry = wiring.registry_of(settings, opened)
        aliases = (alias,) if alias else ()
        adopted = registry.register(name, file, now_us=now_us(), aliases=aliases)
    version = adopted.version
    out.print(f"{version.label}  {version.sha256[:12]}  {version.size} bytes")
    for column in version.signature.inputs:
        out.print(f"  in   {column.name}  {column.datatype}{list(column.shape)}")
    for column in version.signature.outputs:
        out.print(f"  out  {column.name}  {column.datatype}{list(column.shape)}")


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only of this name.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List versions, newest first."""
    with stores() as (_, opened):
        versions = opened.models.models(name)
        names = {one.name for one in versions}
        aliases = {one: opened.models.aliases(one) for one in names}
    if json:
        as_json(
            [{"version": one, "aliases": _of(aliases[one.name], one.version)} for one in versions]
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "aliases", "sha256", "bytes", "added", "withdrawn"):
        table.add_column(column, overflow="fold")
    for one in versions:
        table.add_row(
            one.label, ", ".join(_of(aliases[one.name], one.version)), one.sha256[:12],
            str(one.size), iso(one.created_us)[:19].replace("T", " "), one.withdrawn,
        )  # fmt: skip
    out.print(table)


def _of(aliases: dict[str, int], version: int) -> list[str]:
    return sorted(alias for alias, number in aliases.items() if number == version)


def _number(opened: wiring.Stores, ref: str) -> tuple[str, int]:
    name, which = split_ref(ref)
    found = opened.models.resolve(name, which)
    if found is None:
        raise DeclarationError(ref, got="no such version", mend="splice models list")
    return name, found.version


@app.command()
def withdraw(
    ref: Ref,
    why: Annotated[str, typer.Option("--why", help="Reason; it is told with every fallback.")],
) -> None:
    """Forbid a version to every route: running servers fall back within a second."""
    with stores() as (_, opened):
        version = opened.models.withdraw(*_number(opened, ref), why)
    out.print(f"{version.label} is withdrawn. Undo: splice models restore {version.label}")


@app.command()
def restore(ref: Ref) -> None:
    """Allow a withdrawn version again."""
    with stores() as (_, opened):
        version = opened.models.withdraw(*_number(opened, ref), "")
    out.print(f"{version.label} may be used again.")


@app.command()
def alias(ref: Ref, name: Annotated[str, typer.Argument(help="The alias to point at it.")]) -> None:
    """Point an alias at a version. Releases keep what they pinned: apply to take the new one."""
    with stores() as (_, opened):
        model, version = _number(opened, ref)
        opened.models.set_alias(model, name, version)
    out.print(f"{model}@{name} is version {version} now; splice release apply takes it up.")


promotions.add_to(app)
