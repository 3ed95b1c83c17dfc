"""A letter: an event as a call wants it, whatever its format was."""

from __future__ import annotations

import msgspec

from splice.core.call import Trace
from splice.core.errors import EventError
from splice.serve.http.trace import trace_of


class Letter(msgspec.Struct, gc=False):
    """An event as a call wants it.

    `body` is JSON of the request. `id` is None where the sender gave none: then its place names it.
    `source` and `type` are empty where none were given. `key` is what the sender partitions by, and
    `correlation` groups it with others (`partitionkey` and `correlationid` of CloudEvents).
    """

    body: bytes
    id: str | None = None
    source: str = ""
    key: str | None = None
    trace: Trace | None = None
    type: str = ""
    correlation: str | None = None


def trace_from(parent: bytes | None) -> Trace | None:
    """The trace that a `traceparent` continues, with a fresh span; None where it is not valid."""
    return None if parent is None else trace_of({b"traceparent": parent})


def refuse_empty(value: bytes | None, where: str) -> bytes:
    """The bytes of an event.

    Raises:
        EventError: There are none.
    """
    if value:
        return value
    raise EventError(
        where,
        got="a tombstone: no value at all" if value is None else "an empty value",
        promised="a request",
        mend="events that only delete a key are no calls; give them a topic of their own",
    )
