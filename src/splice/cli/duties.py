"""`splice risk` and `splice duties`: the questionnaire, and the checklist that follows from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from splice.app import wiring
from splice.app.clock import Ids, now_us
from splice.app.dutiful import known_of
from splice.app.settings import user_name
from splice.cli.asking import asked, declaration_text
from splice.cli.common import DONE, REFUSED, as_json, mistakes, out, stores, talk
from splice.cli.moments import WrongOption
from splice.cli.naming import TheOnly, the_only
from splice.control.duties.checklist import checklist
from splice.core.duties import Attestation, PinnedAssessment
from splice.core.errors import UnknownIntegration
from splice.core.evidence import Chapter, Checklist, Line
from splice.core.law import Law
from splice.core.tiers import Estimate, estimate
from splice.core.units import plural, seconds
from splice.declare.assessment import assessment_text
from splice.declare.discover import find
from splice.declare.law import eu_ai_act

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_LONGEST_S = 3 * 366 * 86_400


def risk(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the integration; the only one of the project if left out.",
            show_default=False,
        ),
    ] = "",
    questions: Annotated[
        bool, typer.Option("--questions", help="Print the questions, and the keys that answer.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask them here, and print what to declare.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell which tier of the EU AI Act the declared answers come to, and why."""
    law = eu_ai_act()
    if questions:
        _print_questions(law)
        return
    if ask:
        said = asked(law)
        found = estimate(said, law)
        _print_estimate(name or "these answers", found, law)
        out.print("\nDeclare it:\n")
        out.print(declaration_text(said))
        return
    name = the_only(name, ", or --questions, or --ask")
    said, declared = _declared(name)
    found = estimate(said, law)
    if json:
        plain = {"integration": name, "risk": declared, "answers": said, "estimate": found}
        as_json(plain | {"law": _law_plain(law)})
    else:
        unsaid = said == PinnedAssessment()
        answers = "no answers: splice risk --ask" if unsaid else assessment_text(said)
        _print_estimate(name, found, law, f"risk {declared}; {answers}")


def _declared(name: str) -> tuple[PinnedAssessment, str]:
    """The answers of the declaration, and its risk; of the live release where it is elsewhere."""
    with stores() as (settings, opened):
        root, modules = wiring.modules_of(settings)
        found, wrong = find(root, modules)
        for one in found:
            if one.declaration.name == name:
                given = one.declaration
                return given.options.assessment or PinnedAssessment(), given.risk
        for live in opened.releases.live():
            release = opened.releases.release(live.integration, live.number)
            if live.integration == name and release is not None and not wrong:
                return release.manifest.assessment or PinnedAssessment(), release.manifest.risk
    if wrong:
        mistakes(wrong, root)
        raise typer.Exit(REFUSED)
    raise UnknownIntegration(name[:80], got="no declaration of that name")


def _print_questions(law: Law) -> None:
    for question in law.questions:
        only = f" (only with {question.only})" if question.only else ""
        out.print(f"{question.field}: {question.ask}{only}")
        for key in question.keys:
            out.print(f"  {key}")
        for entry in law.table(question.table) if question.table else ():
            out.print(f"  {entry.key:<24}{entry.point:<22}{entry.text}")
    talk.print(law.notice)


def _print_estimate(name: str, found: Estimate, law: Law, declared: str = "") -> None:
    out.print(f"{name}: {found.tier}")
    if declared:
        out.print(f"  declared: {declared}")
    for ground in found.grounds:
        since = "" if ground.date is None else f"  from {ground.date.day}"
        out.print(f"  {ground.tier:<11}{ground.point}: {ground.text}{since}")
        if ground.date is not None:
            out.print(f"             {law.sources[ground.date.source]}, {ground.date.point}")
    if found.fria:
        out.print("  A deployer must assess the impact on fundamental rights (Art. 27).")
    if found.open:
        out.print(f"  not answered: {', '.join(found.open)}: the tier may be worse")
    talk.print(f"{law.name}, {law.amended}, as of {law.as_of}. {law.notice}")


