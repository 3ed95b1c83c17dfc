"""`splice models show|card|tag|verify`: what is known of a version, and whether it is whole."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.settings import user_name
from splice.app.signatures import verifier_of
from splice.cli.common import REFUSED, as_json, out, stores, talk
from splice.control.cards import Cards, changed
from splice.control.registry import split_ref
from splice.core.audit import AuditEvent
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.release import ModelVersion
from splice.core.units import plural
from splice.core.versions import Card
from splice.serve.http.desk import iso

_Ref = Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")]


def version_of(opened: wiring.Stores, ref: str) -> ModelVersion:
    """The version that a reference names.

    Raises:
        DeclarationError: There is none.
    """
    name, which = split_ref(ref)
    found = opened.models.resolve(name, which)
    if found is None:
        raise DeclarationError(ref, got="no such version", mend="splice models list")
    return found


def show(
    ref: _Ref, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show a version: card, lineage, signature, aliases, and what was done to it."""
    with stores() as (_, opened):
        version = version_of(opened, ref)
        known = Cards(opened.audit)
        card, tags = known.card(version), known.tags(version)
        events = list(known.events(version))
        aliases = opened.models.aliases(version.name)
    named = sorted(one for one, number in aliases.items() if number == version.version)
    if json:
        as_json({"version": version, "card": card, "tags": tags, "aliases": named,
                 "events": events})  # fmt: skip
        return
    out.print(f"{version.label}  {version.format}, {version.size} bytes")
    _line("sha256", version.sha256)
    _line("aliases", ", ".join(named))
    _line("withdrawn", version.withdrawn)
    _line("source", version.source)
    for column in version.signature.inputs:
        _line("in", f"{column.name}  {column.datatype}{list(column.shape)}")
    for column in version.signature.outputs:
        _line("out", f"{column.name}  {column.datatype}{list(column.shape)}")
    _line("features", ", ".join(version.signature.features))
    _line("classes", ", ".join(version.signature.classes))
    _lineage(version)
    for name, text in _told(card):
        _line(name, text)
    for name, text in sorted(tags.items()):
        _line("tag", f"{name} = {text}")
    out.print("events")
    for event in events:
        out.print(f"  {iso(event.at_us)[:19].replace('T', ' ')}  {_event(event)}")


def _line(name: str, text: str) -> None:
    if text:
        out.print(f"  {name:<14}{text}")


def _lineage(version: ModelVersion) -> None:
    lineage = version.lineage
    _line("from", lineage.original)
    if parity := lineage.parity:
        _line(
            "parity",
            f"off by {parity.max_difference:.2g} at most ({parity.tolerance:.2g} allowed), "
            f"{parity.labels_differ} of {parity.rows} labels different",
        )
    _line("run", lineage.run)
    _line("registry", lineage.registry)
    data = f" sha256 {lineage.data_sha256[:12]}" if lineage.data_sha256 else ""
    _line("data", f"{lineage.data}{data}".strip())
    _line("revision", lineage.code_revision)
    _line("params", ", ".join(f"{name}={value}" for name, value in lineage.params.items()))


def _told(card: Card) -> list[tuple[str, str]]:
    told = [("owner", card.owner), ("purpose", card.purpose), ("trained on", card.training_data)]
    told += [("assumption", one) for one in card.assumptions]
    told += [("limit", one) for one in card.limits]
    return told + [("metric", f"{name} = {value:g}") for name, value in card.metrics.items()]


def _event(event: AuditEvent) -> str:
    details: dict[str, Any] = event.details
    more = f" {details['alias']}" if event.action == "model.alias" else ""
    why = f": {event.why}" if event.why else ""
    return f"{event.action}{more} by {event.by or 'unknown'}{why}"


def card(
    ref: _Ref,
    set: Annotated[  # noqa: A002 - the name of the option
        list[str] | None,
        typer.Option(help="FIELD=TEXT: owner, purpose, training_data, metrics.NAME; lists by ;."),
    ] = None,
    why: Annotated[str, typer.Option(help="Reason; it is in the audit log.")] = "",
) -> None:
    """Print the card of a version, or complete it. The one it was registered with stays too."""
    with stores() as (_, opened):
        version = version_of(opened, ref)
        cards = Cards(opened.audit)
        now = cards.card(version)
        new = changed(now, _pairs(set or [], "--set"), version.label)
        if new != now:
            cards.set_card(version, new, by=user_name(), now_us=now_us(), why=why)
    as_json(msgspec.to_builtins(new))


def tag(
    ref: _Ref,
    tags: Annotated[list[str], typer.Argument(help="NAME=TEXT; an empty text takes it away.")],
) -> None:
    """Set tags of a version; splice models sync tells the registry."""
    with stores() as (_, opened):
        version = version_of(opened, ref)
        cards = Cards(opened.audit)
        cards.set_tags(version, _pairs(tags, "tag"), by=user_name(), now_us=now_us())
        for name, text in sorted(cards.tags(version).items()):
            out.print(f"{name}={text}")


def _pairs(given: list[str], where: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise DeclarationError(f"{where} {one[:80]!r}", promised="NAME=TEXT")
        pairs[name] = text
    return pairs


def verify(
    name: Annotated[str | None, typer.Argument(help="Only of this name.")] = None,
) -> None:
    """Hash every stored artifact again, and name those that were changed or lost.

    With `models.public_key`, their signatures are checked, too.
    """
    with stores() as (settings, opened):
        versions = opened.models.models(name)
        signed = verifier_of(settings, opened.models)
        broken: list[str] = []
        for version in versions:
            try:
                opened.models.file(version.sha256)
            except ModelUnavailable as error:
                broken.append(version.label)
                out.print(f"{version.label}  {error}")
                continue
            if signed is not None and (why := signed(version)):
                broken.append(version.label)
                out.print(f"{version.label}  {why}")
    if broken:
        talk.print(f"{len(broken)} of {len(versions)} versions are not what was registered.")
        raise typer.Exit(REFUSED)
    more = "" if signed is None else ", with a signature that holds"
    out.print(f"{plural(len(versions), 'version')}, each as it was registered{more}.")
