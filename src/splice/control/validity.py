"""Validity: whether the validation of a version holds, until when, and why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

import msgspec

from splice.control.cases import approvals_of, day, registrar_of
from splice.control.fresh import asked_again
from splice.control.validate import VALIDATED, VALIDATED_AGAIN
from splice.core.audit import AuditEvent, first_broken
from splice.core.release import PinnedRoute, Release
from splice.core.validation import Approval, PinnedValidity, Validation
from splice.declare.gates import Gate, ReadGates, gates_for, title
from splice.declare.reading import Declaration
from splice.ports.audit import AuditLog
from splice.ports.validations import ValidationStore

State = Literal["holds", "none", "no consent", "failed", "expired"]
"""`none` passed no validation that counts, `no consent` has none of a second person, `failed` is
one that a validation on fresh calls has ended."""

_PAGE = 1000


class Validity(msgspec.Struct, frozen=True):
    """How a version stands in an integration.

    `base` is the validation that let it in, `latest` the newest on fresh calls; None without one.
    `until_us` is when it ends, or has ended, in Unix microseconds; 0 is never. `why` says why it
    does not hold; empty where it does.
    """

    integration: str
    label: str  # credit@3
    state: State
    terms: PinnedValidity | None
    base: Validation | None = None
    latest: Validation | None = None
    until_us: int = 0
    why: str = ""

    @property
    def failed(self) -> tuple[str, ...]:
        """The gates that the newest validation on fresh calls did not pass."""
        results = () if self.latest is None else self.latest.results
        return tuple(one.gate for one in results if not one.passed)

    @property
    def ended(self) -> str:
        """What is said of it once it has ended."""
        again = f"splice models validate {self.label} --integration {self.integration}"
        return (
            f"the validation of {self.label} for {self.integration} expired {day(self.until_us)}: "
            f"{again}"
        )


class Validities:
    """Reads how versions stand from the ledger.

    Promotion asks for a validation by exactly these gates and sources. Here any passing, approved
    and unexpired validation of these bytes for this integration is enough: a rollback to a version
    that was validated with older sources must work at once. One on fresh calls that was passed
    makes it hold for longer.

    A validation, or a consent, of which the audit log knows nothing does not count: whoever writes
    one into the database must write into the chain of the log, too, where it stays to be seen.

    Args:
        validations: What was found out, and who consented.
        audit: Who registered what, and what was told of validations.
    """

    def __init__(self, validations: ValidationStore, audit: AuditLog) -> None:
        self._validations = validations
        self._audit = audit

    def of(
        self, route: PinnedRoute, release: Release, declaration: Declaration, now_us: int
    ) -> Validity | None:
        """How the version of a route stands; None where no gates are for it.

        Raises:
            StoreError: The ledger cannot be read.
        """
        gates = gates_for(declaration.options.gates, route.model)
        if gates is None or not route.sha256:
            return None
        name, label, terms = release.integration, route.version, gates.validity
        told = _Told(self._audit, label)
        digest = gates.digest(release.manifest.bundle)
        all_of_it = [
            one
            for one in self._validations.validations(route.model, route.model_version)
            if one.integration == name and one.sha256 == route.sha256 and told.validation(one)
        ]
        again = f"splice models validate {label} --integration {name}"
        bases = [
            one for one in all_of_it
            if not one.fresh and one.passed and _covers(one, gates.must, digest)
        ]  # fmt: skip
        if not bases:
            why = f"{label} passed no validation for {name}: {again}"
            return Validity(name, label, "none", terms, why=why)
        if gates.approver:
            bases = [one for one in bases if self._consented(one, told)]
        if not bases:
            approve = f"splice models approve {label} --integration {name}"
            why = f"{label} has no second person's consent for {name}: {approve}"
            return Validity(name, label, "no consent", terms, why=why)
        must = asked_again(gates, declaration)
        again_of_all = [
            one for one in all_of_it
            if one.fresh and (not one.passed or _covers(one, must, digest))
        ]  # fmt: skip
        # A clock that was set back before this process began is not behind what was stored.
        return _standing(bases, again_of_all, gates, max(now_us, *(one.at_us for one in all_of_it)))

    def _consented(self, validation: Validation, told: _Told) -> bool:
        registrar = registrar_of(self._audit, validation.model, validation.version)
        return any(
            one.by != registrar and told.approval(one)
            for one in approvals_of(self._validations, validation)
        )


def _standing(
    bases: list[Validation], again: list[Validation], gates: ReadGates, now_us: int
) -> Validity:
    base = max(bases, key=_end)
    latest = again[0] if again else None  # the newest comes first
    found = Validity(base.integration, f"{base.model}@{base.version}", "holds", gates.validity,
                     base, latest)  # fmt: skip
    renewed = [one for one in again if one.passed]
    until_us = 0 if not base.expires_us else max(one.expires_us for one in (base, *renewed))
    found = msgspec.structs.replace(found, until_us=until_us)
    ends = gates.validity is not None and gates.validity.failed_ends
    if ends and latest is not None and not latest.passed and latest.at_us >= base.at_us:
        failed = ", ".join(found.failed)
        why = f"{found.label} failed for {found.integration} on {latest.data}: {failed}"
        return msgspec.structs.replace(found, state="failed", why=why)
    if 0 < until_us <= now_us:
        return msgspec.structs.replace(found, state="expired", why=found.ended)
    return found


def _end(validation: Validation) -> float:
    return validation.expires_us or float("inf")


def _covers(validation: Validation, must: tuple[Gate, ...], digest: str) -> bool:
    """Whether it has a result of every gate; one with older sources, of any gate at all."""
    named = [one.gate for one in validation.results]
    if validation.gates_sha256 != digest:
        return len(named) > 1
    return all(any(f"{one} ".startswith(f"{title(gate)} ") for one in named) for gate in must)


def unknown_release(release: Release, audit: AuditLog) -> str:
    """Why a release may not be loaded that the audit log does not know; empty where it does.

    Every release that went live is told there with the digest of its manifest. In a ledger of
    before there was that log, or that digest, there is nothing to compare with.

    Raises:
        StoreError: The ledger cannot be read.
    """
    name, any_of_it = release.integration, False
    wrong = ""
    for event in told_of(audit, name):
        if event.subject != name or "release" not in event.details or "before" not in event.details:
            continue
        any_of_it = True
        if event.details["release"] != release.number:
            continue
        digest = _digest_told(event)
        if digest in (None, release.stored):
            return ""
        wrong = f"it was changed in the ledger: {digest[:12]} was applied"
    if not any_of_it:
        return ""
    wrong = wrong or "the audit log knows of no such release"
    return f"release {release.number} of {name} is not loaded: {wrong}. splice audit verify"


def _digest_told(event: AuditEvent) -> str | None:
    """The digest of the manifest that went live; None where the log did not tell it yet."""
    after: Any = event.after
    return cast("dict[str, Any]", after).get("digest") if isinstance(after, dict) else None


def told_of(audit: AuditLog, subject: str) -> Iterator[AuditEvent]:
    """Events of a subject, oldest first. One that was changed by itself says nothing.

    Whether the whole chain holds is for `splice audit verify` to say.
    """
    since = 0
    while True:
        some = audit.events(subject=subject, since=since, limit=_PAGE)
        yield from (one for one in some if first_broken([one], one.previous) is None)
        if len(some) < _PAGE:
            return
        since = some[-1].number


class _Told:
    """What the audit log says of a version, read when it is asked for."""

    def __init__(self, audit: AuditLog, label: str) -> None:
        self._audit = audit
        self._label = label
        self._known: list[AuditEvent] | None = None

    def validation(self, one: Validation) -> bool:
        """Whether a run of gates that found this was told."""
        action = VALIDATED_AGAIN if one.fresh else VALIDATED
        return any(
            event.action == action and event.details.get("validation") == one.digest
            for event in self._events
        )

    def approval(self, one: Approval) -> bool:
        """Whether this consent was told, by the same person."""
        return any(
            event.action == "model.approve" and event.by == one.by
            and event.details.get("validation") == one.validation
            for event in self._events
        )  # fmt: skip

    @property
    def _events(self) -> list[AuditEvent]:
        if self._known is None:
            self._known = list(told_of(self._audit, self._label))
        return self._known
