"""Rows in and rows out: CSV, JSONL and Parquet by the ending of the name."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from splice.core.errors import InputMismatch, MalformedBody, SettingsError
from splice.declare.bodies import refuse_duplicate_keys
from splice.declare.codec import Codec
from splice.serve.batch.rows import Input, Last, Row, check_columns, is_broken, names_of

FORMATS = (".csv", ".jsonl", ".parquet")
_MAX_LINE = 16 << 20


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


class FileRows:
    """The rows of a file; see `Rows`.

    Args:
        file: What to read.
        request: The request type.
        where: Path of the input in errors.
        ignore_extra: Leave out columns that the request type has not, instead of refusing them.

    Raises:
        SettingsError: Its name says nothing that we read.
    """

    keys_are_numbers = True

    def __init__(
        self, file: Path, request: Codec, where: str, *, ignore_extra: bool = False
    ) -> None:
        if format_of(file) == ".parquet":
            pyarrow_parquet()  # before the first row is asked and paid, not after the last
        self.name = file.name
        self.file = file
        self._rows = lambda: rows(file, request, where, ignore_extra=ignore_extra)

    def begin(self) -> Input:
        """See `Rows`."""
        try:
            with self.file.open("rb") as raw:
                digest = hashlib.file_digest(raw, "sha256").hexdigest()
            return Input(self.name, self.file.stat().st_size, digest)
        except OSError as error:
            raise SettingsError(self.name, got=str(error), mend="name a file") from error

    def read(self, begun: Input, after: Last | None) -> Iterator[Row]:
        """See `Rows`."""
        first = 0 if after is None else after.number + 1
        return (row for row in self._rows() if row.number >= first)

    def end(self, begun: Input) -> None:
        """See `Rows`."""
        if self.file.stat().st_size != begun.size:
            raise SettingsError(
                self.name,
                got="a file that changed while it was read",
                mend="remove the folder of parts to start afresh",
            )


def rows(file: Path, request: Codec, where: str, *, ignore_extra: bool = False) -> Iterator[Row]:
    """The rows of a file as requests, in order.

    Args:
        file: What to read.
        request: The request type.
        where: Path of the input in errors.
        ignore_extra: Leave out columns that the request type has not, instead of refusing them.

    Raises:
        SettingsError: The file cannot be read, its header is not one, or its columns do not fit.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    read = readers[format_of(file)]
    known = set(names_of(request)) if ignore_extra else None
    try:
        yield from read(file, request, where, known)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(file.name, got=str(error), promised="a readable file") from error


def _csv_rows(file: Path, request: Codec, where: str, known: set[str] | None) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, _MAX_LINE))
    size = max(1, file.stat().st_size)
    with file.open("rb") as raw, _Counting(raw) as counted:
        reader = csv.reader(counted, strict=True)
        header = next(reader, None)
        if not header or len(set(header)) != len(header):
            raise SettingsError(
                file.name,
                got="no header" if not header else f"the header {','.join(header)[:300]}",
                promised="a first line with one name for each column, once",
            )
        if any(map(is_broken, header)):
            raise SettingsError(file.name, got="a header that is not UTF-8", mend="convert it")
        check_columns(file.name, header, request, extra_is_fine=known is not None)
        for number, cells in enumerate(_cells(reader, counted, file)):
            at = f"{where}[{number}]"
            try:
                if isinstance(cells, csv.Error):
                    raise MalformedBody(at, got=str(cells), promised="cells as CSV quotes them")
                if any(map(is_broken, cells)):
                    raise MalformedBody(at, got="bytes that are not UTF-8", promised="UTF-8")
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


def _cells(reader: Any, counted: _Counting, file: Path) -> Iterator[list[str] | csv.Error]:
    """The cells of each line that has some, or what is wrong with it."""
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if counted.at_end and "unexpected end" in str(error):
                raise SettingsError(
                    file.name, got=f"a quote in line {first} that is never closed",
                    promised="CSV", mend="close it: all that stands after it is one cell now",
                ) from None  # fmt: skip
            yield error
            continue
        if cells:
            yield cells


