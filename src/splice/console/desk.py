"""What the console needs of the process behind it, and what a page knows of who asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlencode

import msgspec

from splice.console.signing import SignInOptions
from splice.console.span import Span
from splice.control.apply import Control
from splice.control.duties.known import Terms
from splice.core.access import Permission, Principal
from splice.engine.engine import Engine
from splice.ports.alerts import AlertStore
from splice.ports.audit import AuditLog
from splice.ports.checkpoints import CheckpointStore
from splice.ports.duties import DutyStore
from splice.ports.events import DeadLetterStore
from splice.ports.identity import IdentityProvider
from splice.ports.labels import LabelStore
from splice.ports.people import PeopleStore
from splice.ports.reviews import ReviewStore
from splice.ports.rollups import RollupStore
from splice.ports.stores import ModelStore, OutcomeStore, RecordStore, ReleaseStore
from splice.ports.studies import StudyStore
from splice.ports.validations import ValidationStore
from splice.serve.oversight import Overseer

ROOT = "/console"


class Shelves(Protocol):
    """The stores that pages read."""

    @property
    def records(self) -> RecordStore:
        """Calls."""
        ...

    @property
    def outcomes(self) -> OutcomeStore:
        """What became of them."""
        ...

    @property
    def releases(self) -> ReleaseStore:
        """What answered."""
        ...

    @property
    def rollups(self) -> RollupStore:
        """Their figures."""
        ...

    @property
    def labels(self) -> LabelStore:
        """Outcomes joined with what was foretold."""
        ...

    @property
    def studies(self) -> StudyStore:
        """Experiments."""
        ...

    @property
    def alerts(self) -> AlertStore:
        """What monitors found."""
        ...

    @property
    def audit(self) -> AuditLog:
        """What people changed."""
        ...

    @property
    def models(self) -> ModelStore:
        """Registered models."""
        ...

    @property
    def validations(self) -> ValidationStore:
        """What they were tested for."""
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
    def dead_letters(self) -> DeadLetterStore:
        """Events that could not be answered."""
        ...

    @property
    def duties(self) -> DutyStore:
        """What people attested, and incidents."""
        ...

    @property
    def people(self) -> PeopleStore:
        """Who signed in."""
        ...


class ConsoleDesk(Protocol):
    """The process whose calls are shown."""

    @property
    def draining(self) -> bool:
        """Whether it is about to end."""
        ...

    @property
    def engine(self) -> Engine:
        """What is live, and the keys."""
        ...

    @property
    def shelves(self) -> Shelves:
        """Its ledger."""
        ...

    @property
    def overseer(self) -> Overseer:
        """What people decide of calls."""
        ...

    @property
    def control(self) -> Control:
        """What is live, to be changed."""
        ...

    @property
    def identity(self) -> IdentityProvider | None:
        """Knows who people are; None where they do not sign in."""
        ...


class Options(msgspec.Struct, frozen=True):
    """How a console is served; see the settings `[console]`."""

    currency: str
    cache: str  # folder for what is made once
    hosts: tuple[str, ...] = ()
    search_s: float = 0.12
    terms: Terms = Terms()
    sign_in: SignInOptions | None = None

    @property
    def provider(self) -> str:
        """What people sign in by, as they know it; empty where they do not."""
        return "" if self.sign_in is None else self.sign_in.provider


class Visit(msgspec.Struct, frozen=True):
    """Who asks for which page, about which time."""

    principal: Principal
    base: str  # address of the portfolio, without a slash at its end
    path: str  # below it, from its slash on
    query: dict[str, str]
    span: Span
    now_us: int
    theme: str = "auto"
    origin: str = ""

    def may_see(self, integration: str) -> bool:
        """Whether the visitor may know of an integration at all."""
        return self.principal.may(Permission.SEE, integration)

    @property
    def sees_all(self) -> bool:
        """Whether the visitor may read every call."""
        return self.principal.key is None and self.principal.may(Permission.SEE, "*")

    def link(self, path: str, **query: object) -> str:
        """An address about the same time; what is None or empty is left out."""
        return self.base + path + _query({**self.span.query, **_texts(query)})

    def plain(self, path: str, **query: object) -> str:
        """An address about no time."""
        return self.base + path + _query(_texts(query))

    def here(self, **changes: object) -> str:
        """This page with a changed query; what is None is taken away."""
        kept = {name: text for name, text in self.query.items() if name not in changes}
        return self.base + self.path + _query({**kept, **_texts(changes)})


def _texts(query: Mapping[str, object]) -> dict[str, str]:
    return {
        name.rstrip("_"): str(value) for name, value in query.items() if value not in (None, "")
    }


def _query(query: Mapping[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""