def _law_plain(law: Law) -> dict[str, object]:
    return {"act": law.act, "amended": law.amended, "as_of": law.as_of, "notice": law.notice,
            "sources": law.sources}  # fmt: skip


def duties(
    name: TheOnly = "",
    all_: Annotated[bool, typer.Option("--all", help="Also duties that do not bind it.")] = False,
    attest: Annotated[
        str, typer.Option(help="Key of an item that a person must attest, as risk.residual.")
    ] = "",
    text: Annotated[str, typer.Option(help="What is attested, with --attest.")] = "",
    valid: Annotated[
        str, typer.Option(help='How long it holds ("180 d"); as the item says if left out.')
    ] = "",
    withdraw: Annotated[str, typer.Option(help="Id of an attestation to take back.")] = "",
    why: Annotated[str, typer.Option(help="Reason, kept with it.")] = "",
    json: Json = False,
) -> None:
    """Show the duties of an integration: what is proven, by what, and what is missing.

    Nothing is ticked by hand. What no record can show is attested by a person, and expires.
    Exit code 1 where there are gaps.
    """
    law, now = eu_ai_act(), now_us()
    with stores() as (settings, opened):
        known = known_of(settings, opened, name, now)
        if attest:
            opened.duties.attest(_attestation(law, name, attest, (text, valid), now))
        if withdraw:
            opened.duties.withdraw(withdraw, by=user_name(), why=why, now_us=now)
        found = checklist(known, law, all_duties=all_)
        said = opened.duties.attestations(name)
    if json:
        as_json({"checklist": found, "attestations": said})
    else:
        _print_checklist(found)
    raise typer.Exit(REFUSED if found.gaps else DONE)


def _attestation(law: Law, name: str, key: str, said: tuple[str, str], now: int) -> Attestation:
    item, (text, valid) = law.item(key), said
    if item is None or not item.attest:
        keys = [one.key for duty in law.duties for one in duty.items if one.attest]
        got = "an item that records show, and no person" if item else "no such item"
        raise WrongOption("--attest", got=got, promised=f"one of {', '.join(keys)}")
    if not text.strip():
        raise WrongOption("--text", got="nothing", promised=f"an answer: {item.attest}")
    holds_s = seconds(valid, "--valid") if valid else item.days * 86_400.0
    if holds_s > _LONGEST_S:
        raise WrongOption("--valid", got=valid, promised="three years at most")
    expires = now + round(holds_s * 1e6)
    return Attestation(Ids().new(), name, key, text.strip(), user_name(), now, expires)


def _print_checklist(found: Checklist) -> None:
    tier = found.tier or "not assessed: declare splice.Assessment"
    out.print(f"{found.integration}, release {found.release}: {tier} (declared: {found.declared})")
    for ground in found.grounds:
        out.print(f"  {ground.point}: {ground.text}")
    if found.open:
        out.print(f"  not answered: {', '.join(found.open)}")
    for chapter in found.chapters:
        _print_chapter(chapter)
    if not found.chapters:
        out.print("No duty follows from the answers; --all shows what would be looked at.")
    proven, wanted = len(found.proven), len(found.proven) + len(found.gaps)
    made = datetime.fromtimestamp(found.made_us / 1e6, UTC).isoformat()[:16]
    out.print(f"\n{proven} of {wanted} proven, {plural(len(found.gaps), 'gap')}, {made} UTC")
    talk.print(f"{found.law}, as of {found.as_of}. {found.notice}")


def _print_chapter(chapter: Chapter) -> None:
    out.print(f"\n{chapter.article}  {chapter.title}{'' if chapter.binds else '  (does not bind)'}")
    for line in chapter.lines:
        _print_line(line)


def _print_line(line: Line) -> None:
    mark = {"done": "[x]", "gap": "[ ]", "none": " - "}[line.state]
    since = f"  (from {line.day})" if line.day else ""
    out.print(f"  {mark} {line.key}  {line.point}: {line.text}{since}")
    out.print(f"      {line.said}")
    for proof in line.proofs[:3]:
        digest = f" {proof.digest[:12]}" if proof.digest else ""
        out.print(f"      = {proof.kind} {proof.name}{digest}")
    if line.todo:
        out.print(f"      > {line.todo}")
