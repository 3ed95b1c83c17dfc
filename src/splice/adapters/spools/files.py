"""A spool of files: one a batch, written whole and moved into place."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from splice.core.call import Record
from splice.core.errors import StoreError

_SUFFIX = ".records"


class FileSpool:
    """A Spool in one folder. Several processes may share it; each batch is one process's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Record])
        self._count = 0

    def save(self, records: Sequence[Record]) -> None:
        """Keep a batch, durable on return."""
        self._count += 1
        name = f"{time.time_ns():020d}-{os.getpid()}-{self._count}"
        partial = self._folder / f"{name}.partial"
        packed = self._encoder.encode(list(records))
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(partial, "wb", opener=_private) as file:
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self._folder / (name + _SUFFIX))
            _sync_folder(self._folder)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise StoreError(
                f"spool {self._folder.name}",
                got=error.strerror or str(error),
                mend="free the disk, or make the folder writable",
            ) from error

    def _files(self) -> list[Path]:
        try:
            return sorted(self._folder.glob(f"*{_SUFFIX}"))
        except OSError:
            return []

    def oldest(self) -> tuple[str, list[Record]] | None:
        """The oldest batch with its token, or None where nothing is kept."""
        for file in self._files():
            try:
                return file.name, self._decoder.decode(file.read_bytes())
            except FileNotFoundError:  # another process was quicker
                continue
            except OSError as error:  # too many open files, say: it is still a good batch
                raise StoreError(
                    f"spool {self._folder.name}", got=error.strerror or str(error)
                ) from error
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
                with suppress(OSError):
                    file.rename(file.with_suffix(".broken"))
        return None

    def discard(self, token: str) -> None:
        """Forget a batch: the ledger has it now."""
        (self._folder / token).unlink(missing_ok=True)

    def reject(self, record: Record, why: str) -> None:
        """Set aside a record that the ledger refuses by itself, for a person to look at."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{record.call_id}.rejected"
        with open(path, "wb", opener=_private) as file:
            file.write(msgspec.msgpack.encode({"why": why, "record": record}))

    def __len__(self) -> int:
        """How many batches are kept."""
        return len(self._files())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
