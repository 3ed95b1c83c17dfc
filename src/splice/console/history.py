"""What people changed, as marks on the axis of time: releases, rollouts, switches."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from splice.core.audit import AuditEvent
from splice.ports.audit import AuditLog

_PAGE, _PAGES = 1000, 20
_KEPT = 2000


class Change(msgspec.Struct, frozen=True):
    """One change: when, what in a few words, by whom and why."""

    at_us: int
    label: str
    text: str
    by: str
    why: str = ""
    release: int = 0


class History:
    """The changes of integrations, read on from where the last look ended.

    Args:
        audit: Where they are.
    """

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self._known: dict[str, tuple[int, list[Change]]] = {}
        self._reading = threading.Lock()

    def of(self, integration: str, since_us: int, until_us: int) -> list[Change]:
        """Changes of an integration within a time, oldest first."""
        with self._reading:
            last, changes = self._known.get(integration, (0, []))
            for _ in range(_PAGES):
                events = self._audit.events(subject=integration, since=last, limit=_PAGE)
                for event in events:
                    last = event.number
                    if event.subject == integration and (found := _change(event)) is not None:
                        changes.append(found)
                if len(events) < _PAGE:
                    break
            del changes[:-_KEPT]
            self._known[integration] = (last, changes)
            return [one for one in changes if since_us <= one.at_us < until_us]


def _change(event: AuditEvent) -> Change | None:
    number = _whole(event.details.get("release"))
    before = _whole(event.details.get("before"))
    share = str(event.details.get("share", ""))
    noun, _, verb = event.action.partition(".")
    if noun == "rollout":
        words = {"start": "begins", "abort": "taken back by its guards", "stop": "ended"}
        text = f"Rollout {words.get(verb, verb)}{f', {share}' if share else ''}"
        label = share or verb
    elif noun == "release":
        back = bool(number and before and number < before)
        text = f"Release {number} {'is live again' if back else 'is live'}"
        label = f"r{number}"
    elif event.action in ("integration.stop", "integration.start"):
        text = "Switched off" if verb == "stop" else "Switched on"
        label = "off" if verb == "stop" else "on"
    else:
        return None
    return Change(event.at_us, label, text, event.by, event.why, number)


def _whole(value: Any) -> int:  # a JSON value
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
