"""The console of a process, as its settings say."""

from __future__ import annotations

from typing import Protocol

import msgspec

from splice.app.dutiful import terms_of
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores
from splice.console.desk import Options
from splice.console.surface import Console
from splice.engine.engine import Engine

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
    )
    return Console(_Desk(serving), options)
