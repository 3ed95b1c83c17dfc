"""The checklist of an integration's duties: each item a query, or what a person attested."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from splice.control.duties import about_models, about_use
from splice.control.duties.known import Known, attestation_proof
from splice.core.evidence import Answer, Chapter, Checklist, Line, done, gap
from splice.core.law import Duty, DutyItem, Law
from splice.core.tiers import Estimate, applies, due, estimate, item_due

Query = Callable[[Known], Answer]


def query_of(name: str) -> Query:
    """The query that the table of the law calls by this name."""
    for module in (about_models, about_use):
        if hasattr(module, name):
            return cast("Query", getattr(module, name))
    raise LookupError(name)


def checklist(known: Known, law: Law, *, all_duties: bool = False) -> Checklist:
    """The duties that the answers bring about; with `all_duties` the others, too, told apart."""
    said = known.said
    found = estimate(said, law)
    made: dict[str, Answer] = {}
    chapters: list[Chapter] = []
    for duty in law.duties:
        binds = due(duty, found, said)
        if not binds and not all_duties:
            continue
        lines = tuple(
            _line(known, duty, item, (found, law), made)
            for item in duty.items
            if all_duties or item_due(item, said)
        )
        chapters.append(Chapter(duty.key, duty.article, duty.title, binds, lines))
    manifest = known.manifest
    return Checklist(
        integration=known.integration,
        release=known.release.number,
        digest=manifest.digest,
        declared=manifest.risk,
        tier="" if manifest.assessment is None else str(found.tier),
        grounds=found.grounds,
        open=found.open,
        chapters=tuple(chapters),
        made_us=known.now_us,
        law=f"{law.name}, {law.act}, {law.amended}",
        as_of=law.as_of,
        notice=law.notice,
    )


def _line(
    known: Known, duty: Duty, item: DutyItem, by: tuple[Estimate, Law], made: dict[str, Answer]
) -> Line:
    found, law = by
    if item.evidence:
        if item.evidence not in made:
            made[item.evidence] = query_of(item.evidence)(known)
        answer = made[item.evidence]
    else:
        answer = attested(known, item)
    date = applies(duty, item, found, law)
    return Line(
        key=item.key,
        point=item.point,
        text=item.text,
        state=answer.state,
        said=answer.said,
        proofs=answer.proofs,
        todo=answer.todo,
        by_person=bool(item.attest),
        ask=item.attest,
        day="" if date is None else date.day,
        source="" if date is None else law.sources[date.source],
    )


def attested(known: Known, item: DutyItem) -> Answer:
    """What a person attested of an item; a gap where nobody did, or it ran out."""
    of_item = [one for one in known.attestations if one.duty == item.key]
    held = next((one for one in of_item if one.holds(known.now_us)), None)
    if held is not None:
        until = about_models.day_of(held.expires_us)
        return done(f"{held.by}: {held.text} (holds until {until})", attestation_proof(held))
    todo = f'splice duties {known.integration} --attest {item.key} --text "…"'
    asked = f"A person must say: {item.attest}"
    if of_item:
        last = of_item[0]
        why = "was taken back" if last.withdrawn_us else "has run out"
        return gap(f"What {last.by} attested {why}. {asked}", todo, attestation_proof(last))
    return gap(asked, todo)
