"""Other libraries' model files are read in a process of its own: on a damaged one it may crash.

XGBoost's reader of UBJSON, for one, ends the whole process on some files that were cut short.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from splice.adapters.converters.tables import table_of
from splice.core.errors import DeclarationError, ModelUnavailable, SettingsError, SpliceError
from splice.ports.converters import Converted

_SECONDS_MOST = 900
_ERRORS = {one.code: one for one in (ModelUnavailable, DeclarationError, SettingsError)}


class _Asked(msgspec.Struct):
    kind: str
    file: str
    names: list[str] = []
    columns: list[list[float]] = []


class _Told(msgspec.Struct):
    made: list[Converted] = []
    code: str = ""
    error: list[str] = []  # where, got, promised, mend


def converted_apart(kind: str, file: Path, example: Any) -> list[Converted]:
    """What the converter of that name makes of a file, read in another process.

    Raises:
        ModelUnavailable: It is damaged, or its reader crashed.
        DeclarationError: As in `Converter.convert`.
        SettingsError: The library is not installed.
    """
    asked = _Asked(kind, str(file.absolute()))
    if example is not None:
        table = table_of(example)
        asked.names = list(table.names) if table.named else []
        asked.columns = [column.tolist() for column in table.columns.values()]
    with tempfile.TemporaryDirectory(prefix="splice-convert-") as folder:
        question, answer = Path(folder, "asked"), Path(folder, "told")
        question.write_bytes(msgspec.msgpack.encode(asked))
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", __spec__.name, str(question), str(answer)],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_SECONDS_MOST,
        )  # fmt: skip
        if done.returncode or not answer.exists():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            ended = f"signal {-done.returncode}" if done.returncode < 0 else "an error"
            last = f": {lines[-1][:200]}" if lines and done.returncode > 0 else ""
            raise ModelUnavailable(
                file.name, got=f"a file on which the reader of {kind} ended with {ended}{last}",
                promised=f"a model that {kind} saved", mend="save it again",
            )  # fmt: skip
        told = msgspec.msgpack.decode(answer.read_bytes(), type=_Told)
    if told.error:
        where, got, promised, mend = told.error
        kept = file.name if where == file.name else where
        raise _ERRORS.get(told.code, ModelUnavailable)(kept, got=got, promised=promised, mend=mend)
    return told.made


def _answer(asked: _Asked) -> _Told:
    point = next(iter(entry_points(group="splice.converters", name=asked.kind)))
    converter = point.load()()
    example: Any = None
    if asked.columns:
        matrix = np.column_stack(asked.columns)
        example = matrix
        if asked.names:
            example = [dict(zip(asked.names, row, strict=True)) for row in matrix.tolist()]
    try:
        return _Told(converter.convert(converter.read(Path(asked.file)), example))
    except SpliceError as error:
        return _Told([], error.code, [error.where, error.got, error.promised, error.mend])


def main() -> None:
    """In the other process: read a question, write the answer."""
    question, answer = map(Path, sys.argv[1:])
    told = _answer(msgspec.msgpack.decode(question.read_bytes(), type=_Asked))
    answer.write_bytes(msgspec.msgpack.encode(told))


if __name__ == "__main__":
    main()
