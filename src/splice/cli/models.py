"""`splice models …`: registered models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.promoting import admit_champion
from splice.app.registering import Registrar, by_hand, revision_of, sha256_of
from splice.app.settings import Settings, user_name
from splice.cli import cards, promotions, registries, signing, validity
from splice.cli.common import as_json, out, stores, talk
from splice.control.cards import card_of
from splice.control.parity import TOLERANCE
from splice.control.registry import CHAMPION, Adopted, Registration
from splice.control.rollouts import Who
from splice.core.errors import DeclarationError
from splice.core.release import ModelVersion
from splice.core.versions import Card, Lineage
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)
Ref = Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="ONNX, LightGBM text, XGBoost JSON or UBJSON; or a zip or tar with one of them.",
            exists=True,
            dir_okay=False,
        ),
    ],
    alias: Annotated[
        str | None,
        typer.Option(help="Alias to point at it; empty for none. The first is the champion."),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="TOML file with its card.", exists=True, dir_okay=False)
    ] = None,
    owner: Annotated[str, typer.Option(help="Owner; stands in the card.")] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="File it was trained on; its hash is kept.", exists=True, dir_okay=False),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE that it was trained with.")
    ] = None,
    revision: Annotated[
        str, typer.Option(help="Revision of its code; git's of the project if left out.")
    ] = "",
    run: Annotated[str, typer.Option(help="Training run, as mlflow:RUN_ID.")] = "",
    tolerance: Annotated[
        float, typer.Option(help="Most that a converted model may be off.", min=0)
    ] = TOLERANCE,
    new_signature: Annotated[
        bool, typer.Option(help="The alias may move to other inputs and outputs.")
    ] = False,
    unsafe_pickle: Annotated[
        bool, typer.Option("--unsafe-pickle", help="Register a pickle, which runs code.")
    ] = False,
    features: Annotated[str, typer.Option(help="A pickle's columns in order: a,b,c.")] = "",
    classes: Annotated[str, typer.Option(help="A pickle's classes in order: good,bad.")] = "",
    why: Annotated[str, typer.Option(help="Reason; it is in the audit log.")] = "",
) -> None:
    """Register a file as the next version; the same bytes keep their number."""
    with stores() as (settings, opened):
        registrar = Registrar(settings, opened)
        usual, chosen = registrar.usual_aliases(name), (alias,) if alias else ()
        lineage = Lineage(
            data_sha256=sha256_of(data) if data else "", data=data.name if data else "",
            code_revision=revision or revision_of(Path(settings.root)),
            params=dict(_pair(one) for one in param or ()), run=run,
        )  # fmt: skip
        said = Registration(
            by=user_name(), why=why, aliases=usual if alias is None else chosen, lineage=lineage,
            card=_card(card, owner), new_signature=new_signature)  # fmt: skip
        if unsafe_pickle:
            signature = by_hand(_names(features), _names(classes))
            adopted = registrar.pickle(name, file, said, signature)
        else:
            adopted = registrar.file(name, file, said, tolerance=tolerance)
    _print(adopted, champion_stays=alias is None and not usual)


def _card(file: Path | None, owner: str) -> Card:
    told = Card() if file is None else card_of(file.read_text("utf-8", "replace"), file.name)
    return msgspec.structs.replace(told, owner=owner or told.owner)


def _names(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise DeclarationError(
            f"--param {text[:80]!r}", promised="KEY=VALUE", mend="write it like depth=3"
        )
    return key, value


def _print(adopted: Adopted, *, champion_stays: bool) -> None:
    version = adopted.version
    out.print(f"{version.label}  {version.sha256[:12]}  {version.size} bytes")
    for column in version.signature.inputs:
        out.print(f"  in   {column.name}  {column.datatype}{list(column.shape)}")
    for column in version.signature.outputs:
        out.print(f"  out  {column.name}  {column.datatype}{list(column.shape)}")
    if parity := version.lineage.parity:
        out.print(
            f"  from {version.lineage.original}: off by {parity.max_difference:.2g} at most, "
            f"{parity.labels_differ} of {parity.rows} labels different"
        )
    if adopted.is_new and champion_stays:
        talk.print(f"The champion stays. To change it: splice models promote {version.label}")
    if not adopted.is_new:
        talk.print(
            "These bytes are that version already. Its card and lineage stay: "
            f"splice models card {version.label}"
        )


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


@app.command()
def withdraw(
    ref: Ref,
    why: Annotated[str, typer.Option("--why", help="Reason; it is told with every fallback.")],
) -> None:
    """Forbid a version to every route: running servers fall back within a second."""
    with stores() as (_, opened):
        found = cards.version_of(opened, ref)
        version = opened.models.withdraw(
            found.name, found.version, why, by=user_name(), now_us=now_us()
        )
    out.print(f"{version.label} is withdrawn. Undo: splice models restore {version.label}")


@app.command()
def restore(ref: Ref) -> None:
    """Allow a withdrawn version again."""
    with stores() as (_, opened):
        found = cards.version_of(opened, ref)
        version = opened.models.withdraw(
            found.name, found.version, "", by=user_name(), now_us=now_us()
        )
    out.print(f"{version.label} may be used again.")


@app.command()
def alias(
    ref: Ref,
    name: Annotated[str, typer.Argument(help="The alias to point at it.")],
    new_signature: Annotated[
        bool, typer.Option(help="It may move to other inputs and outputs.")
    ] = False,
    why: Annotated[str, typer.Option(help="Reason; it is in the audit log.")] = "",
) -> None:
    """Point an alias at a version. Releases keep what they pinned: apply to take the new one."""
    with stores() as (settings, opened):
        version = cards.version_of(opened, ref)
        said = Registration(by=user_name(), why=why, new_signature=new_signature)
        if name == CHAMPION:
            admit_champion(settings, opened, ref, Who(user_name(), why, now_us()))
        wiring.registry_of(settings, opened).point(version, name, now_us=now_us(), said=said)
        _tell_registry(settings, opened, version, name)
    out.print(
        f"{version.name}@{name} is version {version.version} now; splice release apply takes it up."
    )


def _tell_registry(
    settings: Settings, opened: wiring.Stores, version: ModelVersion, alias: str
) -> None:
    from splice.app.registries import after_alias  # the client is loaded where there is a registry

    if settings.registry.url and (warning := after_alias(settings, opened, version, alias)):
        talk.print(warning, style="yellow")


app.command()(cards.show)
app.command()(cards.card)
app.command()(cards.tag)
app.command()(cards.verify)
app.command()(signing.sign)
app.command()(registries.pull)
app.command()(registries.push)
app.command()(registries.sync)
promotions.add_to(app)
validity.add_to(app)
