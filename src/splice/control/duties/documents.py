"""Cards and the assessment of fundamental rights: written from what is known, with named gaps."""

from __future__ import annotations

import msgspec

from splice.control.cards import Cards
from splice.control.duties.about_models import day_of, gaps_of
from splice.control.duties.known import DAY_US, Known, Shelves
from splice.core import tallies
from splice.core.audit import AuditEvent
from splice.core.evidence import Checklist, Line
from splice.core.law import Law
from splice.core.release import ModelVersion, Release
from splice.core.units import plural
from splice.core.validation import Approval, Validation
from splice.core.versions import Card
from splice.ports.reviews import ReviewFilter

ASKED = {
    "owner": "who answers for it",
    "purpose": "what it is for",
    "training_data": "what it was trained on, and where that came from",
    "metrics": "how good it is, in figures",
    "limits": "where it must not be used",
    "assumptions": "what it takes for granted",
}
"""The fields of a card, as a person is asked for them."""


class Missing(msgspec.Struct, frozen=True):
    """What a person must add: what is asked, and the command that adds it."""

    ask: str
    add: str


class ModelCard(msgspec.Struct, frozen=True):
    """All that is known of a model version. Times are Unix microseconds."""

    model: ModelVersion
    card: Card
    tags: dict[str, str]
    aliases: tuple[str, ...]
    validations: tuple[Validation, ...]
    approvals: tuple[Approval, ...]
    answers: tuple[str, ...]  # live releases that run it: "credit-decision release 3"
    events: tuple[AuditEvent, ...]
    missing: tuple[Missing, ...]
    made_us: int


def model_card(shelves: Shelves, version: ModelVersion, now_us: int) -> ModelCard:
    """The card of a version."""
    cards = Cards(shelves.audit)
    card = cards.card(version)
    found = tuple(
        one
        for one in shelves.validations.validations(version.name, version.version)
        if one.sha256 == version.sha256
    )
    aliases = shelves.models.aliases(version.name)
    missing = [
        Missing(ASKED[name], f'splice models card {version.label} --set "{name}=…"')
        for name in gaps_of(card)
    ]
    if not version.lineage.data_sha256:
        missing.append(
            Missing("the hash of its training data", "splice models add … --data FILE, once more")
        )
    if not found:
        missing.append(Missing("a validation", f"splice models validate {version.label}"))
    return ModelCard(
        model=version,
        card=card,
        tags=cards.tags(version),
        aliases=tuple(sorted(one for one, number in aliases.items() if number == version.version)),
        validations=found,
        approvals=tuple(
            one for each in found for one in shelves.validations.approvals(each.digest)
        ),
        answers=tuple(
            f"{release.integration} release {release.number}"
            for release in _live(shelves)
            if _runs(release, version)
        ),
        events=tuple(cards.events(version)),
        missing=tuple(missing),
        made_us=now_us,
    )


def _live(shelves: Shelves) -> list[Release]:
    found = [
        shelves.releases.release(one.integration, one.number) for one in shelves.releases.live()
    ]
    return [one for one in found if one is not None]


def _runs(release: Release, version: ModelVersion) -> bool:
    rollout = release.manifest.rollout
    variants = () if rollout is None else rollout.variants
    routes = (*release.manifest.routes, *(route for one in variants for route in one.routes))
    return any(
        route.model == version.name and route.model_version == version.version for route in routes
    )


class Month(msgspec.Struct, frozen=True):
    """Calls of a month, as 2026-11."""

    month: str
    calls: int


class IntegrationCard(msgspec.Struct, frozen=True):
    """All that is known of an integration."""

    release: Release
    live: bool
    stopped: str
    tier: str
    models: tuple[ModelVersion, ...]
    months: tuple[Month, ...]
    statements: tuple[Line, ...]
    missing: tuple[Missing, ...]
    made_us: int


def integration_card(known: Known, found: Checklist) -> IntegrationCard:
    """The card of an integration, by its checklist."""
    missing = [Missing(one.ask or one.text, one.todo) for one in found.gaps]
    for version in known.models:
        missing += [
            Missing(
                f"of {version.label}: {ASKED[name]}",
                f'splice models card {version.label} --set "{name}=…"',
            )
            for name in gaps_of(known.card(version))
        ]
    if known.manifest.assessment is None:
        missing.append(
            Missing(
                "the answers of the risk questionnaire", f"splice risk {known.integration} --ask"
            )
        )
    if not known.manifest.objective:
        missing.append(Missing("the figure that it must move", "declare splice.Objective"))
    live = known.live
    return IntegrationCard(
        release=known.release,
        live=live is not None,
        stopped="" if live is None else live.stopped,
        tier=found.tier,
        models=known.models,
        months=months_of(known),
        statements=found.lines,
        missing=tuple(missing),
        made_us=known.now_us,
    )


def months_of(known: Known) -> tuple[Month, ...]:
    """Calls of the last year by month."""
    counted: dict[str, int] = {}
    for one in known.days:
        month = day_of(one.start_s * 1_000_000)[:7]
        counted[month] = counted.get(month, 0) + one.calls
    return tuple(Month(month, calls) for month, calls in counted.items())


