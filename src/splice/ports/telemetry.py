"""A tracer is told of each finished call and turns its record into spans."""

from __future__ import annotations

from typing import Protocol

from splice.core.call import Record


class Tracer(Protocol):
    """Exports finished calls; never blocks and never raises into a call."""

    def finished(self, record: Record) -> None:
        """A call ended; its attempts carry their own times."""
        ...

    def close(self) -> None:
        """Send what waits, for a bounded time."""
        ...
