"""`splice evidence` and `splice cards …`: documents written from what the ledger knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from splice.app.clock import now_us
from splice.app.folders import MANIFEST, SIGNED, broken
from splice.app.incidents import events_of
from splice.app.settings import user_name
from splice.app.signatures import library, public_key_of
from splice.cli.cards import version_of
from splice.cli.common import REFUSED, as_json, out, stores, talk
from splice.cli.moments import WrongOption
from splice.cli.naming import TheOnly
from splice.cli.writing import write_out, write_whole
from splice.core.errors import ModelUnavailable, SettingsError
from splice.core.units import plural
from splice.declare.law import eu_ai_act

app = typer.Typer(no_args_is_help=True)

Form = Literal["md", "html", "json", "pdf"]
Format = Annotated[Form, typer.Option("--format", help="md, html, json or pdf.")]
Out = Annotated[Path | None, typer.Option("--out", help="File; stdout if left out.")]


def evidence(
    name: TheOnly = "",
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="New folder; evidence-NAME-DATE if left out."),
    ] = None,
    pdf: Annotated[bool, typer.Option(help="With the document as PDF.")] = True,
    key: Annotated[
        Path | None,
        typer.Option(help="Private key (PEM) to sign the folder with.", exists=True),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the files of a pack that is there already.")
    ] = False,
) -> None:
    """Build the pack of evidence: documents, records, bills of materials, and their hashes.

    Every statement names what proves it, and every gap is named. It is evidence, not legal advice.
    """
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    folder = folder or Path(f"evidence-{name}-{day}")
    if verify:
        _verify(name, folder)
        return
    try:
        from splice.app.evidencing import write_pack  # optional libraries, that take their time
    except ImportError as error:
        raise SettingsError(
            "evidence", got=str(error), mend="install splice-ai[evidence]"
        ) from error
    with stores() as (settings, opened):
        made = write_pack(settings, opened, name, folder, pdf=pdf)
        if key is not None:
            library().sign(folder, folder / SIGNED, key)
        opened.audit.add_event(
            "evidence.pack", name, by=user_name(), now_us=now_us(),
            details={"manifest_sha256": made.sha256, "signed": key is not None},
        )  # fmt: skip
    out.print(
        f"{made.folder}: {plural(made.files, 'file')}, {made.proven} proven, "
        f"{plural(len(made.gaps), 'gap')}"
    )
    for one in made.gaps:
        out.print(f"  gap  {one}")
    out.print(f"manifest sha256 {made.sha256}")
    talk.print(f"Keep that hash elsewhere: it proves the pack. {eu_ai_act().notice}")


def _verify(name: str, folder: Path) -> None:
    """Hash every file, and look for the manifest's hash in the audit log; check a signature."""
    wrong = broken(folder)
    with stores() as (settings, opened):
        sha256 = "" if wrong else hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        noted = any(
            one.action == "evidence.pack" and one.details.get("manifest_sha256") == sha256
            for one in events_of(opened, name)
        )
        key = public_key_of(settings)
    if not wrong and not noted:
        wrong.append("the audit log of this project has no pack with that manifest")
    if not wrong and key is not None and (folder / SIGNED).exists():
        try:
            library().verify(folder, folder / SIGNED, key)
        except ModelUnavailable as error:
            wrong.append(f"{SIGNED}: {error.got}")
    for one in wrong:
        out.print(one)
    if wrong:
        raise typer.Exit(REFUSED)
    out.print(f"{folder}: every file is as its manifest says")


@app.command()
def model(
    ref: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")],
    form: Format = "md",
    file: Out = None,
) -> None:
    """Write the card of a model version, and name what a person must add."""
    from splice.console.report.cards import model_card_report
    from splice.control.duties.documents import model_card

    with stores() as (_, opened):
        found = model_card(opened, version_of(opened, ref), now_us())
    _write(found, lambda: model_card_report(found), form, file)


@app.command()
def integration(name: TheOnly = "", form: Format = "md", file: Out = None) -> None:
    """Write the card of an integration, and name what a person must add."""
    from splice.app.dutiful import known_of
    from splice.console.report.cards import integration_card_report
    from splice.control.duties.checklist import checklist
    from splice.control.duties.documents import integration_card

    with stores() as (settings, opened):
        known = known_of(settings, opened, name, now_us())
        found = integration_card(known, checklist(known, eu_ai_act()))
    _write(found, lambda: integration_card_report(found), form, file)


@app.command()
def fria(name: TheOnly = "", form: Format = "md", file: Out = None) -> None:
    """Write the assessment of fundamental rights (Art. 27), prefilled from the ledger."""
    from splice.app.dutiful import known_of
    from splice.console.report.cards import fria_report
    from splice.control.duties.checklist import checklist
    from splice.control.duties.documents import fria_of

    with stores() as (settings, opened):
        known = known_of(settings, opened, name, now_us())
        found = fria_of(known, checklist(known, eu_ai_act(), all_duties=True), eu_ai_act())
    _write(found, lambda: fria_report(found), form, file)


def _write(noun: Any, report: Callable[[], Any], form: Form, file: Path | None) -> None:
    if form == "json" and file is None:
        as_json(noun)
        return
    content = _content(noun, report, form)
    if file is not None:
        write_whole(file, [content])
        talk.print(f"{file}")
        return
    if form == "pdf":
        raise WrongOption("--format", got="pdf on stdout", promised="a file", mend="add --out FILE")
    write_out([content])


def _content(noun: Any, report: Callable[[], Any], form: Form) -> bytes:
    import msgspec

    from splice.console.report.markdown import as_markdown

    if form == "json":
        return msgspec.json.format(msgspec.json.encode(noun))
    if form == "md":
        return as_markdown(report())
    try:
        from splice.console.report.html import as_html
        from splice.console.report.pdf import as_pdf
    except ImportError as error:
        raise SettingsError("cards", got=str(error), mend="install splice-ai[report]") from error
    return as_html(report()) if form == "html" else as_pdf(report())
