"""Lanes: events of one key run one after another, in their order; keys run side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import msgspec

from splice.core.events import Event, Partition, Settled
from splice.serve.events.letter import Letter


class Taken(msgspec.Struct, gc=False):
    """An event that was taken up, and what is known of it so far.

    `tries` counts attempts, this one included once it runs. `suspect` where its process died with
    it before: nothing else may run beside it. `settled` is what became of it.
    """

    event: Event
    partition: Partition
    letter: Letter | None = None
    id: bytes = b""
    unnamed: bool = False  # its id is that of its place
    digest: bytes = b""
    tries: int = 0
    number: int = 0  # in the order in which events are taken up here
    suspect: bool = False
    entered: bool = False  # it has the place of its id
    started: bool = False
    dropped: bool = False
    settled: Settled | None = None


def taken_of(events: Sequence[Event]) -> list[Taken]:
    """Events as they are taken up; those of a partition share its name, which is compared often."""
    taken: list[Taken] = []
    place: Partition = "", -1
    for event in events:
        origin = event.origin
        if origin.partition != place[1] or origin.stream != place[0]:
            place = origin.stream, origin.partition
        taken.append(Taken(event, place))
    return taken


class Lanes:
    """Who waits for whom. An event without a key waits for nobody."""

    def __init__(self) -> None:
        self._lanes: dict[bytes, deque[Taken] | None] = {}  # None: it runs, and nobody waits

    def enter(self, one: Taken) -> bool:
        """Whether it may run now; else it comes out of `leave` in its turn."""
        key = one.event.key
        if key is None:
            return True
        if key not in self._lanes:
            self._lanes[key] = None
            return True
        lane = self._lanes[key]
        if lane is None:
            lane = self._lanes[key] = deque()
        lane.append(one)
        return False

    def enter_all(self, taken: Sequence[Taken]) -> bool:
        """Whether all of them may run now, as their keys are free; else none has entered."""
        keys = [one.event.key for one in taken if one.event.key is not None]
        free = dict.fromkeys(keys)
        if len(free) < len(keys) or not self._lanes.keys().isdisjoint(keys):
            return False
        self._lanes.update(free)
        return True

    def leave(self, taken: Sequence[Taken]) -> list[Taken]:
        """They ran: those behind them, which may run now."""
        behind: list[Taken] = []
        pop = self._lanes.pop
        for one in taken:
            key = one.event.key
            if key is not None and (lane := pop(key, None)):
                self._lanes[key] = lane
                behind.append(lane.popleft())
        return behind

    def behind(self, one: Taken) -> list[Taken]:
        """Takes out all that wait behind it; it stays where it is."""
        key = one.event.key
        lane = None if key is None else self._lanes.get(key)
        if not lane:
            return []
        waiting = list(lane)
        lane.clear()
        return waiting

    def drop(self, partitions: Collection[Partition] | None) -> list[Taken]:
        """Takes out all that wait and are of these partitions (of any where None)."""
        out: list[Taken] = []
        for lane in filter(None, self._lanes.values()):
            whole = list(lane)
            lane.clear()
            for one in whole:
                (out if partitions is None or one.partition in partitions else lane).append(one)
        return out
