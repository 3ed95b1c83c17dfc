"""What a model file is, told by its bytes: a name can lie."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from splice.core.errors import ModelUnavailable

Kind = Literal["onnx", "lightgbm", "xgboost", "pickle", "zip", "tar", "unknown"]

_HEAD = 64 * 1024
_PICKLE_MOST = 16 * 1024 * 1024
_GLOBALS_MOST = 200
_ZIP, _GZIP, _NUMPY = b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY"
_TEXTS = {"STRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}


def kind_of(file: Path) -> Kind:
    """What a file is.

    Whatever Python would unpickle is `pickle`: also inside gzip, zlib, bz2, xz, a file of PyTorch
    or an array of objects of numpy.

    Raises:
        ModelUnavailable: It cannot be read.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
    except OSError as error:
        raise ModelUnavailable(file.name, got=error.strerror or "no readable file") from None
    if head.startswith(_ZIP):
        return "pickle" if _zip_holds_pickle(file) else "zip"
    if head.startswith(_NUMPY):
        return "pickle" if b"'O'" in head[:256] or b"|O" in head[:256] else "unknown"
    if _is_pickle(head):
        return "pickle"
    inner = _unpacked_head(head)
    if inner:
        if _is_pickle(inner):
            return "pickle"
        return "tar" if inner[257:262] == b"ustar" and head.startswith(_GZIP) else "unknown"
    if head[257:262] == b"ustar":
        return "tar"
    return _safe_kind(head, file.suffix.lower())


def _safe_kind(head: bytes, suffix: str) -> Kind:
    if head.startswith((b"tree\nversion=", b"tree\r\nversion=")):
        return "lightgbm"
    if head.startswith(b"{") and b"learner" in head[:4096]:
        return "xgboost"
    # An ONNX file has no magic number; most begin with field 1, the version of the format.
    return "onnx" if suffix == ".onnx" or head.startswith(b"\x08") else "unknown"


def imports_of(file: Path) -> list[str]:
    """What a pickle would import, as `module.name`, as far as it can be read without running it.

    For people who must decide, never a gate: a hostile pickle can hide what it imports.
    """
    with file.open("rb") as opened:
        raw = opened.read(_PICKLE_MOST)
    if raw.startswith(_ZIP):
        raw = _pickle_in_zip(file)
    elif raw.startswith(_NUMPY):
        raw = raw[10 + int.from_bytes(raw[8:10], "little") :]
    elif not _is_pickle(raw[:_HEAD]):
        raw = _unpacked_head(raw, _PICKLE_MOST)
    found: dict[str, None] = {}
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(raw):
            if opcode.name in _TEXTS:
                texts.append(str(argument))
            elif opcode.name == "GLOBAL":
                found[str(argument).replace(" ", ".")] = None
            elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                found[".".join(texts[-2:])] = None
            if len(found) >= _GLOBALS_MOST:
                break
    except Exception:  # noqa: BLE001, S110 - joblib puts raw arrays between: what was read counts
        pass
    return list(found)


def _is_pickle(head: bytes) -> bool:
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    # The oldest protocols have no mark: whatever parses as one up to a STOP is one.
    if head[:1] not in (b"(", b"c", b"]", b"}", b"i", b"p", b"N", b"I", b"S", b"V", b"l", b"d"):
        return False
    count = 0
    try:
        for opcode, _, _ in pickletools.genops(head):
            count += 1
            if opcode.name == "STOP":
                return True
    except Exception:  # noqa: BLE001 - it is none, or it goes on after the head
        return count > 64
    return False


def _unpacked_head(raw: bytes, most: int = _HEAD) -> bytes:
    """The first bytes inside a compressed file, or nothing."""
    openers: list[tuple[bytes, Callable[[Any], Any]]] = [
        (_GZIP, lambda f: gzip.GzipFile(fileobj=f)),
        (b"BZh", bz2.BZ2File),
        (b"\xfd7zXZ", lzma.LZMAFile),
        (b"]\x00\x00", lzma.LZMAFile),
    ]
    if raw[:1] == b"\x78":
        try:
            return zlib.decompressobj().decompress(raw, most)
        except zlib.error:
            return b""
    for magic, opener in openers:
        if raw.startswith(magic):
            parts: list[bytes] = []
            size = 0
            try:
                with opener(io.BytesIO(raw)) as unpacked:
                    while size < most and (part := unpacked.read1(most - size)):
                        parts.append(part)
                        size += len(part)
            except (OSError, EOFError, lzma.LZMAError, zlib.error):
                pass  # only the head was given: what came out of it counts
            return b"".join(parts)
    return b""


def _zip_holds_pickle(file: Path) -> bool:
    """Whether a zip is PyTorch's, or numpy's with objects; its directory is not large then."""
    return bool(_pickle_in_zip(file))


def _pickle_in_zip(file: Path) -> bytes:
    try:
        if not small_directory(file):
            return b""
        with zipfile.ZipFile(file) as opened:
            for one in opened.infolist():
                if one.filename.endswith((".pkl", ".pickle", ".joblib", ".npy", ".pt", ".pth")):
                    with opened.open(one) as inside:
                        raw = inside.read(_PICKLE_MOST)
                    if raw.startswith(_NUMPY) and b"|O" in raw[:256]:
                        return raw[10 + int.from_bytes(raw[8:10], "little") :]
                    if _is_pickle(raw[:_HEAD]):
                        return raw
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        return b""
    return b""


def small_directory(file: Path, most: int = 1024 * 1024) -> bool:
    """Whether the directory of a zip can be read without filling the memory."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(0, size - 65_557))
        tail = opened.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return False
    return int.from_bytes(tail[at + 12 : at + 16], "little") <= most
