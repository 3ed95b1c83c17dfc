"""What a pipeline trains on: kept between two steps as files, each known by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from splice.app.registering import sha256_of
from splice.core.errors import DeclarationError

_MOST_FILES = 100_000


class Kept(msgspec.Struct, frozen=True):
    """Data of a run. Rows are in one file of JSON lines; `paths` are where the user has them.

    `sha256` is that of the file; of several files it is that of `listing`.
    """

    kind: Literal["file", "files", "rows"]
    name: str
    sha256: str
    paths: tuple[str, ...]
    rows: int = 0

    def read(self) -> Any:
        """What `data` gave: a path, a list of paths, or rows."""
        if self.kind == "rows":
            lines = Path(self.paths[0]).read_bytes().splitlines()
            return [msgspec.json.decode(line) for line in lines]
        paths = [Path(one) for one in self.paths]
        return paths[0] if self.kind == "file" else paths

    def source(self) -> Path | bytes:
        """What its hash is of: a file, or the listing of several."""
        paths = [Path(one) for one in self.paths]
        if len(paths) == 1 and paths[0].is_file():
            return paths[0]
        return _listing(paths)


def kept(given: Any, project: Path, folder: Path) -> Kept:
    """What a `data` function gave, made ready for the next step.

    Raises:
        DeclarationError: It is neither a path, nor paths, nor rows, or there is nothing in it.
    """
    if isinstance(given, (str, Path)):
        path = project / given
        return _kept("file", path.name, [path])
    items = cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else ()
    if items and all(isinstance(one, (str, Path)) for one in items):
        paths = [project / one for one in items]
        return _kept("files", f"{paths[0].name} and {len(paths) - 1} more", paths)
    if items and all(isinstance(one, Mapping) for one in items):
        return _rows(items, folder)
    kind = type(cast("Any", given)).__name__
    raise DeclarationError(
        "data", got=f"an empty {kind}" if isinstance(given, (list, tuple)) else f"a {kind}",
        promised="a path, a list of paths, or rows: a list of dicts",
        mend="return what to train on",
    )  # fmt: skip


def _kept(kind: Literal["file", "files"], name: str, paths: list[Path]) -> Kept:
    for path in paths:
        if not path.exists():
            raise DeclarationError(
                "data", got=f"no file {path}", promised="a file or a folder that is there"
            )
    found = Kept(kind, name, "", tuple(str(one.resolve()) for one in paths))
    source = found.source()
    digest = hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_of(source)
    return msgspec.structs.replace(found, sha256=digest)


def _rows(items: Sequence[Any], folder: Path) -> Kept:
    file = folder / "rows.jsonl"
    digest = hashlib.sha256()
    try:
        with file.open("wb") as out:
            for one in items:
                line = msgspec.json.encode(one) + b"\n"
                digest.update(line)
                out.write(line)
    except (TypeError, msgspec.MsgspecError) as error:
        raise DeclarationError(
            "data", got=f"rows that JSON cannot hold: {error}", promised="a list of dicts of "
            "numbers, texts and None", mend="write a file, and return its path",
        ) from None  # fmt: skip
    return Kept("rows", file.name, digest.hexdigest(), (str(file),), len(items))


def _listing(paths: list[Path]) -> bytes:
    """Hash and name of every file in these files and folders, a line each, in order."""
    lines: list[str] = []
    for path in paths:
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            name = file.name if file == path else file.relative_to(path).as_posix()
            lines.append(f"{sha256_of(file)}  {name}\n")
        if len(lines) > _MOST_FILES:
            raise DeclarationError(
                "data", got=f"more than {_MOST_FILES} files", mend="train on fewer, larger files"
            )
    return "".join(lines).encode()
