"""What the audit log says, read on from where the last look ended: whole, and of integrations."""

from __future__ import annotations

import threading

import msgspec

from splice.core.audit import FIRST, AuditEvent, first_broken
from splice.ports.audit import AuditLog

_PAGE = 1000
_NEWEST = 3


class Chain(msgspec.Struct):
    """How far the chain holds; `broken` is the first that does not, `more` if some are left."""

    count: int = 0
    last: str = FIRST  # the hash of the last that holds
    broken: AuditEvent | None = None
    more: bool = False


class Changes(msgspec.Struct):
    """Control actions on one integration."""

    count: int = 0
    newest: list[AuditEvent] = []  # at the most three, oldest first
    stop: AuditEvent | None = None  # the last time that it was switched off
    incidents: dict[str, list[AuditEvent]] = {}  # by the incident that they are about


class AuditReading:
    """Reads the audit log once: a second look reads what is new. Safe for many threads.

    Args:
        audit: The log.
    """

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._chain = Chain()
        self._known: dict[str, tuple[int, Changes]] = {}
        self._reading = threading.Lock()

    def chain(self, most: int) -> Chain:
        """The chain from its first event on; at the most so many new events in one look."""
        with self._reading:
            found, end = self._chain, self._chain.count + most
            while found.broken is None and found.count < end:
                page = self._audit.events(since=found.count, limit=min(_PAGE, end - found.count))
                if not page:
                    break
                gap = next((e for i, e in enumerate(page) if e.number != found.count + 1 + i), None)
                found.broken = gap or first_broken(page, found.last)
                if found.broken is None:
                    found.count, found.last = page[-1].number, page[-1].sha256
            found.more = found.broken is None and found.count >= end
            return msgspec.structs.replace(found)

    def of(self, integration: str) -> Changes:
        """What was done to an integration."""
        with self._reading:
            since, found = self._known.get(integration, (0, Changes()))
            while page := self._audit.events(subject=integration, since=since, limit=_PAGE):
                since = page[-1].number
                for event in page:
                    if event.subject == integration:
                        _take(found, event)
            self._known[integration] = (since, found)
            return msgspec.structs.replace(found, newest=list(found.newest))


def _take(found: Changes, event: AuditEvent) -> None:
    found.count += 1
    found.newest = [*found.newest[1 - _NEWEST :], event]
    if event.action == "integration.stop":
        found.stop = event
    if incident := event.details.get("incident"):
        found.incidents.setdefault(str(incident), []).append(event)
