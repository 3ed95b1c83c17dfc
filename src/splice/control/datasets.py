"""Data sets by name: labelled rows of a file, hashed, each made a request."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from splice.core.call import Gathered
from splice.core.errors import InputMismatch, MalformedBody, SettingsError
from splice.declare.bodies import refuse_duplicate_keys
from splice.declare.codec import Codec
from splice.declare.gates import Labelled

_MAX_BYTES = 1 << 30
_TRUTHS = {"true": True, "false": False, "True": True, "False": False}


Looked = tuple[int, tuple[Gathered, ...]]
"""When a call was asked, in Unix microseconds, and what its `context()` looked up then."""


class DataSet(msgspec.Struct, frozen=True):
    """Rows of a file, or recorded calls: every column by name, and the truth of each row.

    Of calls, `since_us` and `until_us` are when they were asked, and `looks` is what each request
    looked up then; of a file they are 0 and empty.
    """

    name: str
    sha256: str  # of the file
    columns: dict[str, list[Any]]
    labels: list[Any]
    texts: bool  # whether every value is a text, as in a CSV
    since_us: int = 0
    until_us: int = 0
    looks: dict[bytes, Looked] = {}

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.labels)

    def requests(self, request: Codec, fields: Sequence[str]) -> list[bytes]:
        """Each row as a request body; columns that the request has not are left out.

        Raises:
            SettingsError: A row is no request.
        """
        named = [name for name in fields if name in self.columns]
        bodies: list[bytes] = []
        for number in range(self.rows):
            row = {
                name: value
                for name in named
                if (value := self.columns[name][number]) is not None and value != ""
            }
            try:
                made = request.lax(row, "row") if self.texts else request.convert(row, "row")
                bodies.append(request.encode(made))
            except (InputMismatch, MalformedBody) as error:
                raise SettingsError(
                    f"{self.name} row {number + 1}", got=f"{error.where}: {error.got}",
                    promised=f"a request: {error.promised}", mend="mend the row, or leave it out",
                ) from None  # fmt: skip
        return bodies


def hashed(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        with file.open("rb") as raw:
            return hashlib.file_digest(raw, "sha256").hexdigest()
    except OSError as error:
        raise SettingsError(
            file.name, got=error.strerror or "no such file", promised="the data set of a gate"
        ) from None


def read(root: Path, labelled: Labelled) -> DataSet:
    """The data set that gates name.

    Raises:
        SettingsError: There is no such file, it does not read, or has no such label.
    """
    file = (root / labelled.path).resolve()
    if not file.is_relative_to(root.resolve()):
        raise SettingsError(labelled.path, got="a file outside the project", promised="one inside")
    sha256 = hashed(file)
    if file.stat().st_size > _MAX_BYTES:
        raise SettingsError(labelled.path, got="more than 1 GiB", mend="take a sample of it")
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    try:
        columns = readers[file.suffix.lower()](file, labelled.path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(labelled.path, got=str(error), promised="a readable file") from None
    label = columns.get(labelled.label)
    if label is None:
        raise SettingsError(
            labelled.path, got=f"no column {labelled.label}",
            promised=f"the label among {', '.join(columns)[:300] or 'its columns'}",
            mend="name the column of the truth with label=",
        )  # fmt: skip
    if not label:
        raise SettingsError(labelled.path, got="no rows", promised="labelled rows")
    texts = file.suffix.lower() == ".csv"
    words = bool(labelled.positive)
    labels = [_truth(one, labelled, i, words=words) for i, one in enumerate(label)]
    return DataSet(labelled.path, sha256, columns, labels, texts)


def _truth(value: Any, labelled: Labelled, number: int, *, words: bool) -> Any:
    """A label: a truth, a number, or a word."""
    where = f"{labelled.path} row {number + 1} {labelled.label}"
    if value is None or value == "":
        raise SettingsError(
            where, got="nothing", promised="the truth", mend="leave out rows without it"
        )
    if words:
        return str(value)
    if isinstance(value, str):
        if value in _TRUTHS:
            return _TRUTHS[value]
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(where, got=str(value), promised="a finite number")
    if not isinstance(value, (bool, int, float)):
        raise SettingsError(where, got=type(value).__name__, promised="a truth, a number or a word")
    return value


def _csv(file: Path, name: str) -> dict[str, list[Any]]:
    with file.open(encoding="utf-8-sig", newline="") as raw:
        reader = csv.reader(raw, strict=True)
        header = next(reader, list[str]())
        if not header or len(set(header)) < len(header):
            raise SettingsError(
                name, got=f"the header {','.join(header)[:300]}",
                promised="a first line with one name for each column, once",
            )  # fmt: skip
        columns: dict[str, list[Any]] = {one: [] for one in header}
        for number, cells in enumerate((line for line in reader if line), 1):
            if len(cells) != len(header):
                raise SettingsError(
                    f"{name} row {number}", got=f"{len(cells)} cells", promised=f"{len(header)}"
                )
            for one, cell in zip(header, cells, strict=True):
                columns[one].append(cell)
    return columns


def _jsonl(file: Path, name: str) -> dict[str, list[Any]]:
    rows: list[Mapping[str, Any]] = []
    with file.open("rb") as raw:
        for number, line in enumerate(raw, 1):
            if not line.strip():
                continue
            try:
                refuse_duplicate_keys(line, f"line {number}")
                row: Any = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, MalformedBody) as error:
                got = error.got if isinstance(error, MalformedBody) else str(error)
                raise SettingsError(
                    f"{name} line {number}", got=got, promised="a JSON object"
                ) from None
            if not isinstance(row, dict):
                raise SettingsError(
                    f"{name} line {number}", got=type(row).__name__, promised="a JSON object"
                )
            rows.append(cast("dict[str, Any]", row))
    names = dict.fromkeys(one for row in rows for one in row)
    return {one: [row.get(one) for row in rows] for one in names}


def _parquet(file: Path, name: str) -> dict[str, list[Any]]:
    try:
        import pyarrow.parquet as parquet  # an optional dependency
    except ImportError as error:
        raise SettingsError(name, got=str(error), mend="install splice-ai[parquet]") from None
    reader: Any = parquet  # pyarrow ships no types
    try:
        table = reader.read_table(file)
    except Exception as error:  # noqa: BLE001 - pyarrow's own errors and OSError alike
        raise SettingsError(name, got=str(error), promised="a Parquet file") from None
    return cast("dict[str, list[Any]]", table.to_pydict())
