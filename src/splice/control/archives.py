"""Archives with one model in them: what is inside is bounded, and never chooses where it lands."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NoReturn, Protocol

import msgspec

from splice.control.artifacts import Kind, kind_of, small_directory
from splice.core.errors import ModelUnavailable

_MODELS: tuple[Kind, ...] = ("onnx", "lightgbm", "xgboost")
_CARD = "card.toml"
_CARD_MOST = 1024 * 1024
_NOTE_MOST = 64 * 1024  # a long name in a tar
_PART = 1024 * 1024


class Bounds(msgspec.Struct, frozen=True):
    """What an archive may hold."""

    files: int = 256
    total: int = 2 * 1024 * 1024 * 1024  # bytes, unpacked
    ratio: int = 100  # unpacked to packed; a forest of trees as text packs about 10 to 1


class Contents(msgspec.Struct, frozen=True):
    """The one model of an archive, for as long as it is open."""

    model: Path
    name: str  # in the archive
    kind: Kind
    card: str = ""  # text of card.toml


@contextmanager
def opened(file: Path, kind: Kind, bounds: Bounds | None = None) -> Generator[Contents]:
    """The model in a zip or a tar, unpacked in a private folder that is removed afterwards.

    Raises:
        ModelUnavailable: It is damaged or too large, a name in it leads elsewhere, it holds a link,
            a device or a pickle, or not exactly one model.
    """
    limits = bounds or Bounds()
    with tempfile.TemporaryDirectory(prefix="splice-archive-") as folder:
        try:
            found = _zip(file, Path(folder), limits) if kind == "zip" else None
            unpacked = found or _tar(file, Path(folder), limits)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError) as error:
            _refuse(file, f"a damaged archive ({error})", "pack it again")
        except (NotImplementedError, RuntimeError) as error:  # an old method, or a password
            _refuse(file, f"an archive that cannot be read ({error})", "pack it without a password")
        yield _one_model(file, unpacked)


def _one_model(file: Path, unpacked: dict[str, Path]) -> Contents:
    models: list[tuple[str, Path, Kind]] = []
    card = ""
    for name, path in unpacked.items():
        kind = kind_of(path) if path.stat().st_size else "unknown"
        if kind == "pickle":
            _refuse(file, f"a pickle in it, {name}", "export the model to ONNX")
        if PurePosixPath(name).name == _CARD:
            card = path.read_bytes()[:_CARD_MOST].decode("utf-8", "replace")
        elif kind in _MODELS:
            models.append((name, path, kind))
    if len(models) != 1:
        names = ", ".join(name for name, _, _ in models[:5]) or "none"
        _refuse(
            file, f"{len(models)} models in it: {names}", "pack one ONNX, LightGBM or XGBoost model"
        )
    name, path, kind = models[0]
    return Contents(path, name, kind, card)


class Readable(Protocol):
    """What comes out of an archive."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or fewer."""
        ...


class _Budget:
    """What may still be unpacked."""

    def __init__(self, file: Path, bounds: Bounds) -> None:
        self._file = file
        self._files = bounds.files
        self._bytes = min(bounds.total, bounds.ratio * max(file.stat().st_size, 4096))

    def file(self) -> None:
        """One more file."""
        self._files -= 1
        if self._files < 0:
            _refuse(self._file, "more files in it than a model needs", "pack the model alone")

    def copy(self, source: Readable, target: Path) -> None:
        """Copy what comes out, whatever size was promised."""
        with target.open("xb") as sink:
            while part := source.read(_PART):
                self._bytes -= len(part)
                if self._bytes < 0:
                    _refuse(
                        self._file, "far more data inside than its size lets one expect",
                        "pack the model alone, or register the file itself",
                    )  # fmt: skip
                sink.write(part)


def _zip(file: Path, folder: Path, bounds: Bounds) -> dict[str, Path]:
    if not small_directory(file):
        _refuse(file, "a zip with no directory, or an enormous one", "pack the model alone")
    budget, unpacked = _Budget(file, bounds), dict[str, Path]()
    with zipfile.ZipFile(file) as archive:
        for one in archive.infolist():
            _check_name(file, one.filename)
            mode = one.external_attr >> 16
            if mode & 0o170000 not in (0, 0o100000, 0o040000):
                _refuse(file, f"a link or a device in it, {one.filename}", "pack plain files")
            budget.file()
            if one.is_dir():
                continue
            target = folder / str(len(unpacked))  # our own name: theirs never touches the disk
            with archive.open(one) as source:
                budget.copy(source, target)
            unpacked[one.filename] = target
    return unpacked


def _tar(file: Path, folder: Path, bounds: Bounds) -> dict[str, Path]:
    budget, unpacked = _Budget(file, bounds), dict[str, Path]()
    plain = folder / "tar"
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if packed:
            # Unpacked and bounded first: a tar's own headers are read into memory as a whole.
            with gzip.GzipFile(fileobj=raw) as source:
                budget.copy(source, plain)
        else:
            with plain.open("xb") as sink:
                shutil.copyfileobj(raw, sink)
    _check_notes(file, plain)
    with tarfile.open(plain, "r:") as archive:
        for one in archive:
            _check_name(file, one.name)
            if not (one.isfile() or one.isdir()):
                _refuse(file, f"a link or a device in it, {one.name}", "pack plain files")
            budget.file()
            source = archive.extractfile(one) if one.isfile() else None
            if source is not None:
                target = folder / str(len(unpacked))
                with source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink)
                unpacked[one.name] = target
    plain.unlink()
    return unpacked


def _check_notes(file: Path, plain: Path) -> None:
    """Refuses a tar whose notes on its files (long names, attributes) are long themselves."""
    for header in _headers(plain):
        note = header.type in (b"x", b"g", b"L", b"K", b"X")
        if note and header.size > _NOTE_MOST:
            _refuse(file, "a tar with enormous headers", "pack the model alone")


def _headers(plain: Path) -> Iterator[tarfile.TarInfo]:
    with plain.open("rb") as raw:
        while len(block := raw.read(512)) == 512 and block.strip(b"\0"):
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            yield header
            raw.seek(-(-header.size // 512) * 512, 1)


def _check_name(file: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    drive = bool(path.parts) and ":" in path.parts[0]
    if path.is_absolute() or ".." in path.parts or drive or "\0" in name:
        _refuse(file, f"a name that leads out of it, {name[:80]!r}", "pack it with plain names")


def _refuse(file: Path, got: str, mend: str) -> NoReturn:
    raise ModelUnavailable(file.name, got=got, promised="an archive with one model", mend=mend)
