"""Findings of monitors, and alerts: what is needed of their store. Blocks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from splice.core.alerts import Alert, AlertState, Finding, Message, MessageState, Mute, Note


class Turn(msgspec.Struct, frozen=True):
    """What one evaluation of a monitor comes to; stored as a whole or not at all.

    `finding` and each of the `changed` alerts name the revision that was looked at; `opened` are
    new. `notes` wait for their channel.
    """

    finding: Finding
    opened: tuple[Alert, ...] = ()
    changed: tuple[Alert, ...] = ()
    notes: tuple[Note, ...] = ()


class AlertFilter(msgspec.Struct, frozen=True):
    """Which alerts to list, newest first; None does not restrict. Times are Unix microseconds."""

    integration: str | None = None
    monitor: str | None = None
    state: AlertState | None = None
    since_us: int | None = None  # opened then, or open at any time after
    until_us: int | None = None  # opened before
    limit: int = 100


class AlertStore(Protocol):
    """Findings of monitors, alerts, and messages that are to be sent."""

    def findings(self, integration: str | None = None) -> list[Finding]:
        """The newest finding of each monitor, by integration and monitor."""
        ...

    def settle(self, turn: Turn) -> Finding:
        """Store a turn in one transaction; gives the finding with its new revision.

        Raises:
            Overtaken: Another process evaluated the monitor, or changed an alert, meanwhile.
        """
        ...

    def forget(self, finding: Finding) -> None:
        """Drop the finding of a monitor that no live release has; nothing where it changed."""
        ...

    def alert(self, alert_id: str) -> Alert | None:
        """One alert."""
        ...

    def alerts(self, wanted: AlertFilter) -> list[Alert]:
        """Alerts, newest first."""
        ...

    def save_alert(self, alert: Alert, notes: Sequence[Note] = (), *, action: str = "") -> Alert:
        """Store what changed of the revision that was looked at, with notes.

        With `action`, an audit event of that name is stored too, by whoever acknowledged it.

        Raises:
            Overtaken: The store has another revision of it.
        """
        ...

    def mutes(self, now_us: int) -> list[Mute]:
        """Those that still hold."""
        ...

    def set_mute(self, mute: Mute, now_us: int) -> None:
        """Mute, or end it where `until_us` is 0; audited."""
        ...

    def waiting_notes(self, channels: Collection[str]) -> list[Note]:
        """Notes for these channels that are in no message yet, oldest first."""
        ...

    def gather(self, message: Message) -> bool:
        """Store a message and drop the notes that are in it; False where another took them."""
        ...

    def messages(
        self, states: Collection[MessageState] = ("waiting",), limit: int = 1000
    ) -> list[Message]:
        """Messages in these states, oldest first of those that wait, else newest first."""
        ...

    def take_message(self, message: Message, token: str, now_us: int, until_us: int) -> bool:
        """Take a message that is due, until `until_us`; False where another took or sent it."""
        ...

    def save_message(self, message: Message) -> bool:
        """Store how a message stands that `token` holds; False where it holds it no more."""
        ...

    def last_sent_us(self, channel: str, integration: str) -> int:
        """When the newest message of an integration for a channel was put together; 0: never."""
        ...

    def prune(self, before_us: int) -> int:
        """Drop messages that were sent before; gives how many. Alerts are kept."""
        ...
