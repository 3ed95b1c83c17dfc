"""Together: simultaneous identical questions are put once, and all who wait get the one answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from splice.core.chat import WireReply
from splice.core.errors import RequestError, SpliceError

_FAILURES = 2
"""So often is the same question tried on behalf of those who wait, before all are told that it
failed. One more try outlives a passing fault; one try for each of two hundred who wait, one after
the other, would hold the last ones up until their deadlines, for the same answer."""


class Together:
    """Who asks what now; for one event loop.

    Keys carry the tenant, so that nothing is shared between two.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    async def join(self, key: str, seconds: float) -> Turn | WireReply:
        """A `Turn` where this caller must ask itself, else the answer that another one got.

        Whoever gets a `Turn` must end it: with `give`, `fail` or `leave`.

        Raises:
            TimeoutError: Nobody had the answer within `seconds`.
            SpliceError: The question failed for those who asked; as in `Turn.fail`.
        """
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = group = _Group()
            return Turn(self._groups, key, group)
        place: asyncio.Future[Turn | WireReply] = asyncio.get_running_loop().create_future()
        group.waiting.append(place)
        try:
            async with asyncio.timeout(seconds):
                return await place
        except BaseException:
            group.left(place)
            raise

    @property
    def asking(self) -> int:
        """How many different questions are being asked now."""
        return len(self._groups)


class Turn:
    """The duty of one caller to ask for all who wait.

    Its first ending counts, further ones do nothing: `leave` may stand in a `finally`.
    """

    __slots__ = ("_group", "_groups", "_key", "_over")

    def __init__(self, groups: dict[str, _Group], key: str, group: _Group) -> None:
        self._groups = groups
        self._key = key
        self._group = group
        self._over = False

    def give(self, reply: WireReply) -> None:
        """Everyone who waits gets this answer; it must be whole."""
        if not self._end():
            return
        self._close()
        for place in self._group.places():
            place.set_result(reply)

    def fail(self, error: SpliceError) -> None:
        """The question failed, and the next one in line asks again.

        Where that was tried already, or where the request itself is wrong, everyone gets this
        error instead.
        """
        if not self._end():
            return
        self._group.failures += 1
        if self._group.failures < _FAILURES and not isinstance(error, RequestError):
            self._hand_on()
            return
        self._close()
        for place in self._group.places():
            place.set_exception(error)

    def leave(self) -> None:
        """This caller is gone, which says nothing of the question: the next one in line asks."""
        if self._end():
            self._hand_on()

    def _end(self) -> bool:
        first, self._over = not self._over, True
        return first

    def _close(self) -> None:
        del self._groups[self._key]  # who asks from here on begins anew

    def _hand_on(self) -> None:
        place = next(self._group.places(), None)
        if place is None:
            self._close()
        else:
            place.set_result(Turn(self._groups, self._key, self._group))


class _Group:
    """Those who wait for one answer, in the order they came."""

    __slots__ = ("failures", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[Turn | WireReply]] = deque()
        self.failures = 0

    def places(self) -> Iterator[asyncio.Future[Turn | WireReply]]:
        """Takes them from the front, those who are gone left out."""
        while self.waiting:
            place = self.waiting.popleft()
            if not place.done():
                yield place

    def left(self, place: asyncio.Future[Turn | WireReply]) -> None:
        """A waiting caller went away: at worst in the moment in which it was handed the turn."""
        with suppress(ValueError):
            self.waiting.remove(place)
        if place.done() and not place.cancelled() and place.exception() is None:
            handed = place.result()
            if isinstance(handed, Turn):
                handed.leave()
