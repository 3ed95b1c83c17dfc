"""The audit log: control actions, appended and never changed."""

from __future__ import annotations

from typing import Any, Protocol

from splice.core.audit import AuditEvent


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
