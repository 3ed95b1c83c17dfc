"""An audit event: who changed what, from where and why; each names the hash of the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

FIRST = "0" * 64
"""What the first event names as the hash before it."""


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """From where somebody acted. What is empty is not known, or does not apply.

    `surface` is `cli`, `console`, `api` or `chore`; empty within a program. `address` is the peer's
    IP address (console, API), `host` the name of the machine whose process acted. `command` is what
    was done there: `splice release apply`, `POST /console/…`, the name of a chore; never its
    arguments, which may hold secrets.
    """

    surface: str = ""
    address: str = ""
    host: str = ""
    command: str = ""


NOWHERE = Origin()

# Not an argument: some forty actions in twenty stores write events, and none of them may be able
# to forget it. It is scoped to the task that acts, and `asyncio.to_thread` carries it along.
_origin: ContextVar[Origin] = ContextVar("splice_origin", default=NOWHERE)


@contextmanager
def acting(origin: Origin) -> Generator[None]:
    """What is done within is done from there."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def origin() -> Origin:
    """From where the running task acts."""
    return _origin.get()


class AuditEvent(msgspec.Struct, frozen=True):
    """One control action.

    `action` is a noun and a verb (`model.register`, `rollout.start`), `subject` what it was done to
    (`credit@3`, `credit-decision`). `before` and `after` are JSON values: what it was and what it
    became; None where there was or is nothing (the first version has no before, what is removed no
    after). `details` says what is neither. `previous` is the hash of the event before, `sha256` the
    hash over everything else of this one: whoever changes one event breaks all that follow.
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
    before: Any = None  # a JSON value, and so the next
    after: Any = None
    origin: Origin = NOWHERE

    def canonical(self) -> bytes:
        """The bytes that are hashed: sorted JSON. The leaf of the audit tree is over them, too."""
        told: dict[str, Any] = {name: getattr(self, name) for name in _FIRST_FIELDS}
        told["sha256"] = ""
        # Left out where they say nothing: events of before there were these fields keep their hash.
        for name, nothing in (("before", None), ("after", None), ("origin", NOWHERE)):
            if (value := getattr(self, name)) != nothing:
                told[name] = value
        return msgspec.json.encode(told, order="sorted")

    def hashed(self) -> str:
        """The hash that `sha256` must be, in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()


_FIRST_FIELDS = ("number", "at_us", "by", "action", "subject", "why", "details", "previous")


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
