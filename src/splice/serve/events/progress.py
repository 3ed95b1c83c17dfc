"""Progress: how far each partition is. Only the highest contiguous finished offset counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from splice.core.events import Partition


class _Track:
    """One partition: what was begun, in its order, and which of it is finished already."""

    __slots__ = ("begun", "finished", "position", "seen", "told")

    def __init__(self) -> None:
        self.begun: deque[int] = deque()
        self.finished: set[int] = set()
        self.seen = -1
        self.position = -1  # first offset that is not finished; -1 while nothing is known
        self.told = -1


class Progress:
    """Offsets that were begun and finished, a partition each."""

    def __init__(self) -> None:
        self._tracks: dict[Partition, _Track] = {}

    def begin(self, partition: Partition, offsets: Iterable[int]) -> list[bool]:
        """Note that they are taken up; False for those that were before (they came twice)."""
        track = self._tracks.get(partition)
        if track is None:
            track = self._tracks[partition] = _Track()
        new: list[bool] = []
        for offset in offsets:
            is_new = offset > track.seen
            new.append(is_new)
            if is_new:
                track.seen = offset
                track.begun.append(offset)
        return new

    def done(self, partition: Partition, offsets: Iterable[int]) -> None:
        """They are settled."""
        track = self._tracks.get(partition)
        if track is None:  # the partition was taken away meanwhile
            return
        begun, finished = track.begun, track.finished
        for offset in offsets:
            if begun and begun[0] == offset:
                begun.popleft()
                track.position = offset + 1
                while finished and begun and begun[0] in finished:
                    track.position = begun.popleft() + 1
                    finished.discard(track.position - 1)
            elif offset > track.position:
                finished.add(offset)

    def moved(self) -> dict[Partition, int]:
        """Positions that are not told yet: of each partition the first offset not finished."""
        return {
            partition: track.position
            for partition, track in self._tracks.items()
            if track.position > track.told
        }

    def told(self, positions: dict[Partition, int]) -> None:
        """These are committed."""
        for partition, position in positions.items():
            if (track := self._tracks.get(partition)) is not None:
                track.told = max(track.told, position)

    def seen(self, partition: Partition) -> int:
        """The highest offset that was begun; -1 where none was."""
        track = self._tracks.get(partition)
        return -1 if track is None else track.seen

    def forget(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """They are another's now. Gives the positions of those that were begun here."""
        positions: dict[Partition, int] = {}
        for partition in partitions:
            track = self._tracks.pop(partition, None)
            if track is not None and track.position > track.told:
                positions[partition] = track.position
        return positions

    def partitions(self) -> list[Partition]:
        """Those of which something was begun."""
        return list(self._tracks)
