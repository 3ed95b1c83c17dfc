"""Queries about models and how they were made: Art. 9 to 11, 13 and 15."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from splice.control.duties.known import Known
from splice.core.evidence import Answer, Proof, done, gap, none
from splice.core.release import ModelVersion
from splice.core.units import plural
from splice.core.validation import Validation
from splice.core.versions import Card

_CARD_FIELDS = ("owner", "purpose", "training_data", "metrics", "limits", "assumptions")


def no_models(known: Known) -> Answer | None:
    """What is said where no registered model answers; None where one does."""
    if known.models:
        return None
    if known.llms:
        named = ", ".join(one.version for one in known.llms)
        return gap(
            f"It answers by {named}, of which the ledger holds no file and no card",
            "keep the provider's own documentation, and attest what it says",
            known.release_proof(),
        )
    return none("No model answers: rules do, whose source the release pins", known.release_proof())


def _each(known: Known, good: Callable[[ModelVersion], str | None], todo: str) -> Answer:
    """Done where every model has something to say; `good` gives None where it has not."""
    said: list[str] = []
    missing: list[ModelVersion] = []
    for version in known.models:
        words = good(version)
        if words is None:
            missing.append(version)
        else:
            said.append(f"{version.label}: {words}" if words else version.label)
    proofs = tuple(known.model_proof(one) for one in known.models)
    if missing:
        names = ", ".join(one.label for one in missing)
        return gap(f"Not so of {names}", todo.replace("MODEL", missing[0].label), *proofs)
    return done("; ".join(said), *proofs)


def card_limits(known: Known) -> Answer:
    """Whether each card says limits and assumptions."""

    def good(version: ModelVersion) -> str | None:
        card = known.card(version)
        if not card.limits:
            return None
        return f"{plural(len(card.limits), 'limit')}, {plural(len(card.assumptions), 'assumption')}"

    return no_models(known) or _each(
        known, good, 'splice models card MODEL --set "limits=…" --set "assumptions=…"'
    )


def cards_complete(known: Known) -> Answer:
    """Whether each card has all fields."""

    def good(version: ModelVersion) -> str | None:
        return None if gaps_of(known.card(version)) else "no field is empty"

    missing = {
        version.label: gaps_of(known.card(version))
        for version in known.models
        if gaps_of(known.card(version))
    }
    answer = no_models(known) or _each(known, good, "")
    if not missing:
        return answer
    said = "; ".join(
        f"{label} says nothing of {', '.join(gone)}" for label, gone in missing.items()
    )
    label, gone = next(iter(missing.items()))
    todo = " ".join(f'--set "{name}=…"' for name in gone)
    return gap(said, f"splice models card {label} {todo}", *answer.proofs)


def gaps_of(card: Card) -> tuple[str, ...]:
    """The fields of a card that are empty."""
    return tuple(name for name in _CARD_FIELDS if not getattr(card, name))


def card_figures(known: Known) -> Answer:
    """Whether accuracy is told in figures: on the card, or by the gates."""

    def good(version: ModelVersion) -> str | None:
        card, found = known.card(version), known.validation(version)
        told = [f"{name} {value:g}" for name, value in card.metrics.items()]
        told += [
            f"{one.gate} {one.measured:g}"
            for one in (() if found is None else found.results)
            if one.measured is not None
        ][:5]
        return ", ".join(told) or None

    return no_models(known) or _each(known, good, 'splice models card MODEL --set "metrics.auc=…"')


def training_data(known: Known) -> Answer:
    """Whether the data of each model is named, with a hash."""

    def good(version: ModelVersion) -> str | None:
        lineage = version.lineage
        if not lineage.data_sha256:
            return None
        return f"{lineage.data or 'data'} of sha256 {lineage.data_sha256[:12]}"

    return no_models(known) or _each(
        known, good, "register MODEL with its lineage: splice models add --data FILE"
    )


def _validated(known: Known) -> list[tuple[ModelVersion, Validation]]:
    return [
        (version, found) for version in known.models for found in known.newest_validations(version)
    ]


def _without(known: Known, wanted: str) -> Answer | None:
    """A gap where a model has no validation."""
    if (answer := no_models(known)) is not None:
        return answer
    missing = [version for version in known.models if known.validation(version) is None]
    if not missing:
        return None
    return gap(
        f"{', '.join(one.label for one in missing)} was never validated for this integration",
        f"declare gates{wanted}, then splice models validate {missing[0].label}",
        *(known.model_proof(one) for one in missing),
    )


def _proofs(known: Known) -> tuple[Proof, ...]:
    return tuple(known.validation_proof(found) for _, found in _validated(known))


def gates_passed(known: Known) -> Answer:
    """Whether each model passed its gates: on its data set, and on fresh calls if tried there."""
    if (answer := _without(known, "")) is not None:
        return answer
    failed = [
        f"{version.label}: {result.gate} ({result.detail})"
        for version, found in _validated(known)
        for result in found.results
        if not result.passed
    ]
    if failed:
        return gap("; ".join(failed)[:500], "train a version that passes", *_proofs(known))
    said = "; ".join(
        f"{version.label} passed {plural(len(found.results), 'gate')} on {found.rows} "
        f"{'fresh calls' if found.fresh else 'rows'}"
        for version, found in _validated(known)
    )
    return done(said, *_proofs(known))


def validations_current(known: Known) -> Answer:
    """Whether each model passed its gates, by a validation that has not expired."""
    if (answer := gates_passed(known)).state != "done":
        return answer
    late: dict[str, str] = {}
    for version in known.models:
        ends = [one.expires_us for one in known.validations(version) if one.passed]
        if all(0 < end <= known.now_us for end in ends):
            late[version.label] = day_of(max(ends))
    if late:
        said = ", ".join(f"{label} since {day}" for label, day in late.items())
        todo = f"splice models validate {next(iter(late))}"
        return gap(f"Expired: {said}", todo, *_proofs(known))
    return answer


def test_data(known: Known) -> Answer:
    """Whether the data that gates measure on is pinned."""
    if (answer := no_models(known)) is not None:
        return answer
    gates = known.manifest.gates
    if not gates:
        return _without(known, " on a data set") or done(
            "; ".join(
                f"{found.data} of sha256 {found.data_sha256[:12]}, {plural(found.rows, 'row')}"
                for _, found in _validated(known)
            ),
            *_proofs(known),
        )
    said = "; ".join(
        f"{one.data} of sha256 {one.data_sha256[:12]}, {plural(one.rows, 'row')}" for one in gates
    )
    return done(said, known.release_proof())


def slices_tested(known: Known) -> Answer:
    """Whether gates judged groups one by one."""
    if (answer := _without(known, " with splice.Slices")) is not None:
        return answer
    groups = {
        result.slice for _, found in _validated(known) for result in found.results if result.slice
    }
    if not groups:
        return gap(
            "No gate judges groups of people", "declare splice.Slices in gates", *_proofs(known)
        )
    return done(f"Groups judged: {', '.join(sorted(groups)[:12])}", *_proofs(known))


def robust_tested(known: Known) -> Answer:
    """Whether gates tried values that are missing, unknown or shifted."""
    if (answer := _without(known, " with splice.Robust")) is not None:
        return answer
    tried = [
        result.gate
        for _, found in _validated(known)
        for result in found.results
        if result.gate.lower().startswith("robust")
    ]
    if not tried:
        return gap("No gate tries bad values", "declare splice.Robust in gates", *_proofs(known))
    return done(f"Tried: {', '.join(tried[:8])}", *_proofs(known))


def models_signed(known: Known) -> Answer:
    """Whether each model's file has a signature that holds."""
    if (answer := no_models(known)) is not None:
        return answer
    check = known.terms.signed
    if check is None:
        return _said_to_be_signed(known)
    wrong = {version.label: why for version in known.models if (why := check(version))}
    if wrong:
        said = "; ".join(f"{label}: {why}" for label, why in wrong.items())
        return gap(said, f"splice models sign {next(iter(wrong))} --key FILE")
    return done(
        f"{plural(len(known.models), 'signature holds', 'signatures hold')}",
        *(known.model_proof(one) for one in known.models),
    )


