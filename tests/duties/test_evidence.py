"""The pack of evidence: every statement proven or named as a gap, every file by its hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pypdf
import pytest
from duties_house import NAME, Command, calls, opened, validation_of, write_keys, write_project

from splice.adapters.boms import cyclonedx
from splice.control.duties.checklist import query_of
from splice.declare.law import eu_ai_act


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pack of this module lies."""
    return tmp_path_factory.mktemp("pack") / "evidence"


@pytest.fixture
def pack(command: Command, kept: Path) -> Path:
    """A pack of an integration with a validated model and calls; built once."""
    if kept.exists():
        return kept
    write_project(command.folder)
    assert command("release", "apply", "--yes").code == 0
    with opened(command.folder) as stores:
        version = stores.models.resolve("credit", "1")
        assert version is not None
        stores.validations.add_validation(validation_of(version))
        stores.records.append(calls(9))
    command("duties", NAME, "--attest", "risk.residual", "--text", "Late payers | <b>few</b>")
    made = command("evidence", NAME, "--out", str(kept))
    assert made.code == 0, made.err
    assert "not legal advice" in made.err
    return kept


def read(pack: Path, name: str) -> Any:
    return json.loads((pack / name).read_bytes())


def test_the_evidence_is_of_its_own_schema(pack: Path) -> None:
    jsonschema.Draft202012Validator(read(pack, "evidence.schema.json")).validate(
        read(pack, "evidence.json")
    )


def test_every_statement_is_proven_or_a_named_gap(pack: Path) -> None:
    found = read(pack, "evidence.json")
    statements = {one["id"]: one for one in found["statements"]}

    assert "not legal advice" in found["notice"]
    assert found["tier"] == "high"
    assert found["gaps"] == [key for key, one in statements.items() if one["state"] == "gap"]
    for key, one in statements.items():
        assert one["todo"] if one["state"] == "gap" else one["proofs"] or key.startswith("inc"), key
        assert one["binds_from"] == "2027-12-02"
    assert statements["risk.residual"]["by_person"] is True


def test_what_proves_a_statement_is_in_the_pack_with_that_digest(pack: Path) -> None:
    found = read(pack, "evidence.json")
    release = read(pack, "records/release.json")
    validations = (pack / "records/models/credit@1.validations.jsonl").read_text("utf-8")
    proofs = {
        (proof["kind"], proof["digest"]) for one in found["statements"] for proof in one["proofs"]
    }
    canonical = json.dumps(release["manifest"], sort_keys=True, separators=(",", ":"))

    assert ("release", found["release_sha256"]) in proofs
    assert json.loads(canonical)["integration"] == NAME
    assert ("model", json.loads(validations)["sha256"]) in proofs
    event = json.loads((pack / "records/audit.jsonl").read_text("utf-8").splitlines()[0])
    assert any(kind == "event" and digest for kind, digest in proofs)
    assert len(event["sha256"]) == 64


def test_the_same_evidence_is_mapped_to_three_other_frameworks(pack: Path) -> None:
    frames = {one["key"]: one for one in read(pack, "evidence.json")["frameworks"]}

    assert set(frames) == {"nist_ai_rmf", "iso_42001", "sr_26_2"}
    nist = {one["id"]: one for one in frames["nist_ai_rmf"]["controls"]}
    iso = {one["id"]: one for one in frames["iso_42001"]["controls"]}
    assert iso["A.2.2"]["state"] == "organisation"
    assert nist["MEASURE 1"]["state"] == "partly"
    assert "generative" in frames["sr_26_2"]["scope"]
    assert "certificate" in frames["iso_42001"]["scope"]


def test_every_file_is_in_the_manifest(pack: Path) -> None:
    manifest = read(pack, "manifest.json")

    listed = {one["path"]: one["sha256"] for one in manifest["files"]}
    there = {str(one.relative_to(pack)) for one in pack.rglob("*") if one.is_file()}
    assert set(listed) == there - {"manifest.json"}
    for path, sha256 in listed.items():
        assert hashlib.sha256((pack / path).read_bytes()).hexdigest() == sha256


def test_a_changed_pack_is_named_whatever_was_changed(command: Command) -> None:
    write_project(command.folder, more='\n[models]\npublic_key = "key.pub"\n')
    write_keys(command.folder)
    command("release", "apply", "--yes")
    build = ("evidence", NAME, "--out", "made")
    assert command(*build, "--no-pdf", "--key", "key.pem").code == 0
    folder = command.folder / "made"

    def verified() -> str:
        said = command(*build, "--verify")
        return "" if said.code == 0 else said.out

    assert verified() == ""
    file = folder / "evidence.json"
    before = file.read_bytes()
    file.write_bytes(before.replace(b"high", b"low!"))
    assert "evidence.json: changed" in verified()
    file.write_bytes(before)
    (folder / "manifest.sig").write_bytes(b"{}")
    assert "manifest.sig: a signature that does not hold" in verified()
    (folder / "manifest.sig").unlink()
    manifest = folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert "the audit log of this project has no pack" in verified()


def test_a_pack_is_never_written_over_another(pack: Path, command: Command) -> None:
    write_project(command.folder)
    command("release", "apply", "--yes")

    said = command("evidence", NAME, "--out", str(pack), "--no-pdf")

    assert said.code == 2
    assert "not empty" in said.err


def test_the_document_can_be_read_and_names_the_gaps(pack: Path) -> None:
    document = pypdf.PdfReader(pack / "evidence.pdf")
    text = "\n".join(page.extract_text() for page in document.pages)
    flat = " ".join(text.split())

    for part in ("credit-decision: evidence", "Risk tier", "Annex III 5(b)",
                 "Art. 12 Record keeping", "NIST AI RMF 1.0", "ISO/IEC 42001:2023",
                 "SR 26-2", "not legal advice",
                 "The standards that were applied are listed"):  # fmt: skip
        assert part in flat, part
    markdown = (pack / "evidence.md").read_text("utf-8")
    assert "Late payers \\| \\<b\\>few" in markdown


def test_the_bills_of_materials_hold_to_the_schema_of_cyclonedx(pack: Path) -> None:
    software, models = (
        (pack / "sbom.cdx.json").read_bytes(),
        (pack / "ml-bom.cdx.json").read_bytes(),
    )

    assert cyclonedx.problems(software) == ""
    assert cyclonedx.problems(models) == ""
    names = {one["name"] for one in json.loads(software)["components"]}
    assert {"msgspec", "SQLAlchemy"} <= names
    (model,) = json.loads(models)["components"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"][0]["content"] == read(pack, "records/models/credit@1.json")["sha256"]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0]["confidenceInterval"] == {"lowerBound": "0.78", "upperBound": "0.84"}


def test_a_bill_that_does_not_hold_is_told() -> None:
    assert "unexpected" in cyclonedx.problems(
        b'{"bomFormat":"CycloneDX","specVersion":"1.6","bogus":1}'
    )


def test_no_text_of_a_call_is_in_a_pack(pack: Path) -> None:
    for file in pack.rglob("*"):
        if file.is_file() and file.suffix != ".pdf":
            assert b"person 3" not in file.read_bytes(), file


def test_each_item_has_a_query_or_a_question() -> None:
    for duty in eu_ai_act().duties:
        for item in duty.items:
            assert bool(item.evidence) != bool(item.attest), item.key
            assert item.days or not item.attest, item.key
            if item.evidence:
                assert callable(query_of(item.evidence))
