"""Cases: a version of a model in its place; and what is known of it from the stores."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from splice.core.errors import NotPromoted
from splice.core.release import ModelVersion, PinnedGates, PinnedRoute
from splice.core.validation import Approval, Validation
from splice.declare.gates import NotWorse, ReadGates, SameSchema
from splice.declare.reading import Declaration
from splice.ports.audit import AuditLog
from splice.ports.validations import ValidationStore


class Case(msgspec.Struct, frozen=True):
    """A version of a model in the place of an integration's route that it has, or would take.

    `champion` is what it is compared with, None where there is no other; `pin` is what the release
    pinned of the gates, None where there is no release yet.
    """

    declaration: Declaration
    bundle: str  # SHA-256 of the sources
    gates: ReadGates
    route: PinnedRoute
    version: ModelVersion
    champion: ModelVersion | None = None
    pin: PinnedGates | None = None

    @property
    def integration(self) -> str:
        """Its name."""
        return self.declaration.name

    @property
    def gates_sha256(self) -> str:
        """Of the gates and the sources that declare them."""
        return self.gates.digest(self.bundle)

    @property
    def compares(self) -> bool:
        """Whether a gate looks at the champion: another champion then wants another validation."""
        return any(isinstance(one, (NotWorse, SameSchema)) for one in self.gates.must)


def refusal(validation: Validation) -> NotPromoted:
    """Which gates it did not pass, and by how much."""
    failed = [one for one in validation.results if not one.passed]
    told = "; ".join(f"{one.gate}: {one.detail}" for one in failed)
    label = f"{validation.model}@{validation.version}"
    return NotPromoted(
        label,
        got=f"{len(failed)} of {len(validation.results)} results that fail for "
        f"{validation.integration}: {told}",
        promised="every gate passed",
        mend="train it anew, or change the gates in the declaration",
    )


def approvals_of(store: ValidationStore, validation: Validation) -> list[Approval]:
    """Approvals of exactly this: its digest, and these bytes."""
    return [one for one in store.approvals(validation.digest) if one.sha256 == validation.sha256]


def registrar_of(audit: AuditLog, model: str, version: int) -> str:
    """Who registered a version; empty where nobody knows."""
    for event in audit.events(subject=f"{model}@{version}"):
        if event.action in ("model.register", "model.register_pickle"):
            return event.by
    return ""


def day(at_us: int) -> str:
    """A moment as a person reads it, in UTC."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def placed(route: PinnedRoute, version: ModelVersion) -> PinnedRoute:
    """The route with another version of its model."""
    return msgspec.structs.replace(
        route,
        version=version.label,
        model_version=version.version,
        sha256=version.sha256,
        format="" if version.format == "onnx" else version.format,
    )
