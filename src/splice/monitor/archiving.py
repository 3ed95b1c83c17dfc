"""Archiving: calls older than the retention move from the ledger to files, a day at a time.

A day's files are written, synced and read back first. Then, in one transaction, they are listed in
place of the ledger's calls; only calls that are listed are ever deleted. Killed anywhere, nothing
is lost, and nothing is there twice for those who read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from splice.core.duties import Freeze, freeze_of
from splice.core.errors import StoreError
from splice.ports.archives import ArchiveFiles, ArchiveList

log = logging.getLogger("splice.archive")

_DAY_US = 86_400_000_000
_PAGES = 20  # pages of ids that are deleted in one step


class Archiver:
    """Moves what is old enough.

    Args:
        calls: The ledger's part.
        files: Where the files go.
        keep_s: How long calls stay in the ledger.
        freezes: What must stay where it is, asked anew in each step.
    """

    def __init__(
        self,
        calls: ArchiveList,
        files: ArchiveFiles,
        keep_s: float,
        freezes: Callable[[], Sequence[Freeze]] = tuple,
    ) -> None:
        self._calls = calls
        self._files = files
        self._keep_us = round(keep_s * 1e6)
        self._freezes = freezes

    def step(self, now_us: int) -> bool:
        """Move a day, or delete some of what was moved; says whether there is more to do.

        A day that cannot be moved (a call of it cannot be read) stays whole in the ledger, is
        told, and does not hold up the days after it. A day with frozen evidence stays, too.

        Raises:
            StoreError: No day could be moved.
        """
        day = self._calls.removing()
        if day is not None:
            self._remove(day)
            return True
        failed: StoreError | None = None
        freezes = self._freezes()
        day = self._calls.next_day(-1, before := (now_us - self._keep_us) // _DAY_US)
        while day is not None:
            if self._calls.rolled(day) and not self._frozen(day, freezes):
                try:
                    if self._move(day, now_us):
                        return True
                except StoreError as error:
                    failed = failed or error
            day = self._calls.next_day(day, before)
        if failed is not None:
            raise failed
        return False

    def _frozen(self, day: int, freezes: Sequence[Freeze]) -> bool:
        if not freezes:
            return False
        begin = day * _DAY_US
        return any(
            freeze_of(freezes, name, begin, begin + _DAY_US)
            for name in self._calls.integrations_of(day)
        )

    def _move(self, day: int, now_us: int) -> bool:
        found = [
            self._files.write(
                day, name, self._calls.next_part(day, name), self._calls.calls_of(day, name)
            )
            for name in self._calls.integrations_of(day)
        ]
        moved = self._calls.move(day, found, now_us)
        if moved:
            count = sum(one.calls for one in found)
            log.info("%d calls of day %d moved to %d files", count, day, len(found))
        return moved

    def _remove(self, day: int) -> None:
        pages = 0
        for file in self._calls.files(day=day):
            for page in self._files.ids(file):
                if not self._calls.delete(page):
                    continue
                pages += 1
                if pages == _PAGES:
                    return
        self._calls.delete_blocks(day)
