"""The evidence of an integration as a document: what is proven, by what, and every gap."""

from __future__ import annotations

from splice.console.report.blocks import (
    Block,
    Column,
    Notice,
    Report,
    Section,
    Table,
    Text,
    Tile,
    Tiles,
)
from splice.console.report.words import plural
from splice.control.duties.pack import Evidence, Mapping, Statement
from splice.core.evidence import Proof

_STATES = {"done": "proven", "gap": "GAP", "none": "nothing to prove"}
_SHOWN = {
    "shown": "shown", "partly": "partly", "gap": "GAP", "none": "nothing to prove",
    "organisation": "organisation's own",
}  # fmt: skip


def evidence_report(found: Evidence, made_us: int, files: tuple[tuple[str, str], ...]) -> Report:
    """The document. `files` are those of the pack, each with the beginning of its hash."""
    proven = [one for one in found.statements if one.state == "done"]
    gaps = [one for one in found.statements if one.state == "gap"]
    facts = (
        ("Release", f"{found.release}, sha256 {found.release_sha256[:16]}"),
        ("Declared risk", found.declared_risk),
        ("Tier by the answers", found.tier or "not assessed"),
        ("Law", f"{found.law}, as of {found.law_as_of}"),
        ("Made", found.made),
    )
    tiles = Tiles((
        Tile("Tier by the answers", found.tier or "–", f"declared: {found.declared_risk}"),
        Tile("Proven", f"{len(proven)}", f"of {len(proven) + len(gaps)} that bind", "good"),
        Tile("Gaps", f"{len(gaps)}", "each says what closes it", "bad" if gaps else "good"),
        Tile("By persons", f"{sum(one.by_person for one in proven)}", "attested, and expiring"),
    ))  # fmt: skip
    return Report(
        title=f"{found.integration}: evidence",
        subtitle=found.purpose,
        facts=facts,
        summary=(found.notice,),
        tiles=tiles,
        sections=(
            _tier(found), _gaps(gaps, found), *_articles(found),
            *(_framework(one) for one in found.frameworks), _proofs(found), _files(files),
        ),
        made_us=made_us,
        footer=(
            f"{found.notice} Every statement names what proves it: the record, event or test, with "
            "the beginning of its SHA-256. The whole hashes, and the records, are in the files of "
            "this pack."
        ),
    )  # fmt: skip


def _tier(found: Evidence) -> Section:
    blocks: list[Block] = [
        Table(
            "Grounds",
            (Column("Tier"), Column("Where it stands"), Column("What", wide=True), Column("From")),
            tuple((one.tier, one.point, one.text, one.binds_from) for one in found.because),
            "None of the questions was answered with something that the law names.",
        )
    ]
    if found.not_answered:
        named = ", ".join(one.replace("_", " ") for one in found.not_answered)
        blocks.append(Notice(f"Not answered: {named}. The tier may be worse."))
    return Section("Risk tier", _tier_lead(found), tuple(blocks))


def _tier_lead(found: Evidence) -> str:
    if not found.tier:
        return "The risk questionnaire was not answered, so that nothing says which duties bind."
    return f"By the declaration's own answers it is {found.tier}. That is an estimate, no ruling."


def _gaps(gaps: list[Statement], found: Evidence) -> Section:
    if not found.statements:
        return Section("Gaps", "No duty follows from the answers.")
    lead = f"{plural(len(gaps), 'gap')}." if gaps else "None: each statement is proven."
    rows = tuple((one.article, one.text, one.todo or one.said) for one in gaps)
    columns = (Column("Duty"), Column("What is not proven", wide=True),
               Column("What closes it", wide=True))  # fmt: skip
    rest = tuple(one for one in found.gaps if one not in {gap.id for gap in gaps})
    more: list[Block] = [Notice(one) for one in rest]
    blocks: list[Block] = [Table("Gaps", columns, rows)] if gaps else []
    return Section("Gaps", lead, (*blocks, *more))


def _articles(found: Evidence) -> list[Section]:
    sections: list[Section] = []
    for duty in dict.fromkeys(one.duty for one in found.statements):
        mine = [one for one in found.statements if one.duty == duty]
        proven = sum(1 for one in mine if one.state == "done")
        since = next((one.binds_from for one in mine if one.binds_from), "")
        lead = f"{proven} of {len(mine)} proven" + (f"; binds from {since}." if since else ".")
        rows = tuple(
            (one.point, one.text, f"{_STATES[one.state]}: {one.said}", _named(one.proofs))
            for one in mine
        )
        columns = (Column("Point"), Column("What is asked", wide=True),
                   Column("What there is", wide=True), Column("Proof", wide=True))  # fmt: skip
        sections.append(
            Section(
                f"{mine[0].article} {mine[0].title}", lead, (Table("Statements", columns, rows),)
            )
        )
    return sections


def _named(proofs: tuple[Proof, ...]) -> str:
    return "; ".join(_short(one) for one in proofs[:2]) or "none"


def _short(proof: Proof) -> str:
    digest = f" ({proof.digest[:12]})" if proof.digest else ""
    name = proof.name if len(proof.name) <= 60 else f"{proof.name[:60]}…"
    return f"{proof.kind} {name}{digest}"


def _framework(found: Mapping) -> Section:
    counted = dict.fromkeys(_SHOWN, 0)
    for one in found.controls:
        counted[one.state] += 1
    lead = (
        f"{counted['shown']} shown, {counted['partly']} partly, {plural(counted['gap'], 'gap')}, "
        f"{counted['none']} with nothing to prove, "
        f"{counted['organisation']} are the organisation's own to show. {found.scope}"
    )
    columns = (Column("Control"), Column("In our words", wide=True), Column("State"),
               Column("Statements", wide=True))  # fmt: skip
    rows = tuple(
        (one.id, one.text, _SHOWN[one.state], ", ".join(one.statements) or "none")
        for one in found.controls
    )
    table = Table(f"{found.title}, as of {found.as_of}", columns, rows)
    return Section(found.name, lead, (table, Text(found.source)))


def _proofs(found: Evidence) -> Section:
    seen: dict[tuple[str, str], Proof] = {}
    for one in found.statements:
        for proof in one.proofs:
            seen.setdefault((proof.kind, proof.name), proof)
    columns = (Column("Kind"), Column("What", wide=True), Column("SHA-256"),
               Column("How to look it up", wide=True))  # fmt: skip
    rows = tuple((one.kind, one.name[:90], one.digest[:16], one.command) for one in seen.values())
    lead = f"{plural(len(rows), 'record, event or test', 'records, events and tests')}."
    return Section("What proves it", lead, (Table("Proofs", columns, rows),))


def _files(files: tuple[tuple[str, str], ...]) -> Section:
    columns = (Column("File", wide=True), Column("SHA-256"))
    lead = "manifest.json has their whole hashes."
    return Section("Files of this pack", lead, (Table("Files", columns, files),))
