"""Retention: texts of calls are dropped when they are as old as their declaration says.

What is counted stays, and so does what proves the calls: a hash in the place of what was dropped.
Evidence that is frozen is left alone, and all that is younger than it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from splice.control.protections import Protections
from splice.core.archives import Archived
from splice.ports.duties import DutyStore
from splice.ports.subjects import SubjectStore

log = logging.getLogger("splice.retention")

CALLS = 500
"""Calls whose texts are dropped in one transaction: some tens of milliseconds."""


class Files(Protocol):
    """The list of the archive's files."""

    def files(self, integration: str | None = None, day: int | None = None) -> Sequence[Archived]:
        """The files of the archive."""
        ...


class Retention:
    """Drops what is old enough.

    Args:
        protections: What is declared.
        subjects: Drops texts of the ledger.
        duties: Knows what is frozen.
        files: The list of the archive's files.
        remove: Removes a file of the archive.
    """

    def __init__(
        self,
        protections: Protections,
        subjects: SubjectStore,
        duties: DutyStore,
        files: Files,
        remove: Callable[[Archived], None],
    ) -> None:
        self._protections = protections
        self._subjects = subjects
        self._duties = duties
        self._files = files
        self._remove = remove

    def step(self, now_us: int) -> bool:
        """Drop some; says whether there is more to drop at once."""
        more = False
        for name, keep_s in self._protections.kept().items():
            before_us = self._until(name, now_us - round(keep_s * 1e6))
            dropped, further = self._subjects.expire(name, before_us, CALLS, now_us)
            more = more or further
            dropped += self._subjects.expire_letters(name, before_us)
            for file in self._files.files(name):
                # The list first: whoever finds a name in it must find the file.
                if file.last_us < before_us and self._subjects.expire_file(file, now_us):
                    self._remove(file)
                    dropped += file.calls
            if dropped:
                log.info("%s: texts of %d calls are no longer kept", name, dropped)
        return more

    def _until(self, integration: str, before_us: int) -> int:
        """Up to where texts may go: to the first of what is frozen, at the most."""
        frozen = [
            one.since_us
            for one in self._duties.freezes(integration)
            if one.keeps(integration, 0, before_us)
        ]
        return min([before_us, *frozen])
