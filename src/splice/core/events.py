"""What flows in streams: events as they come, what becomes of them, and messages as they go out.

None of these holds a way back to itself, so the collector need not walk them (`gc=False`).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TypeAlias

import msgspec

from splice.core.call import Record

Headers: TypeAlias = "tuple[tuple[str, bytes], ...]"
"""Names and values in their order; a name may come twice."""

Partition: TypeAlias = "tuple[str, int]"
"""A stream, by its URL, and the number of a partition of it."""


class Origin(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an event stands: `stream` is a URL, as `kafka:orders` or `queue:order-screening`.

    The only partition of a queue is 0, and its offsets are the numbers of its rows.
    """

    stream: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.stream}/{self.partition}@{self.offset}"


class Event(msgspec.Struct, gc=False):
    """One message as it came, byte for byte.

    `value` is None for a tombstone. `attempts` are earlier ones that were counted durably. `token`
    is the fencing token of its lease; 0 where its stream knows no leases.
    """

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    at_us: int = 0  # Unix microseconds, as the sender says
    attempts: int = 0
    token: int = 0


class Message(msgspec.Struct, gc=False):
    """What is to be sent: `target` is a URL, as `kafka:decisions` or `https://…`.

    `id` is the same whenever the same message is sent again: receivers can drop the second.
    """

    id: str
    target: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Inbox(msgspec.Struct, frozen=True, gc=False):
    """An event that was answered: which call answered it, and what its body was.

    `event` is `event_id()`; `body` is `body_digest()`.
    """

    event: bytes
    body: bytes
    call_id: str


class DeadLetter(msgspec.Struct, gc=False):
    """An event that cannot be answered, as it came, with why and how often it was tried.

    `state` is `dead`, `replayed` or `dropped`. `id` is given by the store.
    """

    integration: str
    event: Event
    code: str
    where: str
    detail: str
    attempts: int
    at_us: int
    id: int = 0
    state: str = "dead"
    by: str = ""  # who replayed or dropped it


class Settled(msgspec.Struct, gc=False):
    """What becomes of one event: all of it is stored in one transaction, or none.

    `record` is of its call; None for a dead letter that never became one, and where an earlier call
    answered it. `inbox` is None where it was not answered now. `messages` go to the outbox.
    """

    event: Event
    record: Record | None = None
    inbox: Inbox | None = None
    messages: tuple[Message, ...] = ()
    dead: DeadLetter | None = None


class Mark(msgspec.Struct, frozen=True, gc=False):
    """How far a partition was begun: every event up to `offset` may have been run."""

    offset: int
    attempts: int = 0  # of the events that were begun and not settled


def event_id(integration: str, source: str, event: str) -> bytes:
    """16 bytes that name an event of an integration, by the id that its sender gave it."""
    text = f"{integration}\0{source}\0{event}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def place_id(integration: str, origin: Origin) -> bytes:
    """The same for an event without an id of its own: its place names it.

    Neighbours have neighbouring ids, which an index takes in faster than scattered ones.
    """
    partition = _partition_id(integration, origin.stream, origin.partition)
    return partition + origin.offset.to_bytes(8)


@lru_cache(maxsize=4096)
def _partition_id(integration: str, stream: str, partition: int) -> bytes:
    text = f"{integration}\0{stream}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=5).digest() + partition.to_bytes(3)


def body_digest(value: bytes) -> bytes:
    """8 bytes that tell one body from another."""
    return hashlib.blake2b(value, digest_size=8).digest()
