"""Flight: which events are taken up and not settled, and who of them waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from splice.core.events import Partition
from splice.serve.events.lanes import Lanes, Taken
from splice.serve.events.progress import Progress

_RECENT = 20_000
"""Ids that are remembered after they were settled: more than can be settled while one look-up of
the inbox is under way, which would not see them."""


_NOBODY: Sequence[Taken] = ()


class Flight:
    """Counts and places; nothing here waits."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.stopping = asyncio.Event()
        self.changed = asyncio.Event()  # something was settled, left, or is to stop
        self.taken = 0  # taken up and not settled
        self.started = 0  # of these, how many run or ran
        self.holding = 0  # events for which nothing can be answered now
        self._lanes = Lanes()
        self._gone: set[Partition] = set()
        self._of: dict[Partition, int] = {}  # taken up and not settled, a partition each
        self._count = 0
        self._given_back: dict[bytes, int] = {}  # of a key, what was taken up so far goes back too
        self._recent: set[bytes] = set()  # ids that were settled, and those before them
        self._older: set[bytes] = set()
        self._doubles: dict[bytes, list[Taken] | None] = {}  # of each id that runs
        self.ran = self._lanes.leave  # it ran: gives the one behind it, which may run now

    def take(self, one: Taken) -> bool:
        """Whether it is new here and its partition is ours."""
        event, partition = one.event, one.partition
        if partition in self._gone:
            return False
        if not event.token and not self.progress.begin(partition, event.origin.offset):
            return False
        self.taken += 1
        self._count += 1
        one.number = self._count
        self._of[partition] = self._of.get(partition, 0) + 1
        return True

    def of(self, partitions: Collection[Partition]) -> int:
        """How many of these are taken up and not settled."""
        return sum(self._of.get(partition, 0) for partition in partitions)

    def none_stale(self, ids: Collection[bytes]) -> bool:
        """Whether none of these was settled a while ago."""
        return self._recent.isdisjoint(ids) and self._older.isdisjoint(ids)

    def is_stale(self, one: Taken) -> bool:
        """Whether its id was settled since it was looked up: then it must be looked up again."""
        return one.id in self._recent or one.id in self._older

    def give_back(self, key: bytes | None) -> None:
        """An event of the key goes back to its queue: those behind it that are here must, too."""
        if key is None:
            return
        self._given_back.pop(key, None)
        self._given_back[key] = self._count
        if len(self._given_back) > _RECENT:
            del self._given_back[next(iter(self._given_back))]  # the one of longest ago

    def goes_back(self, one: Taken) -> bool:
        """Whether an event before it went back to the queue after this one was taken up."""
        key = one.event.key
        return key is not None and one.number <= self._given_back.get(key, 0)

    def enter(self, one: Taken) -> bool:
        """Whether it may run now. Else its key's turn comes, or that of the event it doubles."""
        if one.id in self._doubles:
            doubles = self._doubles[one.id] or []
            self._doubles[one.id] = [*doubles, one]
            return False
        self._doubles[one.id] = None
        one.entered = True
        return self._lanes.enter(one)

    @property
    def calm(self) -> bool:
        """Whether nothing stops and no partition was taken away."""
        return not (self._gone or self.stopping.is_set())

    def runs(self, one: Taken) -> bool:
        """Whether it is still wanted here, as it is about to run."""
        return not (one.dropped or one.partition in self._gone or self.stopping.is_set())

    def behind(self, one: Taken) -> list[Taken]:
        """Takes out those that wait behind it."""
        return self._lanes.behind(one)

    def settled(self, one: Taken, *, answered: bool) -> Sequence[Taken]:
        """It is over. Gives its doubles, which are to be looked up again."""
        self._out(one)
        if one.started:
            self.started -= 1
        if answered:
            if len(self._recent) >= _RECENT:
                self._recent, self._older = set(), self._recent
            self._recent.add(one.id)
        return (self._doubles.pop(one.id, None) or _NOBODY) if one.entered else _NOBODY

    def drop(self, partitions: Collection[Partition] | None) -> list[Taken]:
        """Those of the partitions (of all where None) that wait for their turn are not run here.

        Gives the doubles of these that are of other partitions: they are to be looked up again.
        """
        again: list[Taken] = []
        for one in self._lanes.drop(partitions):
            self._out(one)
            one.dropped = True
            for double in self._doubles.pop(one.id, None) or ():
                if partitions is None or double.partition in partitions:
                    self._out(double)
                    double.dropped = True
                else:
                    again.append(double)
        return again

    def _out(self, one: Taken) -> None:
        self.taken -= 1
        self._of[one.partition] -= 1
        self.changed.set()

    def gone(self, partitions: Collection[Partition]) -> list[Taken]:
        """They are taken away; gives what `drop` gives."""
        self._gone |= set(partitions)
        return self.drop(partitions)

    def ours(self, partitions: Sequence[Partition]) -> None:
        """They are given to this process."""
        self._gone -= set(partitions)

    def is_ours(self, partition: Partition) -> bool:
        """Whether it was not taken away."""
        return partition not in self._gone