class _Counting:
    """Lines of a binary file as text, counting bytes for the progress bar."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.read_bytes = 0
        self.at_end = False

    def __enter__(self) -> _Counting:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[str]:
        encoding = "utf-8-sig"
        for line in self._raw:
            self.read_bytes += len(line)
            yield line.decode(encoding, "surrogateescape")
            encoding = "utf-8"
        self.at_end = True


def _jsonl_rows(file: Path, request: Codec, where: str, known: set[str] | None) -> Iterator[Row]:
    size, read = max(1, file.stat().st_size), 0
    number = -1
    with file.open("rb") as raw:
        for length, line in _json_lines(raw):
            body = (line if read else line.removeprefix(b"\xef\xbb\xbf")).strip()
            read += length
            if not body and length < _MAX_LINE:
                continue
            number += 1
            at = f"{where}[{number}]"
            try:
                if not body:
                    raise MalformedBody(
                        at, got=f"a line of {length} bytes", promised=f"less than {_MAX_LINE}"
                    )
                if known is not None:
                    refuse_duplicate_keys(body, at)
                    body = without_extra(body, known)
                request.decode(body, at)
            except (InputMismatch, MalformedBody) as error:
                yield Row(number, b"", read / size, error)
                continue
            yield Row(number, body, read / size)


def _json_lines(raw: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The length of each line, and the line; nothing of one that is too long to be a request."""
    while line := raw.readline(_MAX_LINE):
        length = last = len(line)
        whole = line.endswith(b"\n")
        while last == _MAX_LINE and not whole:
            more = raw.readline(_MAX_LINE)
            last, whole, line = len(more), more.endswith(b"\n"), b""
            length += last
        yield length, line


def without_extra(body: bytes, known: set[str]) -> bytes:
    """A JSON object without the fields that are not known."""
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body  # the typed decoder says what is wrong
    if not isinstance(plain, dict):
        return body
    fields = cast("dict[str, Any]", plain)
    return msgspec.json.encode({k: v for k, v in fields.items() if k in known})


def _parquet_rows(file: Path, request: Codec, where: str, known: set[str] | None) -> Iterator[Row]:
    parquet = pyarrow_parquet()
    try:
        table: Any = parquet.ParquetFile(file)
    except Exception as error:  # pyarrow's own errors and OSError alike
        raise SettingsError(file.name, got=str(error), promised="a Parquet file") from error
    total, number = max(1, table.metadata.num_rows), -1
    check_columns(file.name, table.schema_arrow.names, request, extra_is_fine=known is not None)
    for batch in _batches(table, file):
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


def _batches(table: Any, file: Path) -> Iterator[Any]:
    try:
        yield from table.iter_batches(batch_size=1000)
    except ValueError as error:  # pyarrow's ArrowInvalid is one; its OSError goes further up
        raise SettingsError(file.name, got=str(error), promised="a Parquet file") from error


def pyarrow_parquet() -> Any:
    """Pyarrow's Parquet module.

    Raises:
        SettingsError: It is not installed.
    """
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
    parquet = pyarrow_parquet()
    import pyarrow as pa  # an optional dependency

    arrow: Any = pa
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for line in lines:
        for name in columns:
            values[name].append(line.get(name))
    made = {name: _arrow_column(arrow, column) for name, column in values.items()}
    parquet.write_table(arrow.table(made), file)


def _arrow_column(arrow: Any, values: list[Any]) -> Any:
    """The values as one type; as JSON text where they have none in common."""
    if not any(isinstance(value, dict) for value in values):
        try:
            return arrow.array(values)
        except (ValueError, TypeError, OverflowError):  # ArrowInvalid and ArrowTypeError are these
            pass
    texts = [None if v is None else msgspec.json.encode(v).decode() for v in values]
    return arrow.array(texts, arrow.string())


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
