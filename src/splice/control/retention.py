"""Retention: texts of calls are dropped when they are as old as their declaration says.

What is counted stays, and so does what proves the calls: a hash in the place of what was dropped.
Evidence that is frozen is left alone, and all that is younger than it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import msgspec

from splice.control.protections import Protections
from splice.core.archives import Archived
from splice.core.call import Attempt, Problem, Record
from splice.core.erasure import EXPIRED
from splice.core.leaves import DIGEST, leaf_of
from splice.ports.archives import ArchiveFiles, ArchiveList
from splice.ports.duties import DutyStore
from splice.ports.subjects import SubjectStore

log = logging.getLogger("splice.retention")

CALLS = 500
"""Calls whose texts are dropped in one transaction: some tens of milliseconds."""


class Archive(msgspec.Struct, frozen=True):
    """The list of the archive, its files (opened when one is needed), and how one is removed."""

    calls: ArchiveList
    files: Callable[[], ArchiveFiles]
    remove: Callable[[Archived], None]


class Retention:
    """Drops what is old enough.

    Args:
        protections: What is declared.
        subjects: Drops texts of the ledger.
        duties: Knows what is frozen.
        archive: What there is of the archive.
    """

    def __init__(
        self,
        protections: Protections,
        subjects: SubjectStore,
        duties: DutyStore,
        archive: Archive,
    ) -> None:
        self._protections = protections
        self._subjects = subjects
        self._duties = duties
        self._archive = archive

    def step(self, now_us: int) -> bool:
        """Drop some; says whether there is more to drop at once."""
        more = False
        for name, keep_s in self._protections.kept().items():
            before_us = self._until(name, now_us - round(keep_s * 1e6))
            dropped, further = self._subjects.expire(name, before_us, CALLS, now_us)
            more = more or further
            dropped += self._subjects.expire_letters(name, before_us)
            for file in self._subjects.expirable_files(name, before_us):
                dropped += self._expire(file, now_us)
            if dropped:
                log.info("%s: texts of %d calls are no longer kept", name, dropped)
        return more

    def _expire(self, file: Archived, now_us: int) -> int:
        """A file without texts takes the place of one: what proves its calls is in it."""
        files = self._archive.files()
        part = self._archive.calls.next_part(file.day, file.integration)
        left = files.write(file.day, file.integration, part, _without_texts(files, file))
        # The list first: whoever finds a name in it must find the file.
        if not self._subjects.replace_file(file, left, now_us):
            return 0
        self._archive.remove(file)
        return file.calls

    def _until(self, integration: str, before_us: int) -> int:
        """Up to where texts may go: to the first of what is frozen, at the most."""
        frozen = [
            one.since_us
            for one in self._duties.freezes(integration)
            if one.keeps(integration, 0, before_us)
        ]
        return min([before_us, *frozen])


def _without_texts(files: ArchiveFiles, file: Archived) -> Iterator[Sequence[Record]]:
    for ids in files.ids(file):
        yield [_bare(one) for one in files.sealed(ids).values()]


def _bare(r: Record) -> Record:
    """What is left of a call: what is counted, and the hash of what it was."""
    if len(r.seal) == DIGEST:
        return r
    problem = r.problem
    return msgspec.structs.replace(
        r, entity=None, input=b"", gathered=(), context=None, prediction=None, reply=None,
        key=None, locked=b"", notes=(*r.notes, EXPIRED), seal=bytes.fromhex(leaf_of(r).payload),
        attempts=tuple([_without_why(one) for one in r.attempts]),
        problem=None if problem is None else Problem(problem.code, problem.where),
    )  # fmt: skip


def _without_why(one: Attempt) -> Attempt:
    return msgspec.structs.replace(one, why="") if one.why else one
