"""Permits: what runs has passed its gates, whoever wrote the release; and lately, where it must."""

from __future__ import annotations

from collections.abc import Callable

from splice.control.validity import Validities, unknown_release
from splice.core.errors import NotPromoted
from splice.core.release import PinnedRoute, Release
from splice.core.validation import Permit
from splice.declare.gates import gates_for
from splice.declare.reading import Declaration
from splice.declare.spec import Risk
from splice.ports.audit import AuditLog
from splice.ports.validations import ValidationStore


class Permits:
    """Whether a release may run a version: asked when it is loaded, and when a permit ends.

    Where risk is high, what never passed its gates does not run, whatever is declared of expired
    validations. Where it is lower, that holds only if `expired` is declared to demote or refuse.

    Args:
        validations: What was found out, and who consented.
        audit: Who registered what, and what was told of validations.
        now_us: Unix time in microseconds.
    """

    def __init__(
        self, validations: ValidationStore, audit: AuditLog, now_us: Callable[[], int]
    ) -> None:
        self._validities = Validities(validations, audit)
        self._audit = audit
        self._now_us = now_us

    def admitted(self, release: Release) -> None:
        """Passes a release that came in by the way that releases come in.

        Raises:
            NotPromoted: It was written into the ledger by somebody, or changed there.
            StoreError: The ledger cannot be read.
        """
        if why := unknown_release(release, self._audit):
            raise NotPromoted(release.integration, got=why)

    def __call__(self, route: PinnedRoute, release: Release, declaration: Declaration) -> Permit:
        """Why the version may not run; empty where it may.

        Raises:
            StoreError: The ledger cannot be read.
        """
        gates = gates_for(declaration.options.gates, route.model)
        if gates is None:
            return Permit()
        high = declaration.risk is Risk.HIGH
        end = "demote" if high else "alert"
        if gates.validity is not None:
            end = gates.validity.expired
        if end == "alert" and not high:
            return Permit()
        found = self._validities.of(route, release, declaration, self._now_us())
        if found is None:
            return Permit()
        if found.state in ("none", "no consent"):
            return Permit(found.why)
        if end == "alert":
            return Permit()
        refuses = end == "refuse"
        if found.why:
            return Permit(found.why, refuses=refuses)
        if not found.until_us:
            return Permit()
        return Permit("", found.until_us, found.ended, refuses)
