"""An audit event: who changed what, when and why; each names the hash of the one before."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

FIRST = "0" * 64
"""What the first event names as the hash before it."""


class AuditEvent(msgspec.Struct, frozen=True):
    """One control action.

    `action` is a noun and a verb (`model.register`, `rollout.start`), `subject` what it was done to
    (`credit@3`, `credit-decision`). `previous` is the hash of the event before, `sha256` the hash
    over everything else of this one: whoever changes one event breaks all that follow.
    """

    number: int
    at_us: int
    by: str
    action: str
    subject: str
    why: str = ""
    details: dict[str, Any] = {}  # JSON values
    previous: str = FIRST
    sha256: str = ""

    def hashed(self) -> str:
        """The hash that `sha256` must be, in hexadecimal."""
        bare = msgspec.structs.replace(self, sha256="")
        return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


def first_broken(events: list[AuditEvent], previous: str = FIRST) -> AuditEvent | None:
    """The first event that was changed, or before which one is missing; None where all hold.

    Args:
        events: Oldest first, without gaps.
        previous: The hash that the first of them must name.
    """
    for event in events:
        if event.previous != previous or event.sha256 != event.hashed():
            return event
        previous = event.sha256
    return None
