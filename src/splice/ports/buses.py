"""Buses: streams that are read by a group of processes, and places that messages go to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from splice.core.events import Event, Message, Partition

Positions: TypeAlias = "Mapping[Partition, int]"
"""For each partition the offset of the first event that is not finished."""

Revoked: TypeAlias = "Callable[[Sequence[Partition], bool], Awaitable[Positions]]"
"""Called when partitions are taken away: let what runs of them end, and say how far they are.

The second argument says whether they are lost already: then nothing of them can be committed.
"""

Assigned: TypeAlias = "Callable[[Sequence[Partition]], Awaitable[None]]"
"""Called when partitions are given to this process, before the first event of them."""


class Source(Protocol):
    """A stream of events, read as a member of a group. Used from one event loop.

    `poll` must be called often even while every partition is paused: by it the group knows that
    this member lives.
    """

    stream: str

    async def start(self, assigned: Assigned, revoked: Revoked) -> None:
        """Join the group.

        Raises:
            BusError: The bus cannot be reached, or the stream does not exist.
        """
        ...

    async def poll(self, limit: int, seconds: float, *, ahead: int = 0) -> Sequence[Event]:
        """Up to `limit` events in the order of their partitions; none where none come in time.

        About so many more as `ahead` says are wanted soon: they may be read while these are worked
        on.

        Raises:
            BusError: The bus cannot be read now; poll again after a moment.
        """
        ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        """No further events of these, until they are resumed."""
        ...

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Go on with these."""
        ...

    async def commit(self, positions: Positions) -> None:
        """Say durably how far each partition is.

        Raises:
            BusError: It could not be said; the events will come again.
        """
        ...

    async def finished(self, events: Sequence[Event]) -> None:
        """These are settled. A source with leases forgets them; others need `commit` alone."""
        ...

    async def postpone(self, event: Event, due_us: int) -> bool:
        """Take an event back until later. False where the source cannot: then the caller holds it.

        Those of its key that came after it go back with it: the caller leaves them alone, too.
        `splice.core.events.Event.attempts` counts the attempt that was made.
        """
        ...

    async def release(self, events: Sequence[Event]) -> None:
        """These were not begun and will not be: a source with leases gives them to whoever asks."""
        ...

    async def close(self) -> None:
        """Leave the group; what was not committed comes again."""
        ...


class Sink(Protocol):
    """A place that messages go to."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Deliver all of them, in their order; returns when they are there for good.

        Raises:
            BusError: Some may not be there. Those with `retryable` may be sent again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Exchange(Protocol):
    """A bus that takes messages and the position of its source in one transaction."""

    async def start(self) -> None:
        """Take the place of whoever was here before: what he left open is gone.

        Raises:
            BusError: The bus cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...

    async def exchange(self, messages: Sequence[Message], positions: Positions) -> None:
        """All messages can be read and the positions are committed, or neither.

        Without either of them what one before left in doubt is brought to its end: until then the
        bus may tell nobody the positions that it was about.

        Raises:
            BusError: Neither; `retryable` where it may be tried again.
            Fenced: Another process has taken over; this one must not go on.
        """
        ...
