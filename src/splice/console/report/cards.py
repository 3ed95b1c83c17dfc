"""Cards of models and integrations, and the assessment of fundamental rights, as documents."""

from __future__ import annotations

from typing import Any

from splice.console import units
from splice.console.report.blocks import (
    Block,
    Column,
    Notice,
    Report,
    Section,
    Table,
    Text,
    Tiles,
)
from splice.console.report.words import plural, sentence
from splice.control.duties.documents import (
    Element,
    Fria,
    IntegrationCard,
    Missing,
    ModelCard,
)
from splice.core.validation import Validation

_WIDE = (Column("What", wide=True), Column("How", wide=True))


def _report(
    title: str,
    subtitle: str,
    facts: tuple[tuple[str, str], ...],
    sections: tuple[Section, ...],
    made_us: int,
    notice: str,
) -> Report:
    return Report(
        title=title,
        subtitle=subtitle,
        facts=tuple(one for one in facts if one[1]),
        summary=(),
        tiles=Tiles(()),
        sections=sections,
        made_us=made_us,
        footer=f"Written from the ledger on {units.moment(made_us)} UTC. {notice}".strip(),
    )


def _missing(missing: tuple[Missing, ...]) -> Section:
    if not missing:
        return Section("What a person must add", "Nothing is missing.")
    rows = tuple((one.ask, one.add) for one in missing)
    lead = f"{plural(len(missing), 'thing')} that no record can tell."
    return Section("What a person must add", lead, (Table("Asked for", _WIDE, rows),))


def model_card_report(found: ModelCard) -> Report:
    """The card of a model version."""
    version, card, lineage = found.model, found.card, found.model.lineage
    facts = (
        ("Owner", card.owner), ("Format", f"{version.format}, {version.size} bytes"),
        ("SHA-256", version.sha256), ("Aliases", ", ".join(found.aliases)),
        ("Registered", units.moment(version.created_us)), ("Withdrawn", version.withdrawn),
    )  # fmt: skip
    uses = tuple(("limit", one) for one in card.limits)
    uses += tuple(("takes for granted", one) for one in card.assumptions)
    origin = (
        ("trained on", card.training_data), ("data", lineage.data),
        ("SHA-256 of the data", lineage.data_sha256),
        ("revision of the code", lineage.code_revision),
        ("run", lineage.run), ("converted from", lineage.original), ("registry", lineage.registry),
        ("file", version.source),
        ("parameters", ", ".join(f"{k}={v}" for k, v in lineage.params.items())),
    )  # fmt: skip
    signature = [(f"in {one.name}", f"{one.datatype}{list(one.shape)}")
                 for one in version.signature.inputs]  # fmt: skip
    signature += [(f"out {one.name}", f"{one.datatype}{list(one.shape)}")
                  for one in version.signature.outputs]  # fmt: skip
    figures = tuple((name, f"{value:g}") for name, value in card.metrics.items())
    sections = (
        Section(
            "What it is for", sentence(card.purpose) or "Nobody said.",
            (Table("Limits and assumptions", _WIDE, uses, "None was said."),),
        ),
        Section(
            "Where it comes from", "",
            (Table("Origin", _WIDE, tuple(one for one in origin if one[1]), "Nothing is known."),),
        ),
        Section(
            "What it reads and gives", "", (Table("Signature", _WIDE, tuple(signature)),)
        ),
        Section(
            "How good it is", "By its card, and by the gates that it was put through.",
            (Table("By its card", _WIDE, figures, "No figure was said."),
             *(_gates(one) for one in found.validations)),
        ),
        Section(
            "Where it answers", ", ".join(found.answers) or "In no live release.",
        ),
        _missing(found.missing),
        Section(
            "What was done to it", "",
            (Table(
                "Events", (Column("When (UTC)"), Column("What"), Column("By"),
                           Column("Why", wide=True)),
                tuple((units.moment(one.at_us), one.action, one.by, one.why)
                      for one in found.events),
            ),),
        ),
    )  # fmt: skip
    return _report(f"Model card: {version.label}", sentence(card.purpose), facts, sections,
                   found.made_us, "")  # fmt: skip


def _gates(found: Validation) -> Table:
    caption = (
        f"For {found.integration}, on {found.data} ({plural(found.rows, 'row')}, sha256 "
        f"{found.data_sha256[:12]}), {units.moment(found.at_us)} UTC"
    )
    columns = (Column("Gate", wide=True), Column("Passed"), Column("What was found", wide=True))
    rows = tuple((one.gate, "yes" if one.passed else "NO", one.detail) for one in found.results)
    return Table(caption, columns, rows)


