"""A folder of files by the SHA-256 of their content: written whole or not at all, never changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final, Self

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Store:
    """Keeps and finds files. A name that leads anywhere else is refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, digest: str) -> Path:
        """Where the file is.

        Raises:
            ValueError: That is no digest, or a link leads out of the store.
            FileNotFoundError: It is not there.
        """
        if not _DIGEST.fullmatch(digest):
            raise ValueError("the key of a document is the SHA-256 of its content")
        file = (self._folder / digest[:2] / digest).resolve()
        if not file.is_relative_to(self._folder.resolve()):
            raise ValueError(f"{digest} leads out of the store")
        if not file.is_file():
            raise FileNotFoundError(f"{digest} is not in the store")
        return file

    def incoming(self) -> Incoming:
        """A file that is being written."""
        return Incoming(self._folder)


class Incoming:
    """A file on its way into the store. What was not `keep`t is gone at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        number, self._name = tempfile.mkstemp(dir=self._folder, prefix=".incoming-")
        self._file = os.fdopen(number, "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            Path(self._name).unlink()

    def write(self, part: bytes) -> None:
        """The next part of its content."""
        self._file.write(part)
        self._digest.update(part)
        self.size += len(part)

    def keep(self) -> str:
        """Put it into the store for good; gives its key.

        Only when its bytes are on the disk does it get its name, and only when the name is on the
        disk, too, does this return: what is told of it later is never about a file that a power cut
        took away.
        """
        key = self._digest.hexdigest()
        place = self._folder / key[:2]
        place.mkdir(exist_ok=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        Path(self._name).replace(place / key)
        for folder in (place, self._folder):
            number = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
        return key
