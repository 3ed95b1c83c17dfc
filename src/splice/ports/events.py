"""Where events are kept: the inbox, the outbox, dead letters, and the embedded queue.

All block; the engine calls them from threads of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from splice.core.events import DeadLetter, Event, Inbox, Mark, Message, Partition, Settled


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A message of the outbox, and how often it was tried to be sent.

    `why` is what went wrong the last time; `due_us` is when it is tried next, 0 for never: it was
    given up.
    """

    number: int
    message: Message
    attempts: int
    due_us: int = 0
    why: str = ""


class EventStore(Protocol):
    """What became of events, in the ledger's own database."""

    def answered(self, events: Sequence[bytes]) -> dict[bytes, Inbox]:
        """Those of the events that were answered, by `event_id`."""
        ...

    def settle(
        self, settled: Sequence[Settled], *, sent: Sequence[int] = (), now_us: int
    ) -> Sequence[Settled]:
        """Store what became of events, in one transaction, durable on return.

        Records are appended, inbox rows and dead letters stored, messages put in the outbox; rows
        of an embedded queue are deleted (events with a `token`); `sent` are numbers of messages
        that were delivered and leave the outbox. A message whose target is `queue:NAME` goes into
        that queue at once, and needs no outbox; one for `table:NAME` becomes a row of that table,
        unless there is one with its id. What was settled before by the same calls is not stored
        again: after an error that leaves open what happened, settle the same once more.

        Returns:
            Those that came too late: their lease had passed to another, or the event was answered
            by another meanwhile. Only their records are stored: those calls were made and paid.

        Raises:
            StoreError: Nothing was stored.
            SettingsError: A message is for a table of a name that cannot be; nothing was stored.
        """
        ...

    def prepare(self, targets: Sequence[str]) -> None:
        """Make the tables of those of the targets that are `table:NAME`; `settle` would as well.

        Raises:
            SettingsError: That cannot be the name of a table, or a table of that name is another's.
        """
        ...

    def prune_inbox(
        self, before_us: int, *, after: bytes = b"", limit: int = 10_000
    ) -> tuple[int, bytes]:
        """Forget events that were answered before that time, of the next `limit` after `after`.

        Gives how many were forgotten, and what `after` is the next time; empty at the end.
        """
        ...

    def begin(self, consumer: str, marks: Mapping[Partition, Mark]) -> None:
        """Note durably that the events of a partition, up to there, may be running from now on.

        A mark never goes back: one with a lower offset than the one that stands changes nothing.

        What is found begun and not settled after a crash is run alone, so that the one that kills
        its process is known, and is counted.
        """
        ...

    def end(self, consumer: str, partitions: Sequence[Partition]) -> None:
        """Forget the marks of partitions in which nothing runs any more."""
        ...

    def marks(self, consumer: str, partitions: Sequence[Partition]) -> dict[Partition, Mark]:
        """The marks that an earlier run left."""
        ...

    def count_attempt(self, consumer: str, events: Sequence[Event]) -> None:
        """Count one more attempt of each, durably, before it is made."""
        ...

    def attempts(self, consumer: str, partition: Partition, from_offset: int) -> dict[int, int]:
        """Counted attempts of events that are not settled, by offset.

        `settle` forgets the counts of what it settles.
        """
        ...


class OutboxStore(Protocol):
    """Messages that are still to be sent."""

    def take_outbox(
        self,
        schemes: Sequence[str],
        limit: int,
        holder: str,
        *,
        now_us: int,
        lease_us: int,
        without: Sequence[str] = (),
    ) -> list[Waiting]:
        """The oldest messages that are due, in their order, leased to `holder`.

        Of targets `scheme:…` only, and of none in `without`: those have no room now. Those of one
        target and key keep their order: none is given while an earlier one is leased to another
        or waits for its time. One that was given up holds up none.
        """
        ...

    def sent(self, numbers: Sequence[int]) -> None:
        """They were delivered: forget them."""
        ...

    def postpone(self, number: int, *, due_us: int, why: str) -> None:
        """It was tried and could not be delivered; try again at `due_us`."""
        ...

    def let_go(self, numbers: Sequence[int], *, due_us: int) -> None:
        """End their leases: they were not tried, and come again at `due_us`."""
        ...

    def give_up(self, number: int, *, why: str) -> None:
        """It was tried and can never be delivered: it stays to be seen, and is not tried again."""
        ...

    def outbox(self, *, given_up: bool = False, after: int = 0, limit: int = 100) -> list[Waiting]:
        """Messages to be seen by people, the oldest first; `after` is the number of the last one.

        With `given_up` those only.
        """
        ...

    def send_again(self, numbers: Sequence[int], *, now_us: int, by: str = "") -> int:
        """Messages that wait or were given up are due now, as if never tried; gives how many.

        Audited where `by` says who asked for it.
        """
        ...

    def outbox_size(self) -> int:
        """How many wait; those that were given up do not."""
        ...


class DeadLetterStore(Protocol):
    """Events that could not be answered."""

    def dead_letters(
        self,
        integration: str | None = None,
        *,
        states: Sequence[str] = ("dead",),
        before: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """The newest first, without their values; `before` is the id of the last one before."""
        ...

    def dead_letter(self, number: int) -> DeadLetter | None:
        """One, whole."""
        ...

    def replay(self, numbers: Sequence[int], *, by: str, now_us: int) -> list[int]:
        """Put them back into the stream they came from, in one transaction with an audit event.

        Into an embedded queue at once; for another stream as a message in the outbox. Gives the
        numbers of those that were dead and are replayed now; others are passed over.
        """
        ...

    def drop(self, numbers: Sequence[int], *, by: str, why: str, now_us: int) -> list[int]:
        """Give them up, with an audit event; they stay to be read, without their bodies."""
        ...


class QueueStore(Protocol):
    """The embedded durable queue: first in, first out a key, several processes at once."""

    def put(self, queue: str, events: Sequence[Event], *, now_us: int) -> list[int]:
        """Store events, durable on return; gives their numbers. `queue` is a name, and no URL.

        Their origins, attempts and tokens are not looked at: a queue gives its own.
        """
        ...

    def take(
        self, queue: str, limit: int, holder: str, *, now_us: int, lease_us: int
    ) -> list[Event]:
        """Lease the oldest that are due, in their order, each with a new token.

        Its attempt is counted in the same transaction: `attempts` of an event are those before it,
        ended or not. An event is passed over while an earlier one of its key is leased to another
        or waits for its time. Events whose attempt ended without a word (their lease ran out) come
        alone, so that the one that kills its process is known; leases of later ones of its key end
        with it, for its holder may live, and they must not overtake it.
        """
        ...

    def extend(self, queue: str, events: Sequence[Event], *, until_us: int) -> list[Event]:
        """Hold them longer. Gives those whose lease has passed to another meanwhile."""
        ...

    def give_back(self, queue: str, events: Sequence[Event], *, due_us: int, tried: bool) -> None:
        """End their leases; they come again at `due_us`.

        Not `tried`: the attempt was not made after all, and does not count.
        """
        ...

    def depth(self, queue: str) -> int:
        """How many are stored, leased or not."""
        ...
