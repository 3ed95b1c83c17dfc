"""Permits: where risk is high, what runs has passed its gates, whoever wrote the release."""

from __future__ import annotations

from collections.abc import Callable

from splice.control.cases import approvals_of, day, registrar_of
from splice.core.release import PinnedRoute, Release
from splice.core.validation import Permit, Validation
from splice.declare.gates import ReadGates, gates_for, title
from splice.declare.reading import Declaration
from splice.declare.spec import Risk
from splice.ports.audit import AuditLog
from splice.ports.validations import ValidationStore


class Permits:
    """Whether a release may run a version: asked when it is loaded, and when a permit ends.

    Promotion asks for a validation by exactly these gates and sources. Here any passing, approved
    and unexpired validation of these bytes for this integration is enough: a rollback to a version
    that was validated with older sources must work at once.

    Args:
        validations: What was found out, and who consented.
        audit: Who registered what.
        now_us: Unix time in microseconds.
    """

    def __init__(
        self, validations: ValidationStore, audit: AuditLog, now_us: Callable[[], int]
    ) -> None:
        self._validations = validations
        self._audit = audit
        self._now_us = now_us

    def __call__(self, route: PinnedRoute, release: Release, declaration: Declaration) -> Permit:
        """Why the version may not run; empty where it may.

        Raises:
            StoreError: The ledger cannot be read.
        """
        gates = gates_for(declaration.options.gates, route.model)
        if declaration.risk is not Risk.HIGH or gates is None or not route.sha256:
            return Permit()
        name, label = release.integration, route.version
        digest = gates.digest(release.manifest.bundle)
        passed = [
            one
            for one in self._validations.validations(route.model, route.model_version)
            if one.integration == name and one.sha256 == route.sha256
            and one.passed and _covers(one, gates, digest)
        ]  # fmt: skip
        again = f"splice models validate {label} --integration {name}"
        if not passed:
            return Permit(f"{label} passed no validation for {name}, whose risk is high: {again}")
        if gates.approver:
            passed = [one for one in passed if self._consented(one)]
        if not passed:
            approve = f"splice models approve {label} --integration {name}"
            return Permit(f"{label} has no second person's consent for {name}: {approve}")
        now = self._now_us()
        if any(not one.expires_us for one in passed):
            return Permit()
        until = max(one.expires_us for one in passed)
        if until <= now:
            return Permit(f"the validation of {label} for {name} expired {day(until)}: {again}")
        return Permit(until_us=until)

    def _consented(self, validation: Validation) -> bool:
        registrar = registrar_of(self._audit, validation.model, validation.version)
        return any(one.by != registrar for one in approvals_of(self._validations, validation))


def _covers(validation: Validation, gates: ReadGates, digest: str) -> bool:
    """Whether it has a result of every gate; one with older sources, of any gate at all."""
    named = [one.gate for one in validation.results]
    if validation.gates_sha256 != digest:
        return len(named) > 1
    wanted = [title(one) for one in gates.must]
    return all(any(f"{one} ".startswith(f"{gate} ") for one in named) for gate in wanted)
