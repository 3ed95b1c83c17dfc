"""A vault in a file that only its owner can read."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from splice.adapters.vaults.keks import Ring, Stored, fresh, fresh_kek
from splice.core.vault_errors import VaultError
from splice.ports.vaults import Kek


class FileVault:
    """A Vault in a JSON file of mode 0600. Several processes may share it.

    A change by another process is seen at the next use. What a new version replaces is overwritten
    before it is let go of; a disk that writes elsewhere (flash, snapshots) may keep it all the
    same.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ring: Ring | None = None
        self._seen: tuple[int, int, int] | None = None
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """The file."""
        return str(self._path)

    def make(self, now_us: int) -> None:
        """Make the file with its first keys.

        Raises:
            VaultError: There is one already, or it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise VaultError(
                self.place, got="a vault that is there already", mend="splice encryption status"
            ) from None
        except OSError as error:
            raise self._error(error) from error
        with os.fdopen(handle, "wb") as file:
            file.write(_text(fresh(now_us)))
            file.flush()
            os.fsync(file.fileno())
        _sync(self._path.parent)

    def keks(self) -> Sequence[Kek]:
        """Those that there are, the one that wraps now first."""
        return self._read().keks()

    def wrap(self, key: bytes, bound: bytes) -> tuple[str, bytes]:
        """The key as it may be stored, and the name of what wrapped it."""
        return self._read().wrap(key, bound)

    def unwrap(self, wrapped: bytes, kek: str, bound: bytes) -> bytes:
        """The key."""
        return self._read().unwrap(wrapped, kek, bound)

    def index_key(self) -> bytes:
        """32 bytes, the same for ever."""
        return self._read().index_key

    def rotate(self, now_us: int) -> Kek:
        """Wrap with a new key-encryption key from now on."""
        with self._alone():
            stored = self._read().stored
            new = fresh_kek(now_us)
            self._write(Stored(stored.index, (new, *stored.keks)))
        return Kek(new.id, new.made_us)

    def destroy(self, kek: str) -> None:
        """Destroy a key-encryption key, and overwrite the file that had it."""
        with self._alone():
            stored = self._read().stored
            if stored.keks[0].id == kek:
                raise VaultError(
                    self.place, got=f"{kek}, which wraps now", promised="one of before",
                    mend="splice encryption rotate",
                )  # fmt: skip
            left = tuple(one for one in stored.keks if one.id != kek)
            if len(left) < len(stored.keks):
                self._write(Stored(stored.index, left))

    def _read(self) -> Ring:
        try:
            now = os.stat(self._path)
        except OSError as error:
            raise self._error(error) from error
        seen = now.st_ino, now.st_mtime_ns, now.st_size
        with self._lock:
            if self._ring is None or seen != self._seen:
                self._ring = Ring(self._bytes(now.st_mode), self.place)
                self._seen = seen
            return self._ring

    def _bytes(self, mode: int) -> bytes:
        if stat.S_IMODE(mode) & 0o077:
            raise VaultError(
                self.place, got=f"a file that others may read (mode {stat.S_IMODE(mode):o})",
                promised="one of its owner alone", mend=f"chmod 600 {self._path}",
            )  # fmt: skip
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise self._error(error) from error

    def _write(self, stored: Stored) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        try:
            with suppress(FileNotFoundError):
                temporary.unlink()
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(_text(stored))
                file.flush()
                os.fsync(file.fileno())
            with open(self._path, "r+b") as old:  # before its name goes to the new one
                size = os.fstat(old.fileno()).st_size
                temporary.replace(self._path)
                _sync(self._path.parent)
                old.write(bytes(size))
                old.flush()
                os.fsync(old.fileno())
        except OSError as error:
            raise self._error(error) from error

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One process at a time changes the file."""
        import fcntl  # not there on every system, and needed for changes only

        try:
            handle = os.open(
                self._path.with_name(f".{self._path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600
            )
        except OSError as error:
            raise self._error(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _error(self, error: OSError) -> VaultError:
        return VaultError(
            self.place, got=error.strerror or str(error), promised="the vault of this project",
            mend="splice encryption init makes one; a lost one comes back from its own copy only",
        )  # fmt: skip


def open_file_vault(path: Path, _: str) -> FileVault:
    """The vault at `file:PATH`."""
    return FileVault(path)


def _text(stored: Stored) -> bytes:
    return msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
