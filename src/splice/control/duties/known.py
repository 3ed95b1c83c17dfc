"""What the system knows of one integration, read once, for whoever asks about its duties."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from splice.control.cards import Cards
from splice.control.duties.changes import AuditReading, Chain, Changes
from splice.core import tallies
from splice.core.alerts import Finding
from splice.core.audit import AuditEvent
from splice.core.duties import Attestation, Incident, PinnedAssessment
from splice.core.errors import UnknownIntegration
from splice.core.evidence import Proof
from splice.core.release import Live, Manifest, ModelVersion, PinnedRoute, Release
from splice.core.rollups import DAY_S, Counted, Wanted, Window
from splice.core.validation import Validation
from splice.core.versions import Card
from splice.ports.alerts import AlertStore
from splice.ports.audit import AuditLog
from splice.ports.checkpoints import CheckpointStore
from splice.ports.duties import DutyStore
from splice.ports.labels import LabelStore
from splice.ports.reviews import ReviewStore
from splice.ports.rollups import Piece, RollupStore
from splice.ports.stores import ModelStore, ReleaseStore
from splice.ports.validations import ValidationStore

DAY_US = 86_400_000_000
YEAR_US = 365 * DAY_US


class Shelves(Protocol):
    """The stores that evidence is read from."""

    @property
    def releases(self) -> ReleaseStore:
        """What answered."""
        ...

    @property
    def models(self) -> ModelStore:
        """What it ran."""
        ...

    @property
    def validations(self) -> ValidationStore:
        """What models were tested for."""
        ...

    @property
    def audit(self) -> AuditLog:
        """What people changed."""
        ...

    @property
    def rollups(self) -> RollupStore:
        """Figures of calls."""
        ...

    @property
    def labels(self) -> LabelStore:
        """What really happened, joined with what was foretold."""
        ...

    @property
    def alerts(self) -> AlertStore:
        """What monitors found."""
        ...

    @property
    def reviews(self) -> ReviewStore:
        """What people looked at."""
        ...

    @property
    def checkpoints(self) -> CheckpointStore:
        """Signed heads."""
        ...

    @property
    def duties(self) -> DutyStore:
        """What people attested."""
        ...


class Terms(msgspec.Struct, frozen=True):
    """What a process knows beside its ledger.

    `kept_days` is how long calls can be read, None where they are kept for good. `signed` says
    whether a model's file has a signature that holds: with why not, or empty; None where nobody
    can tell. `most_events` is how many audit events are verified at once, `reading` what has read
    the audit log before; None reads it anew.
    """

    kept_days: float | None = None
    most_events: int = 10_000_000
    reading: AuditReading | None = None
    signed: Callable[[ModelVersion], str] | None = None


class Known:
    """One integration.

    Args:
        shelves: The ledger.
        integration: Its name.
        now_us: The time.
        terms: What else is known.

    Raises:
        UnknownIntegration: It never had a release.
    """

    def __init__(self, shelves: Shelves, integration: str, now_us: int, terms: Terms) -> None:
        self.shelves = shelves
        self.integration = integration
        self.now_us = now_us
        self.terms = terms
        self.cards = Cards(shelves.audit)
        self._reading = terms.reading or AuditReading(shelves.audit)
        self.live: Live | None = next(
            (one for one in shelves.releases.live() if one.integration == integration), None
        )
        number = 0 if self.live is None else self.live.number
        found = shelves.releases.release(integration, number) if number else None
        if found is None:
            found = next(iter(shelves.releases.releases(integration)), None)
        if found is None:
            raise UnknownIntegration(
                integration[:80], got="no release of that name",
                promised="an integration that was applied", mend="splice release apply",
            )  # fmt: skip
        self.release: Release = found

    @property
    def manifest(self) -> Manifest:
        """What the live release pins (the newest one's, where none is live)."""
        return self.release.manifest

    @property
    def said(self) -> PinnedAssessment:
        """The answers of the questionnaire; none of them where it was not answered."""
        return self.manifest.assessment or PinnedAssessment()

    @functools.cached_property
    def routes(self) -> tuple[PinnedRoute, ...]:
        """All routes that can answer: variants', too, but not shadows'."""
        rollout = self.manifest.rollout
        variants = () if rollout is None else rollout.variants
        return (*self.manifest.routes, *(route for one in variants for route in one.routes))

    @functools.cached_property
    def models(self) -> tuple[ModelVersion, ...]:
        """The registered models of these routes, each once."""
        found: dict[str, ModelVersion] = {}
        for route in self.routes:
            if route.kind == "model":
                version = self.shelves.models.resolve(route.model, str(route.model_version))
                if version is not None:
                    found[version.label] = version
        return tuple(found.values())

    @functools.cached_property
    def llms(self) -> tuple[PinnedRoute, ...]:
        """The routes to language models."""
        return tuple(route for route in self.routes if route.kind == "llm")

    def card(self, version: ModelVersion) -> Card:
        """The card that holds now."""
        return self.cards.card(version)

    def validations(self, version: ModelVersion) -> tuple[Validation, ...]:
        """All validations of a version for this integration, newest first."""
        found = self.shelves.validations.validations(version.name, version.version)
        return tuple(
            one
            for one in found
            if one.integration == self.integration and one.sha256 == version.sha256
        )

    def validation(self, version: ModelVersion) -> Validation | None:
        """The newest of them: on a data set, where there is one of that kind."""
        found = self.validations(version)
        return next((one for one in found if not one.fresh), next(iter(found), None))

    def newest_validations(self, version: ModelVersion) -> tuple[Validation, ...]:
        """The newest on a data set, and the newest on fresh calls: those of them that there are."""
        found = self.validations(version)
        kinds = (next((one for one in found if one.fresh is kind), None) for kind in (False, True))
        return tuple(one for one in kinds if one is not None)

    def chain(self) -> Chain:
        """How far the audit log holds."""
        return self._reading.chain(self.terms.most_events)

    @functools.cached_property
    def changes(self) -> Changes:
        """Control actions on the integration."""
        return self._reading.of(self.integration)

    @functools.cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The newest answer of each monitor."""
        return tuple(self.shelves.alerts.findings(self.integration))

    @functools.cached_property
    def attestations(self) -> tuple[Attestation, ...]:
        """What people attested, newest first."""
        return tuple(self.shelves.duties.attestations(self.integration))

    @functools.cached_property
    def incidents(self) -> tuple[Incident, ...]:
        """Incidents, newest first."""
        return tuple(self.shelves.duties.incidents(self.integration))

    @functools.cached_property
    def days(self) -> tuple[Counted, ...]:
        """Calls of the last year by day and kind, without shadows; oldest first."""
        end_s = (self.now_us // 1_000_000 // DAY_S + 1) * DAY_S
        since_s = end_s - 366 * DAY_S
        wanted = Wanted(Window(since_s * 1_000_000, end_s * 1_000_000), self.integration)
        found = self.shelves.rollups.counted(wanted, (Piece(DAY_S, since_s, end_s),), DAY_S)
        real = (one for one in found if one.kind.variant != "shadow")
        return tuple(sorted(real, key=lambda one: one.start_s))

    def told(self, outcome: str) -> int:
        """How many calls of the last 90 days have an outcome of that name."""
        end_s = self.now_us // 1_000_000 + DAY_S
        found = self.shelves.labels.tallied((self.integration, outcome), end_s - 91 * DAY_S, end_s)
        return sum(tallies.read(one.told).count for one in found)

    # What proves a statement.

    def release_proof(self) -> Proof:
        """The live release."""
        return Proof(
            "release", f"{self.integration} release {self.release.number}", self.manifest.digest,
            f"splice cards integration {self.integration}",
            f"/integrations/{self.integration}/releases/{self.release.number}",
            self.release.created_us,
        )  # fmt: skip

    def model_proof(self, version: ModelVersion) -> Proof:
        """A registered model."""
        return Proof(
            "model", version.label, version.sha256, f"splice models show {version.label}", "",
            version.created_us,
        )  # fmt: skip

    def validation_proof(self, found: Validation) -> Proof:
        """A run of the gates."""
        return Proof(
            "validation", f"{found.model}@{found.version} on {found.data}", found.digest,
            f"splice cards model {found.model}@{found.version}", "", found.at_us,
        )  # fmt: skip

    def event_proof(self, event: AuditEvent) -> Proof:
        """A control action."""
        return Proof(
            "event", f"audit event {event.number}: {event.action}", event.sha256,
            f"splice audit list --since {event.number - 1} --limit 1", "", event.at_us,
        )  # fmt: skip

    def finding_proof(self, found: Finding) -> Proof:
        """The newest answer of a monitor."""
        return Proof(
            "finding", found.monitor, digest_of(found),
            f'splice monitors show {self.integration} "{found.monitor}"',
            f"/integrations/{self.integration}/alerts", found.at_us,
        )  # fmt: skip

    def figure_proof(self, name: str) -> Proof:
        """Counts of the ledger's rollups."""
        return Proof(
            "figure", name, "", f"splice calls list --integration {self.integration}",
            f"/integrations/{self.integration}", self.now_us,
        )  # fmt: skip


def digest_of(noun: Any) -> str:
    """SHA-256 over the canonical JSON of a noun, in hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(noun, order="sorted")).hexdigest()


def attestation_proof(found: Attestation) -> Proof:
    """What a person attested."""
    return Proof(
        "attestation", f"{found.by}: {found.text[:160]}", digest_of(found),
        f"splice duties {found.integration} --json", f"/integrations/{found.integration}/duties",
        found.at_us,
    )  # fmt: skip
