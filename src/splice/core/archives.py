"""Archives: calls that moved from the ledger into files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from splice.core.call import Record

_encode = msgspec.msgpack.Encoder().encode


class Archived(msgspec.Struct, frozen=True):
    """A file of the archive: calls of one day (by their ids, days since 1970) and integration.

    Calls that came after their day was archived are in a further `part`. `file` is relative to the
    folder of the archive. `sha256` is of the file's bytes.
    """

    day: int
    integration: str
    part: int
    file: str
    calls: int
    bytes: int
    sha256: str
    first_us: int  # asked first and last
    last_us: int


class Digest:
    """A number for the calls that passed: two that agree had the same calls, whole, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.calls = 0

    def add(self, records: Iterable[Record]) -> None:
        """Some more calls."""
        for record in records:
            self._hash.update(_encode(record))
            self.calls += 1

    @property
    def value(self) -> tuple[int, str]:
        """How many, and their hash."""
        return self.calls, self._hash.hexdigest()
