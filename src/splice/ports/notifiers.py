"""Notifiers: how people, and systems of theirs, are told of alerts. Extension point.

A Protocol, the entry-point group `splice.notifiers`, and a contract suite
(`splice.testing.contracts.notifiers`). The name of the entry point is `kind` in `[alerts.NAME]`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from splice.core.alerts import Message


class Channel(msgspec.Struct, frozen=True):
    """A channel as the settings say it, with the secrets that they name; of one `[alerts.NAME]`.

    `options` are those that only one kind of notifier knows.
    """

    name: str
    kind: str
    url: str = ""
    secret_url: bool = False  # whoever knows it may post: it stands in no error
    to: tuple[str, ...] = ()
    sender: str = ""
    secret: str = ""
    user: str = ""
    password: str = ""
    timeout_s: float = 15.0
    console: str = ""  # address of the console, for links; empty where nobody said
    options: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {self.kind!r})"  # the rest may be secret


class Notifier(Protocol):
    """One channel. Made with a `Channel`; blocks; safe to be called from one thread at a time."""

    def tell(self, message: Message) -> None:
        """Deliver a message. It may come again under the same id: then it may be dropped.

        Raises:
            BusError: It was not taken, as far as can be told. It is tried again, after
                `retry_after` seconds at least; one that is not `retryable` is refused for what it
                says.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...