def integration_card_report(found: IntegrationCard) -> Report:
    """The card of an integration."""
    release, manifest = found.release, found.release.manifest
    objective = ", ".join(f"{name} {value}" for name, value in manifest.objective.items())
    state = "not live" if not found.live else "stopped" if found.stopped else "live"
    facts = (
        ("Release", f"{release.number} ({state}), sha256 {manifest.digest[:16]}"),
        ("Declared risk", manifest.risk), ("Tier by the answers", found.tier or "not assessed"),
        ("Objective", objective),
        ("Applied", f"{units.moment(release.created_us)} by {release.by}"),
    )  # fmt: skip
    routes = tuple((one.label, one.version, units.duration(one.timeout_s))
                   for one in manifest.routes)  # fmt: skip
    said = manifest.assessment
    affected = (said.affected if said else "") or "The declaration does not say who is affected."
    watched: list[tuple[str, str]] = [
        (one.name, f"then {', '.join(one.then)}") for one in manifest.monitors
    ]
    policies = [(one.name, f"{one.kind} at {', '.join(one.at)}: {one.then}")
                for one in manifest.policies]  # fmt: skip
    sections = (
        Section("What it is for", sentence(manifest.purpose),
                (Text(sentence(objective)), Text(sentence(affected)))),
        Section("What answers", "In this order; a later one answers where an earlier one fails.",
                (Table("Routes", (Column("Route", wide=True), Column("Runs", wide=True),
                                  Column("Within")), routes),
                 Table("Models", _WIDE, tuple((one.label, one.sha256) for one in found.models),
                       "No registered model answers."))),
        Section("What it reads and gives", "",
                (Table("Request", _WIDE, _fields(manifest.request_schema)),
                 Table("Reply", _WIDE, _fields(manifest.reply_schema)))),
        Section("How it is watched and bounded", "",
                (Table("Monitors", _WIDE, tuple(watched), "None is declared."),
                 Table("Policies", _WIDE, tuple(policies), "None is declared."))),
        Section("How much it is used", "",
                (Table("Calls by month", (Column("Month"), Column("Calls", right=True)),
                       tuple((one.month, units.count(one.calls)) for one in found.months),
                       "It was not used yet."),)),
        _proven(found),
        _missing(found.missing),
    )  # fmt: skip
    return _report(
        f"Integration card: {release.integration}", sentence(manifest.purpose), facts, sections,
        found.made_us, "",
    )  # fmt: skip


def _proven(found: IntegrationCard) -> Section:
    proven = [one for one in found.statements if one.state == "done"]
    columns = (Column("Point"), Column("What is asked", wide=True),
               Column("What there is", wide=True))  # fmt: skip
    rows = tuple((one.point, one.text, one.said) for one in proven)
    return Section("What is proven", f"{plural(len(proven), 'statement')}.",
                   (Table("By the EU AI Act", columns, rows, "Nothing that binds."),))  # fmt: skip


def _fields(schema: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Fields of a JSON Schema with their types."""
    named = str(schema.get("$ref", "")).rpartition("/")[2]
    top: dict[str, Any] = schema.get("$defs", {}).get(named, schema)
    return tuple((name, _kind(field)) for name, field in top.get("properties", {}).items())


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return "one of " + ", ".join(map(str, field["enum"]))
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    return str(field.get("type", "anything"))


def fria_report(found: Fria) -> Report:
    """The assessment of the impact on fundamental rights, prefilled."""
    missing = [one for one in found.elements if one.missing]
    due = "yes" if found.due else "no"
    facts = (
        ("Release", str(found.release)),
        ("Asked for by Art. 27", f"{due}, by the declaration's answers"),
        ("Missing", f"{len(missing)} of {len(found.elements)} elements"),
    )  # fmt: skip
    sections = tuple(_element(one) for one in found.elements)
    asked = tuple(Missing(one.missing, one.add) for one in missing)
    return _report(
        f"Fundamental rights impact assessment: {found.integration}", "Prefilled from the ledger",
        facts, (*sections, _missing(asked)), found.made_us, found.notice,
    )  # fmt: skip


def _element(one: Element) -> Section:
    blocks: list[Block] = []
    if one.known:
        rows = tuple((line,) for line in one.known)
        blocks.append(Table("What the ledger knows", (Column("", wide=True),), rows))
    if one.said:
        blocks.append(Text(one.said))
    if one.missing:
        blocks.append(Notice(f"A person must add: {one.missing} {one.add}"))
    lead = f"Attested by {one.by}." if one.by else ""
    return Section(f"{one.point} {one.title}", lead, tuple(blocks))
