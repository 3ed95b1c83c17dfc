"""Flight: which events are taken up and not settled, and who of them waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import compress, groupby
from operator import attrgetter

from splice.core.events import Partition
from splice.serve.events.lanes import Lanes, Taken
from splice.serve.events.progress import Progress

_RECENT = 20_000
"""Ids that are remembered after they were settled: more than can be settled while one look-up of
the inbox is under way, which would not see them."""

_partition = attrgetter("partition")


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
        self._before: dict[Partition, int] = {}  # of each that went, what was taken up until then
        self._given_back: dict[bytes, int] = {}  # of a key, what was taken up so far goes back too
        self._recent: set[bytes] = set()  # ids that were settled, and those before them
        self._older: set[bytes] = set()
        self._doubles: dict[bytes, list[Taken] | None] = {}  # of each id that runs
        self.ran = self._lanes.leave  # they ran: gives those behind them, which may run now

    def take(self, taken: Sequence[Taken]) -> list[Taken]:
        """Those that are new here, and of partitions that are ours."""
        found: list[Taken] = []
        for partition, each in groupby(taken, _partition):
            if partition in self._gone:
                continue
            some = self._new(partition, [*each])
            self._of[partition] = self._of.get(partition, 0) + len(some)
            found += some
        for number, one in enumerate(found, self._count + 1):
            one.number = number
        self._count += len(found)
        self.taken += len(found)
        return found

    def _new(self, partition: Partition, some: list[Taken]) -> list[Taken]:
        if some[0].event.token:  # a queue leases each once
            return some
        new = self.progress.begin(partition, [one.event.origin.offset for one in some])
        return [*compress(some, new)]

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

    def none_goes_back(self, taken: Iterable[Taken]) -> bool:
        """Whether of the key of none of these an event went back to the queue."""
        back = self._given_back
        return not back or back.keys().isdisjoint([one.event.key for one in taken])

    def enter_all(self, taken: Sequence[Taken]) -> bool:
        """Whether all of them may run now, as nobody has their ids or keys; else none entered."""
        ids = dict.fromkeys([one.id for one in taken])
        if len(ids) < len(taken) or not self._doubles.keys().isdisjoint(ids):
            return False
        if not self._lanes.enter_all(taken):
            return False
        self._doubles.update(ids)
        for one in taken:
            one.entered = True
        return True

    def enter(self, one: Taken) -> bool:
        """Whether it may run now. Else its key's turn comes, or that of the event it doubles."""
        if one.id in self._doubles:
            doubles = self._doubles[one.id] or []
            self._doubles[one.id] = [*doubles, one]
            return False
        self._doubles[one.id] = None
        one.entered = True
        return self._lanes.enter(one)

    def start(self, taken: Iterable[Taken]) -> None:
        """They run, and that is an attempt of each."""
        for one in taken:
            one.tries += 1
            if not one.started:
                one.started = True
                self.started += 1

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

    def settled(self, taken: Sequence[Taken]) -> list[Taken]:
        """What became of these is stored. Gives their doubles, which are to be looked up again."""
        again: list[Taken] = []
        answered: list[bytes] = []
        # One pass: what is looked at has left the caches since it was made, and comes back once.
        for place, each in groupby(taken, _partition):
            offsets: list[int] = []
            count, before = 0, self._before.get(place, 0)
            for one in each:
                event, settled = one.event, one.settled
                count += 1
                if not event.token and one.number > before:
                    offsets.append(event.origin.offset)
                if one.started:
                    self.started -= 1
                if settled is not None and settled.inbox is not None:
                    answered.append(one.id)
                if one.entered and (doubles := self._doubles.pop(one.id, None)):
                    again += doubles
            self._out(place, count)
            if offsets:
                self.progress.done(place, offsets)
        self._recent.update(answered)
        if len(self._recent) >= _RECENT:
            self._recent, self._older = set(), self._recent
        return again

    def left(self, one: Taken) -> Sequence[Taken]:
        """It is not answered here. Gives its doubles, which are to be looked up again."""
        self._out(one.partition, 1)
        if one.started:
            self.started -= 1
        return (self._doubles.pop(one.id, None) or ()) if one.entered else ()

    def drop(self, partitions: Collection[Partition] | None) -> list[Taken]:
        """Those of the partitions (of all where None) that wait for their turn are not run here.

        Gives the doubles of these that are of other partitions: they are to be looked up again.
        """
        again: list[Taken] = []
        for one in self._lanes.drop(partitions):
            self._out(one.partition, 1)
            one.dropped = True
            for double in self._doubles.pop(one.id, None) or ():
                if partitions is None or double.partition in partitions:
                    self._out(double.partition, 1)
                    double.dropped = True
                else:
                    again.append(double)
        return again

    def _out(self, partition: Partition, count: int) -> None:
        self.taken -= count
        self._of[partition] -= count
        self.changed.set()

    def gone(self, partitions: Collection[Partition]) -> list[Taken]:
        """They are taken away; gives what `drop` gives."""
        self._gone |= set(partitions)
        return self.drop(partitions)

    def forget(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """What runs of them still moves no position any more; gives those not told yet."""
        for partition in partitions:
            self._before[partition] = self._count
        return self.progress.forget(partitions)

    @property
    def gave_away(self) -> bool:
        """Whether any partition ever was given away: else no event comes again."""
        return bool(self._before)

    def comes_again(self, one: Taken) -> bool:
        """Whether its partition was given away since: should it be back, so is the event."""
        return one.number <= self._before.get(one.partition, 0)

    def ours(self, partitions: Sequence[Partition]) -> None:
        """They are given to this process."""
        self._gone -= set(partitions)

    def is_ours(self, partition: Partition) -> bool:
        """Whether it was not taken away."""
        return partition not in self._gone
