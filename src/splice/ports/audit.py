"""The audit log: control actions, appended and never changed."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from splice.core.audit import AuditEvent


class EventFilter(msgspec.Struct, frozen=True):
    """Which events are wanted, newest first; what is None or empty does not restrict.

    `subject` finds the events of `credit` and of every `credit@…`. `action` is one, or all that
    begin with it where it ends with a dot (`release.`). `before` is the number above the newest.
    """

    subject: str = ""
    by: str = ""
    action: str = ""
    surface: str = ""
    before: int | None = None
    limit: int = 100


class AuditLog(Protocol):
    """Events in one chain. Blocks."""

    def add_event(
        self,
        action: str,
        subject: str,
        *,
        by: str,
        now_us: int,
        why: str = "",
        details: dict[str, Any] | None = None,
        before: Any = None,  # a JSON value, and so the next
        after: Any = None,
    ) -> AuditEvent:
        """Number the event, chain it to the one before, store it durably.

        From where it was done is what `splice.core.audit.origin()` says.

        Raises:
            StoreError: It was not stored; the action must not be done.
        """
        ...

    def events(
        self, *, subject: str | None = None, since: int = 0, limit: int = 1000
    ) -> list[AuditEvent]:
        """Events with a number above `since`, oldest first; of one subject or of all.

        `credit` finds the events of `credit` and of every `credit@…`.
        """
        ...

    def find(self, wanted: EventFilter) -> list[AuditEvent]:
        """Events, newest first."""
        ...

    def event(self, number: int) -> AuditEvent | None:
        """One of them."""
        ...
