"""Files kept under the hash of their bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from splice.core.errors import ModelUnavailable


class Kept(NamedTuple):
    """What a file's bytes are known by."""

    sha256: str
    size: int


class Blobs:
    """`<folder>/sha256/ab/abcdef…`; a file is there as a whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sha256"
        self._checked: dict[str, tuple[int, int, int]] = {}
        self._checking = threading.Lock()

    def keep(self, file: Path) -> Kept:
        """A durable copy of the file.

        Raises:
            OSError: It cannot be read, or the copy cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.open("rb") as source:
            number, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            try:
                digest = hashlib.sha256()
                with os.fdopen(number, "wb") as copy:  # mkstemp made it for its owner alone
                    while chunk := source.read(1024 * 1024):
                        digest.update(chunk)
                        copy.write(chunk)
                    size = copy.tell()
                    copy.flush()
                    os.fsync(copy.fileno())
                target = self._path(digest.hexdigest())
                if not target.parent.exists():
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    _sync_folder(self._folder)
                # Always replaced, so that registering a model again mends a damaged copy.
                os.replace(name, target)
                _sync_folder(target.parent)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name)
                raise
        return Kept(digest.hexdigest(), size)

    def path(self, sha256: str) -> Path:
        """Where the bytes are. Their hash is checked once, and again when the file has changed.

        Raises:
            ModelUnavailable: The file is gone, or its bytes have another hash.
        """
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise ModelUnavailable(f"model {sha256!r}", promised="a SHA-256 in hexadecimal")
        path = self._path(sha256)
        with self._checking:
            try:
                state = path.stat()
                seen = (state.st_size, state.st_mtime_ns, state.st_ino)
                if self._checked.get(sha256) == seen:
                    return path
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ModelUnavailable(
                    f"artifact {sha256[:12]}",
                    got=f"no readable file ({error.strerror})",
                    mend="register the model again, or restore the folder models.store",
                ) from error
            if found != sha256:
                raise ModelUnavailable(
                    f"artifact {sha256[:12]}",
                    got=f"{state.st_size} bytes of another hash, {found[:12]}…",
                    promised=f"{sha256[:12]}…",
                    mend="the file was truncated or changed: register the model again",
                )
            self._checked[sha256] = seen
        return path

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
