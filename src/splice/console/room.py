"""What the makers of pages share: the process, its ledger, and what a page is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import msgspec

from splice.console.desk import ConsoleDesk, Options, Shelves, Visit
from splice.console.history import History
from splice.console.kept import Kept
from splice.control.apply import Control
from splice.control.duties.changes import AuditReading
from splice.control.duties.known import Terms
from splice.core.access import Permission, Principal
from splice.core.errors import UnknownIntegration
from splice.core.profiles import DriftReport
from splice.core.quality import Quality
from splice.core.release import Manifest, Release
from splice.core.studies import Worth
from splice.engine.engine import Engine
from splice.ports.rollups import RollupStore
from splice.serve.oversight import Overseer

_DRIFT_S, _QUALITY_S = 300.0, 60.0
"""How long a figure of the portfolio is good: profiles change by the hour, outcomes any time."""


class Page(msgspec.Struct, frozen=True):
    """A template, and what it shows."""

    template: str
    title: str
    shown: dict[str, Any] = {}  # whatever the template asks for

    @property
    def values(self) -> dict[str, Any]:
        """What the template gets."""
        return {"title": self.title, **self.shown}


class Download(msgspec.Struct, frozen=True):
    """A file, in pieces that are made as they are sent."""

    pieces: Iterator[bytes]
    name: str
    media_type: str

    @property
    def headers(self) -> dict[str, str]:
        """Saved, and never shown in the browser."""
        return {"content-disposition": f'attachment; filename="{self.name}"'}


class Figures(msgspec.Struct, frozen=True):
    """What a chart is drawn from, as JSON."""

    shown: dict[str, Any]


class Member(msgspec.Struct, frozen=True):
    """An integration as pages know it; `release` is None where none is live any more."""

    name: str
    release: Release | None
    stopped: str = ""

    @property
    def manifest(self) -> Manifest | None:
        """What its release pins."""
        return None if self.release is None else self.release.manifest


class Room:
    """One process and its ledger.

    Args:
        desk: The process.
        options: How the console is served.
        beside: Where figures are worked out that take longer than a page may.
    """

    def __init__(self, desk: ConsoleDesk, options: Options, beside: Executor) -> None:
        self._desk = desk
        self.options = options
        self._history: History | None = None
        self._changes: AuditReading | None = None
        self.drift: Kept[DriftReport] = Kept(beside, _DRIFT_S)
        self.quality: Kept[Quality] = Kept(beside, _QUALITY_S)
        self.worth: Kept[Worth] = Kept(beside, _QUALITY_S)

    @property
    def history(self) -> History:
        """What people changed."""
        if self._history is None:
            self._history = History(self.shelves.audit)
        return self._history

    @property
    def changes(self) -> AuditReading:
        """The audit log, read on from the last look."""
        if self._changes is None:
            self._changes = AuditReading(self.shelves.audit)
        return self._changes

    @property
    def terms(self) -> Terms:
        """What a checklist is made by."""
        return msgspec.structs.replace(self.options.terms, reading=self.changes)

    @property
    def engine(self) -> Engine:
        """What is live."""
        return self._desk.engine

    @property
    def shelves(self) -> Shelves:
        """The ledger."""
        return self._desk.shelves

    @property
    def overseer(self) -> Overseer:
        """What people decide of calls."""
        return self._desk.overseer

    @property
    def control(self) -> Control:
        """What is live, to be changed."""
        return self._desk.control

    @property
    def rollups(self) -> RollupStore:
        """Its figures."""
        return self._desk.shelves.rollups

    def members(self, visit: Visit) -> list[Member]:
        """The integrations that a visitor may know of, by name: live ones, and those that were."""
        found = {
            name: Member(name, line.release, line.stopped)
            for name, line in self.engine.lines.items()
        }
        for name in self.rollups.integrations():
            found.setdefault(name, Member(name, None))
        return [found[name] for name in sorted(found) if visit.may_see(name)]

    def member(self, visit: Visit, name: str) -> Member:
        """One of them.

        Raises:
            UnknownIntegration: There is none of that name, or none that the visitor may know of.
        """
        line = self.engine.lines.get(name)
        if line is not None and visit.may_see(name):
            return Member(name, line.release, line.stopped)
        if visit.may_see(name):
            if releases := self.shelves.releases.releases(name):
                live = {one.integration: one for one in self.shelves.releases.live()}
                number = live[name].number if name in live else releases[0].number
                release = next((one for one in releases if one.number == number), releases[0])
                return Member(name, release, live[name].stopped if name in live else "")
            if name in self.rollups.integrations():
                return Member(name, None)
        raise UnknownIntegration(
            name[:80],
            got="no integration of that name",
            mend="see the portfolio for those there are",
        )

    def may_read(self, principal: Principal, integration: str, caller: str) -> bool:
        """Whether a visitor may read what a caller asked."""
        if not principal.may(Permission.SEE, integration):
            return False
        return self.engine.keyring.may_read(principal, integration, caller)
