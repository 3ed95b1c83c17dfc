"""The pack of evidence of an integration: documents, records, bills of materials, hashes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import splice
from splice.app.clock import now_us as clock
from splice.app.dutiful import known_of
from splice.app.folders import EvidenceFolder
from splice.app.incidents import events_of
from splice.app.settings import Settings
from splice.app.wiring import Stores
from splice.console.report.blocks import Report
from splice.console.report.cards import fria_report, integration_card_report, model_card_report
from splice.console.report.duties import evidence_report
from splice.console.report.markdown import as_markdown
from splice.control.duties.checklist import checklist
from splice.control.duties.documents import fria_of, integration_card, model_card
from splice.control.duties.known import Known
from splice.control.duties.pack import (
    SCHEMA,
    VERSION,
    Evidence,
    because_of,
    mapping_of,
    schema_of_evidence,
    statements_of,
)
from splice.core.errors import SettingsError
from splice.core.evidence import Checklist
from splice.declare.law import eu_ai_act, frameworks

_HEADS = 100
"""Signed heads that are in a pack: the newest, which are over all that was before."""


class Packed(msgspec.Struct, frozen=True):
    """A pack: where it is, the hash of its manifest, and how much of it is proven."""

    folder: str
    sha256: str
    files: int
    proven: int
    gaps: tuple[str, ...]


def evidence_of(known: Known, found: Checklist, whole: Checklist, lacks: list[str]) -> Evidence:
    """The machine-readable evidence. `whole` has all duties, `lacks` what the pack is without."""
    lines = {line.key: line for chapter in whole.chapters for line in chapter.lines}
    made = datetime.fromtimestamp(known.now_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Evidence(
        schema=SCHEMA,
        kind="splice.evidence",
        version=VERSION,
        notice=found.notice,
        made=made,
        by=f"splice {splice.__version__}",
        integration=found.integration,
        purpose=known.manifest.purpose,
        release=found.release,
        release_sha256=found.digest,
        declared_risk=found.declared,
        tier=found.tier,
        because=because_of(found),
        not_answered=found.open,
        law=found.law,
        law_as_of=found.as_of,
        statements=statements_of(found),
        gaps=(*(one.key for one in found.gaps), *lacks),
        frameworks=tuple(mapping_of(one, lines) for one in frameworks()),
    )


def write_pack(
    settings: Settings, stores: Stores, integration: str, folder: Path, *, pdf: bool = True
) -> Packed:
    """Write the pack to a new folder.

    Raises:
        UnknownIntegration: It never had a release.
        SettingsError: The folder holds something already, or an extra is missing.
    """
    if pdf and importlib.util.find_spec("typst") is None:
        raise SettingsError(
            "evidence", got="a PDF, without what sets it",
            mend="install splice-ai[evidence], or leave it out with --no-pdf",
        )  # fmt: skip
    known = known_of(settings, stores, integration, clock())
    law = eu_ai_act()
    found, whole = checklist(known, law), checklist(known, law, all_duties=True)
    files, lacks = EvidenceFolder(folder), list[str]()
    _records(files, stores, known)
    _cards(files, stores, known, found, whole)
    _materials(files, known, lacks)
    made = evidence_of(known, found, whole, lacks)
    files.json(SCHEMA, schema_of_evidence())
    files.json("evidence.json", made)
    listed = tuple((one.path, one.sha256[:16]) for one in files.files)
    report = evidence_report(made, known.now_us, listed)
    files.write("evidence.md", [as_markdown(report)])
    if pdf:
        files.write("evidence.pdf", [_pdf(report)])
    sha256 = files.close(
        kind="splice.evidence", integration=integration, release=known.release.number,
        made=made.made, notice=law.notice,
    )  # fmt: skip
    return Packed(str(folder), sha256, len(files.files), len(found.proven), made.gaps)


def _pdf(report: Report) -> bytes:
    from splice.console.report.pdf import as_pdf  # typst is an optional dependency

    return as_pdf(report)


def _records(files: EvidenceFolder, stores: Stores, known: Known) -> None:
    """What the statements rest on, as the ledger has it; never the texts of calls."""
    files.json("records/release.json", known.release)
    files.json("records/sources.json", stores.releases.bundle(known.manifest.bundle))
    files.lines("records/audit.jsonl", events_of(stores, known.integration))
    for version in known.models:
        files.json(f"records/models/{version.label}.json", version)
        files.lines(f"records/models/{version.label}.audit.jsonl", known.cards.events(version))
        validations = stores.validations.validations(version.name, version.version)
        files.lines(f"records/models/{version.label}.validations.jsonl", validations)
    heads = stores.checkpoints.heads(_before(stores), _HEADS)
    files.write("records/heads.txt", (f"{one.text}\n".encode() for one in heads))
    files.lines("records/findings.jsonl", known.findings)
    files.lines("records/attestations.jsonl", known.attestations)
    files.lines("records/incidents.jsonl", known.incidents)
    files.lines("records/calls-by-day.jsonl", ({"day_s": one.start_s, "calls": one.calls,
                **one.kind._asdict()} for one in known.days))  # fmt: skip


def _before(stores: Stores) -> int:
    """The number of the head before the newest ones."""
    newest = stores.checkpoints.newest_head()
    return 0 if newest is None else max(0, newest.head.number - _HEADS)


def _cards(
    files: EvidenceFolder, stores: Stores, known: Known, found: Checklist, whole: Checklist
) -> None:
    def write(name: str, noun: msgspec.Struct, report: Callable[[], Report]) -> None:
        files.json(f"{name}.json", noun)
        files.write(f"{name}.md", [as_markdown(report())])

    card = integration_card(known, found)
    write("integration-card", card, lambda: integration_card_report(card))
    for version in known.models:
        model = model_card(stores, version, known.now_us)
        write(f"model-cards/{version.label}", model, lambda: model_card_report(model))  # noqa: B023 - called at once
    assessed = fria_of(known, whole, eu_ai_act())
    if any(one.key == "fria" and one.binds for one in found.chapters):
        write("fundamental-rights", assessed, lambda: fria_report(assessed))


def _materials(files: EvidenceFolder, known: Known, lacks: list[str]) -> None:
    """The bills of materials; without their library, the pack says that it lacks them."""
    try:
        from splice.adapters.boms.cyclonedx import KnownModel, model_bom, software_bom
    except ImportError:
        lacks.append("There is no bill of materials: install splice-ai[evidence]")
        return
    files.write("sbom.cdx.json", [software_bom("splice", splice.__version__, known.now_us)])
    models = [
        KnownModel(
            version, known.card(version), known.validation(version),
            tuple(
                sorted(
                    alias
                    for alias, number in known.shelves.models.aliases(version.name).items()
                    if number == version.version
                )
            ),
        )
        for version in known.models
    ]  # fmt: skip
    bom = model_bom(known.integration, known.release.number, models, known.llms, known.now_us)
    files.write("ml-bom.cdx.json", [bom])
