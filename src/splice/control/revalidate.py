"""Revalidate: what is live goes through its gates again, on fresh calls, when that is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from splice.control.cases import Case
from splice.control.fresh import Recorded, TooFew, fresh_rows
from splice.control.validate import Validator
from splice.core.errors import NotPromoted
from splice.core.release import PinnedRoute, Release
from splice.core.validation import Validation
from splice.declare.gates import gates_for
from splice.declare.reading import Declaration
from splice.ports.stores import ModelStore, ReleaseStore
from splice.ports.validations import ValidationStore

REVALIDATOR = "splice revalidation"
"""Who does what no person did."""

Reopen = Callable[[str, str], Declaration]
"""The declaration of a bundle's SHA-256 and an entry."""


class Due(msgspec.Struct, frozen=True):
    """A version that answers, in its place, whose gates are declared to be asked again.

    `at_us` is when that is due, in Unix microseconds.
    """

    release: Release
    case: Case
    at_us: int


class Revalidator:
    """Validates what is live on what was recorded.

    Args:
        releases: What is live.
        models: Versions.
        validations: When each was validated last.
        validator: Runs gates.
        reopen: Gives the declaration of a stored bundle.
    """

    def __init__(
        self,
        releases: ReleaseStore,
        models: ModelStore,
        validations: ValidationStore,
        validator: Validator,
        reopen: Reopen,
    ) -> None:
        self._releases = releases
        self._models = models
        self._validations = validations
        self._validator = validator
        self._reopen = reopen

    def due(self) -> Iterator[Due]:
        """Every version of a live release that is validated again and again, due or not.

        Raises:
            StoreError: The ledger cannot be read.
        """
        for live in self._releases.live():
            release = self._releases.release(live.integration, live.number)
            if release is None or not any(
                one.validity is not None and one.validity.every_s for one in release.manifest.gates
            ):
                continue
            declaration = self._reopen(release.manifest.bundle, release.manifest.entry)
            for route in release.manifest.routes:
                found = self._due(release, declaration, route)
                if found is not None:
                    yield found

    def _due(self, release: Release, declaration: Declaration, route: PinnedRoute) -> Due | None:
        gates = gates_for(declaration.options.gates, route.model) if route.sha256 else None
        terms = None if gates is None else gates.validity
        if terms is None or not terms.every_s:
            return None
        version = self._models.resolve(route.model, str(route.model_version))
        if version is None or version.sha256 != route.sha256:
            return None
        case = self._validator.case(declaration, release.manifest, route, version, release)
        if case is None:
            return None
        mine = [
            one.at_us
            for one in self._validations.validations(route.model, route.model_version)
            if one.integration == release.integration and one.sha256 == route.sha256
        ]
        last = max(mine, default=release.created_us)
        return Due(release, case, last + round(terms.every_s * 1e6))

    def run(self, due: Due, ledger: Recorded, now_us: int, by: str) -> Validation | TooFew:
        """Its gates on fresh calls, stored and told; where there are too few, nothing is.

        Raises:
            NotPromoted: The artifact is not what was registered.
            ModelUnavailable: It is gone, was changed, or cannot be loaded.
            StoreError: The ledger cannot be read.
        """
        terms = due.case.gates.validity
        if terms is None or not terms.every_s:
            raise NotPromoted(
                due.case.version.label, got="gates that are not asked again",
                promised="fresh=splice.Fresh(…)",
            )  # fmt: skip
        rows = fresh_rows(ledger, due.case.declaration, due.case.gates, now_us)
        if isinstance(rows, TooFew):
            return rows
        return self._validator.validate(due.case, by=by, now_us=now_us, calls=rows)