def _said_to_be_signed(known: Known) -> Answer:
    """By the audit log, where nobody checks the signatures themselves."""
    signed = {
        version.label: event
        for version in known.models
        for event in known.cards.events(version)
        if event.action == "model.sign"
    }
    missing = [one.label for one in known.models if one.label not in signed]
    if missing:
        return gap(
            f"{', '.join(missing)} was never signed", f"splice models sign {missing[0]} --key FILE"
        )
    return done(
        "Signed by " + ", ".join(sorted({one.by for one in signed.values()}))
        + "; splice models verify checks the signatures",
        *(known.event_proof(one) for one in signed.values()),
    )  # fmt: skip


def described(known: Known) -> Answer:
    """Purpose, version, types."""
    manifest = known.manifest
    if not manifest.purpose:
        return gap("It has no purpose", "write the docstring of the class", known.release_proof())
    return done(f"Release {known.release.number}: {manifest.purpose}", known.release_proof())


def interface_described(known: Known) -> Answer:
    """The types of request and reply."""
    return done(
        "Request and reply have JSON Schemas, which the release pins and /openapi.json shows",
        known.release_proof(),
    )


def pinned(known: Known) -> Answer:
    """What runs, by hash."""
    routes = ", ".join(route.version for route in known.routes)
    return done(
        f"Sources of sha256 {known.manifest.bundle[:12]}; routes {routes}",
        known.release_proof(), *(known.model_proof(one) for one in known.models),
    )  # fmt: skip


def changes_recorded(known: Known) -> Answer:
    """The history."""
    releases = known.shelves.releases.releases(known.integration)
    changes = known.changes
    last = tuple(known.event_proof(one) for one in changes.newest)
    return done(
        f"{plural(len(releases), 'release')} and {plural(changes.count, 'control action')}, "
        "each with who and when",
        known.release_proof(), *last,
    )  # fmt: skip


def day_of(at_us: int) -> str:
    """The day of a moment in UTC, as 2026-11-28."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).date().isoformat()