class Segment(msgspec.Struct, frozen=True):
    """Answered calls of one group that the declaration tells apart, within the last year."""

    segment: str
    calls: int


class Element(msgspec.Struct, frozen=True):
    """One element of Art. 27(1): what the ledger knows of it, and what a person said or must say.

    `missing` is what a person is asked for; empty where nothing is missing.
    """

    point: str
    title: str
    known: tuple[str, ...]
    said: str
    by: str
    missing: str
    add: str


class Fria(msgspec.Struct, frozen=True):
    """A fundamental rights impact assessment, prefilled. `due` says whether Art. 27 asks for it."""

    integration: str
    release: int
    due: bool
    elements: tuple[Element, ...]
    segments: tuple[Segment, ...]
    notice: str
    made_us: int


def fria_of(known: Known, found: Checklist, law: Law) -> Fria:
    """The assessment as far as the ledger can write it."""
    lines = {line.key: line for chapter in found.chapters for line in chapter.lines}
    duty = next(one for one in law.duties if one.fria)
    prefilled = _prefilled(known)
    return Fria(
        integration=known.integration,
        release=known.release.number,
        due=any(one.key == duty.key and one.binds for one in found.chapters),
        elements=tuple(
            _element(lines[item.key], item.text, prefilled.get(item.key, ())) for item in duty.items
        ),
        segments=_segments(known),
        notice=law.notice,
        made_us=known.now_us,
    )


def _element(line: Line, title: str, known: tuple[str, ...]) -> Element:
    attested = next((one for one in line.proofs if one.kind == "attestation"), None)
    is_gap = line.state == "gap"
    said = line.said if not is_gap else ""
    by = attested.name.partition(":")[0] if attested is not None and not is_gap else ""
    missing = (line.ask or line.said) if is_gap else ""
    return Element(line.point, title, known, said, by, missing, line.todo)


def _prefilled(known: Known) -> dict[str, tuple[str, ...]]:
    manifest, said = known.manifest, known.said
    deciders = {
        "person": "a person weighs the prediction with other things and decides",
        "assisted": "a person decides, and mostly follows the prediction",
        "automatic": "the system decides alone",
    }
    process = [f"Its purpose, as declared: {manifest.purpose}"]
    if said.decides:
        process.append(f"Who decides: {deciders[said.decides]}")
    months = months_of(known)
    period = [f"{one.month}: {plural(one.calls, 'call')}" for one in months]
    people = [f"As declared: {said.affected}"] if said.affected else []
    people += [
        f"{one.segment}: {plural(one.calls, 'call')} in the last year" for one in _segments(known)
    ]
    return {
        "fria.process": tuple(process),
        "fria.period": tuple(period),
        "fria.people": tuple(people),
        "fria.harm": _known_harm(known),
        "fria.oversight": _oversight(known),
        "fria.measures": _measures(known),
    }


def _known_harm(known: Known) -> tuple[str, ...]:
    told = [
        f"{version.label} must not be used: {limit}"
        for version in known.models
        for limit in known.card(version).limits
    ]
    told += [
        f"Gate {result.gate} of {result.slice}: {result.detail}"
        for version in known.models
        if (found := known.validation(version)) is not None
        for result in found.results
        if result.slice
    ][:20]
    told += [f"Incident of {day_of(one.aware_us)}: {one.what}" for one in known.incidents]
    return tuple(told)


def _oversight(known: Known) -> tuple[str, ...]:
    wanted = ReviewFilter(
        integrations=(known.integration,), since_us=known.now_us - 365 * DAY_US, limit=500
    )
    found = known.shelves.reviews.reviews(wanted)
    decided = [one.verdict for one in found if one.verdict is not None]
    overridden = sum(1 for one in decided if one.choice == "override")
    told = [
        (
            f"{plural(len(found), 'review')} in the last year, {len(decided)} decided, "
            f"{overridden} overridden"
        )
    ]
    stop = known.changes.stop
    if stop is not None:
        told.append(f"Last switched off on {day_of(stop.at_us)}: {stop.why}")
    return tuple(told)


def _measures(known: Known) -> tuple[str, ...]:
    told = [f"Monitor {one.name}: then {', '.join(one.then)}" for one in known.manifest.monitors]
    told += [f"Policy {one.name}: {one.then}" for one in known.manifest.policies]
    if len(known.manifest.routes) > 1:
        told.append("Where a route fails: " + " then ".join(r.label for r in known.manifest.routes))
    return tuple(told)


def _segments(known: Known) -> tuple[Segment, ...]:
    """Answered calls by the groups that the truth's quality is told apart by."""
    if not known.manifest.truths:
        return ()
    of = (known.integration, known.manifest.truths[0].outcome)
    end_s = known.now_us // 1_000_000 + 86_400
    counted: dict[str, int] = {}
    for one in known.shelves.labels.tallied(of, end_s - 366 * 86_400, end_s, None):
        if one.key.segment:
            calls = counted.get(one.key.segment, 0) + tallies.read(one.asked).count
            counted[one.key.segment] = calls
    most = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    return tuple(Segment(name, calls) for name, calls in most if calls)[:50]
