"""Rows in and rows out: CSV, JSONL and Parquet by the ending of the name."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from splice.core.errors import InputMismatch, MalformedBody, SettingsError
from splice.declare.bodies import refuse_duplicate_keys
from splice.declare.codec import Codec

FORMATS = (".csv", ".jsonl", ".parquet")
_MAX_LINE = 16 << 20


class Row(msgspec.Struct, frozen=True):
    """One row: its number from 0, its request as JSON, or what is wrong with it.

    `done` is how much of the file has been read, from 0 to 1.
    """

    number: int
    body: bytes
    done: float
    wrong: InputMismatch | MalformedBody | None = None


def format_of(file: Path) -> str:
    """The ending that says how a file is written.

    Raises:
        SettingsError: It is none that we read and write.
    """
    ending = file.suffix.lower()
    if ending not in FORMATS:
        raise SettingsError(
            file.name, got=f"a file ending in {ending or 'nothing'}",
            promised=f"one of {', '.join(FORMATS)}", mend="convert it",
        )  # fmt: skip
    return ending


def rows(file: Path, request: Codec, where: str, *, ignore_extra: bool = False) -> Iterator[Row]:
    """The rows of a file as requests, in order.

    Args:
        file: What to read.
        request: The request type.
        where: Path of the input in errors.
        ignore_extra: Leave out columns that the request type has not, instead of refusing them.

    Raises:
        SettingsError: The file cannot be read, or its header is not one.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    read = readers[format_of(file)]
    known = set(_names(request)) if ignore_extra else None
    try:
        yield from read(file, request, where, known)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(file.name, got=str(error), promised="a readable file") from error


def _names(request: Codec) -> list[str]:
    schema = request.schema()
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return list(schema.get("properties", {}))


def _csv_rows(file: Path, request: Codec, where: str, known: set[str] | None) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, _MAX_LINE))
    size = max(1, file.stat().st_size)
    with file.open("rb") as raw, _Counting(raw) as counted:
        reader = csv.reader(counted)
        header = next(reader, None)
        if not header or len(set(header)) != len(header):
            raise SettingsError(
                file.name, got=f"the header {header}", promised="one name for each column, once"
            )
        for number, cells in enumerate(line for line in reader if line):
            at = f"{where}[{number}]"
            try:
                if len(cells) != len(header):
                    raise InputMismatch(
                        at, got=f"{len(cells)} cells", promised=f"{len(header)}, as the header has"
                    )
                # An empty cell is a missing value: an optional field takes its default.
                row = {
                    name: cell
                    for name, cell in zip(header, cells, strict=True)
                    if cell != "" and (known is None or name in known)
                }
                body = request.encode(request.lax(row, at))
            except (InputMismatch, MalformedBody) as error:
                yield Row(number, b"", counted.read_bytes / size, error)
                continue
            yield Row(number, body, counted.read_bytes / size)


class _Counting:
    """Lines of a binary file as text, counting bytes for the progress bar."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.read_bytes = 0

    def __enter__(self) -> _Counting:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[str]:
        encoding = "utf-8-sig"
        for line in self._raw:
            self.read_bytes += len(line)
            yield line.decode(encoding)
            encoding = "utf-8"


def _jsonl_rows(file: Path, request: Codec, where: str, known: set[str] | None) -> Iterator[Row]:
    size, read = max(1, file.stat().st_size), 0
    number = -1
    with file.open("rb") as raw:
        for line in raw:
            read += len(line)
            body = line.strip()
            if not body:
                continue
            number += 1
            at = f"{where}[{number}]"
            try:
                if known is not None:
                    refuse_duplicate_keys(body, at)
                    body = _without_extra(body, known)
                request.decode(body, at)
            except (InputMismatch, MalformedBody) as error:
                yield Row(number, b"", read / size, error)
                continue
            yield Row(number, body, read / size)


def _without_extra(body: bytes, known: set[str]) -> bytes:
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # the typed decoder says what is wrong
    if not isinstance(plain, dict):
        return body
    fields = cast("dict[str, Any]", plain)
    return msgspec.json.encode({k: v for k, v in fields.items() if k in known})


def _parquet_rows(file: Path, request: Codec, where: str, known: set[str] | None) -> Iterator[Row]:
    parquet = _pyarrow_parquet()
    try:
        table: Any = parquet.ParquetFile(file)
    except Exception as error:  # pyarrow's own errors and OSError alike
        raise SettingsError(file.name, got=str(error), promised="a Parquet file") from error
    total, number = max(1, table.metadata.num_rows), -1
    for batch in table.iter_batches(batch_size=1000):
        for plain in batch.to_pylist():
            number += 1
            at = f"{where}[{number}]"
            # A null is a missing value, as an empty cell of a CSV is.
            row = {
                k: v for k, v in plain.items() if v is not None and (known is None or k in known)
            }
            try:
                body = request.encode(request.convert(row, at))
            except (InputMismatch, MalformedBody) as error:
                yield Row(number, b"", (number + 1) / total, error)
                continue
            yield Row(number, body, (number + 1) / total)


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet as parquet  # an optional dependency
    except ImportError as error:
        raise SettingsError("parquet", got=str(error), mend="install splice-ai[parquet]") from error
    return parquet


def write_table(lines: Iterator[dict[str, Any]], file: Path, columns: list[str]) -> None:
    """Writes finished rows as CSV or Parquet, with one column a name."""
    if file.suffix.lower().endswith("csv"):
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(columns)
            writer.writerows([_cell(line.get(name)) for name in columns] for line in lines)
        return
    parquet = _pyarrow_parquet()
    import pyarrow as pa  # an optional dependency

    arrow: Any = pa
    plain = [{name: line.get(name) for name in columns} for line in lines]
    parquet.write_table(arrow.Table.from_pylist(plain), file)


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
