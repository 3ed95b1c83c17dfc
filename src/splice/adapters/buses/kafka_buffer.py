"""What a reading thread has read and the event loop has not taken: at most a batch ahead."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from splice.core.events import Event, Partition


class Buffer:
    """Events in their order, without those of partitions that are paused.

    `changed` guards everything here, and is told when there is room again.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.paused: set[Partition] = set()
        self._now: list[Event] = []
        self._next: list[Event] = []
        self._held: dict[Partition, list[Event]] = {}

    @property
    def has_room(self) -> bool:
        """Whether the next batch may be read."""
        return not self._next

    def put(self, events: Sequence[Event]) -> None:
        """A batch that was read."""
        with self.changed:
            self._next.extend(events)

    def take(self, limit: int) -> list[Event]:
        """Up to `limit` events, the oldest first."""
        taken: list[Event] = []
        with self.changed:
            while not taken and (self._now or self._next):
                if not self._now:
                    self._now, self._next = self._next, []
                    self.changed.notify_all()
                if self.paused:
                    taken = self._take_unpaused(limit)
                else:
                    taken, self._now = self._now[:limit], self._now[limit:]
        return taken

    def _take_unpaused(self, limit: int) -> list[Event]:
        taken: list[Event] = []
        for place, event in enumerate(self._now):
            if len(taken) == limit:
                self._now = self._now[place:]
                return taken
            partition = (event.origin.stream, event.origin.partition)
            if partition in self.paused:
                self._held.setdefault(partition, []).append(event)
            else:
                taken.append(event)
        self._now = []
        return taken

    def pause(self, partitions: Collection[Partition]) -> None:
        """Hold back events of these."""
        with self.changed:
            self.paused.update(partitions)
            self.changed.notify_all()

    def resume(self, partitions: Collection[Partition]) -> None:
        """Give what was held back of these first."""
        with self.changed:
            self.paused.difference_update(partitions)
            held = [event for one in partitions for event in self._held.pop(one, ())]
            if held:
                self._now = held + self._now
            self.changed.notify_all()

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget these: their events, and that they were paused."""
        gone = frozenset(partitions)
        with self.changed:
            self.paused -= gone
            for one in gone:
                self._held.pop(one, None)
            self._now = _without(gone, self._now)
            self._next = _without(gone, self._next)
            self.changed.notify_all()


def _without(gone: frozenset[Partition], events: list[Event]) -> list[Event]:
    return [one for one in events if (one.origin.stream, one.origin.partition) not in gone]
