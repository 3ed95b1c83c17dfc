"""The console of a process, as its settings say."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from splice.app.dutiful import terms_of
from splice.app.identity import role_map
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores
from splice.console.desk import Options
from splice.console.signing import SignInOptions
from splice.console.surface import Console
from splice.control.apply import Control
from splice.engine.engine import Engine
from splice.ports.identity import IdentityProvider
from splice.serve.oversight import Overseer

_EVENTS = 20_000
"""Audit events that a page of duties verifies; more take longer than a page may."""


class Serving(Protocol):
    """A process that answers calls."""

    draining: bool

    @property
    def engine(self) -> Engine:
        """Answers calls."""
        ...

    @property
    def services(self) -> Services:
        """What it holds."""
        ...

    @property
    def overseer(self) -> Overseer:
        """What people decide of calls."""
        ...


class _Desk:
    """The process as the console sees it, by the services that it has now."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    @property
    def draining(self) -> bool:
        """Whether it ends."""
        return self._serving.draining

    @property
    def engine(self) -> Engine:
        """What is live, and the keys."""
        return self._serving.engine

    @property
    def shelves(self) -> Stores:
        """Its ledger."""
        return self._serving.services.stores

    @property
    def overseer(self) -> Overseer:
        """What people decide of calls."""
        return self._serving.overseer

    @property
    def control(self) -> Control:
        """What is live, to be changed."""
        return self._serving.services.control

    @property
    def identity(self) -> IdentityProvider | None:
        """Knows who people are."""
        return self._serving.services.identity


def console_of(serving: Serving, settings: Settings) -> Console | None:
    """The console; None where the settings switch it off."""
    console = settings.console
    if not console.enabled:
        return None
    options = Options(
        currency=settings.cost.currency,
        cache=str(settings.path(console.cache)),
        hosts=console.hosts,
        search_s=console.search_ms / 1000,
        terms=msgspec.structs.replace(terms_of(settings), most_events=_EVENTS),
        sign_in=_sign_in(settings),
    )
    return Console(_Desk(serving), options)


def _sign_in(settings: Settings) -> SignInOptions | None:
    people = settings.people
    if not people.issuer:
        return None
    return SignInOptions(
        session_s=people.session_hours * 3600,
        provider=urlsplit(people.issuer).hostname or people.issuer,
        redirect_url=people.redirect_url,
        claim=people.claim,
        verified_only=people.unverified == "refuse",
        roles_claim=people.roles_claim,
        roles=role_map(settings),
    )
