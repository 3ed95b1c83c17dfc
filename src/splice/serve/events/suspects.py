"""Suspects: events that were begun and not settled when their process died.

One of them may have killed it. They run alone, each counted durably before, so that the one that
kills its process again and again becomes a dead letter, and its neighbours are answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from splice.core.events import Mark, Partition
from splice.ports.events import EventStore
from splice.serve.events.lanes import Taken

_NONE = Mark(-1)


class Suspects:
    """What an earlier reader of our partitions left behind."""

    def __init__(self, store: EventStore, consumer: str) -> None:
        self._store = store
        self._consumer = consumer
        self._marks: dict[Partition, Mark] = {}
        self._attempts: dict[Partition, dict[int, int]] = {}
        self._none = True  # as it is where everybody before us came to an end

    def learn(self, partitions: Sequence[Partition]) -> None:
        """Read what is known of partitions that are given to us. Blocks.

        Raises:
            StoreError: It cannot be read now.
        """
        marks = self._store.marks(self._consumer, partitions)
        for partition in partitions:
            self._marks[partition] = marks.get(partition, _NONE)
            self._attempts[partition] = self._store.attempts(self._consumer, partition, 0)
        begun = any(mark.offset >= 0 for mark in self._marks.values())
        self._none = not (begun or any(self._attempts.values()))

    def look_at(self, taken: Sequence[Taken]) -> None:
        """Note of each whether it is one, and how often it was tried before."""
        alone = len(taken) == 1
        for one in taken:
            event = one.event
            if event.token:  # a queue gives suspects alone, and has counted
                one.tries = event.attempts
                one.suspect = alone and event.attempts > 0
                continue
            if self._none:
                continue
            offset = event.origin.offset
            one.suspect = offset <= self._marks.get(one.partition, _NONE).offset
            counted = self._attempts.get(one.partition)
            if counted and offset in counted:
                one.tries = counted[offset] + 1
            elif one.suspect:
                one.tries = 1
