"""Signed heads in a file that is only ever appended to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from splice.core.errors import StoreError
from splice.core.heads import Note, notes

_TAIL = 16 * 1024  # bytes: some thirty heads


class HeadFile:
    """One note after the other, an empty line between. Written under a lock, synced.

    A note that a crash left half is no note for who reads; the whole one comes after it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._file)

    def newest(self) -> Note | None:
        """The last head of the file."""
        with self._errors():
            try:
                with self._file.open("rb") as opened:
                    return self._last(opened.fileno())
            except FileNotFoundError:
                return None

    def add(self, notes: list[Note]) -> None:
        """Append those that are newer than the last in the file, as a whole."""
        with self._errors():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self._file.exists()
            number = os.open(self._file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                fcntl.flock(number, fcntl.LOCK_EX)
                last = self._last(number)
                after = 0 if last is None else last.head.number
                body = "".join(f"\n{one.text}" for one in notes if one.head.number > after)
                _write(number, body.encode())
                os.fsync(number)
            finally:
                os.close(number)
            if is_new:
                _sync_folder(self._file.parent)

    def _last(self, number: int) -> Note | None:
        size = os.fstat(number).st_size
        found: list[Note] = []
        tail = _TAIL
        while True:
            body = os.pread(number, tail, max(0, size - tail))
            found = notes(body.decode("utf-8", "replace"))
            if found or tail >= size:
                return found[-1] if found else None
            tail *= 8

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise StoreError(
                str(self._file), got=str(error), promised="a file of signed heads",
                mend="see [audit] heads in splice.toml",
            ) from None  # fmt: skip


def _write(number: int, body: bytes) -> None:
    while body:
        body = body[os.write(number, body) :]


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
