"""Folders of evidence: files written once, durably, each with its hash in a manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from splice.core.errors import SettingsError

MANIFEST = "manifest.json"


class File(msgspec.Struct, frozen=True):
    """One file of a folder."""

    path: str
    sha256: str
    size: int


class EvidenceFolder:
    """A new folder, for its owner alone.

    Args:
        folder: Where; it must be empty, or not be there.

    Raises:
        SettingsError: It holds something already, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[File] = []
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            filled = any(folder.iterdir())
        except OSError as error:
            raise SettingsError(str(folder), got=str(error), promised="a folder") from None
        if filled:
            raise SettingsError(
                str(folder), got="a folder that is not empty", mend="name one that is not there"
            )

    def write(self, path: str, pieces: Iterable[bytes]) -> File:
        """Write one file.

        Raises:
            SettingsError: It cannot be written.
        """
        sha256, size = hashlib.sha256(), 0
        target = self.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
                for piece in pieces:
                    sha256.update(piece)
                    size += len(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SettingsError(str(target), got=str(error), promised="a file") from None
        written = File(path, sha256.hexdigest(), size)
        self.files.append(written)
        return written

    def lines(self, path: str, nouns: Iterable[Any]) -> int:
        """Write nouns as JSON lines; gives how many."""
        count = 0

        def encoded() -> Iterator[bytes]:
            nonlocal count
            for one in nouns:
                count += 1
                yield msgspec.json.encode(one) + b"\n"

        self.write(path, encoded())
        return count

    def json(self, path: str, noun: Any) -> File:
        """Write one noun as JSON that a person can read."""
        return self.write(path, [msgspec.json.format(msgspec.json.encode(noun)), b"\n"])

    def close(self, **said: Any) -> str:
        """Write the manifest, which names every file with its hash; gives its own hash."""
        manifest = {**said, "files": list(self.files)}
        return self.write(MANIFEST, [msgspec.json.encode(manifest, order="sorted")]).sha256


def broken(folder: Path, sha256: str = "") -> list[str]:
    """What is wrong with a folder: files that are gone, changed or new, or another manifest."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        return [f"{MANIFEST}: {error.strerror}"]
    if sha256 and hashlib.sha256(raw).hexdigest() != sha256:
        return [f"{MANIFEST}: another than was noted"]
    try:
        listed = msgspec.convert(msgspec.json.decode(raw)["files"], list[File])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        return [f"{MANIFEST}: {error}"]
    wrong: list[str] = []
    for one in listed:
        try:
            with (folder / one.path).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            wrong.append(f"{one.path}: {error.strerror}")
            continue
        if found != one.sha256:
            wrong.append(f"{one.path}: changed")
    known = {MANIFEST, *(one.path for one in listed)}
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    return wrong + [f"{one}: not in the manifest" for one in sorted(there - known) if one != SIGNED]


SIGNED = "manifest.sig"
"""The signature of a folder, beside its manifest."""
