"""Rows of an export as CSV that a spreadsheet may open, and as Parquet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from splice.core.errors import SettingsError
from splice.monitor.export_columns import Columns, Type

_Rows = Iterator[list[list[Any]]]

# What a spreadsheet takes for a formula, at the start of a cell. Also behind what is a separator in
# other countries' spreadsheets, or ends a line: there our cell may be taken for several.
_FORMULA = re.compile("(?:^|[;\t\r\n])[\\s\"']*(?=[=+\\-@\uff1d\uff0b\uff0d\uff20])")

_WHOLE = 2**63


def csv_pieces(rows: _Rows, columns: Columns) -> Iterator[bytes]:
    """CSV in UTF-8 with a head; a text that would be a formula gets an apostrophe before it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    # Names of fields are JSON: they may be anything, too.
    writer.writerow([_cell(name) for name, _ in columns.all])
    yield _emptied(out)
    for page in rows:
        writer.writerows([_cell(value) for value in row] for row in page)
        yield _emptied(out)


def _emptied(out: io.StringIO) -> bytes:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text.encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float):
        # Without an exponent, which spreadsheets of some countries take for text.
        return f"{value:.12f}".rstrip("0").rstrip(".") if 1e-9 <= abs(value) < 1e15 else repr(value)
    if isinstance(value, int):
        return value
    return _FORMULA.sub(_defused, _text(value))


def _defused(found: re.Match[str]) -> str:
    return f"{found[0]}'"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def parquet_pieces(rows: _Rows, columns: Columns) -> Iterator[bytes]:
    """Parquet with a row group a page.

    Raises:
        SettingsError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # an optional dependency
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise SettingsError("parquet", got=str(error), mend="install splice-ai[parquet]") from error
    return _parquet_pieces(rows, columns, pa, parquet)


def _parquet_pieces(rows: _Rows, columns: Columns, arrow: Any, parquet: Any) -> Iterator[bytes]:
    types: dict[Type, Any] = {
        "text": arrow.string(),
        "json": arrow.string(),
        "number": arrow.float64(),
        "integer": arrow.int64(),
        "truth": arrow.bool_(),
        "time": arrow.timestamp("us", "UTC"),
    }
    fields = columns.all
    schema = arrow.schema([(name, types[kind]) for name, kind in fields])
    out = _Pieces()
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for page in rows:
            arrays = [
                arrow.array([_typed(row[at], kind) for row in page], types[kind])
                for at, (_, kind) in enumerate(fields)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            yield out.taken()
    yield out.taken()


def _typed(value: Any, kind: Type) -> Any:
    """The value as its column has it; None where its type does not hold it."""
    if value is None or kind == "time":
        return value
    if kind in ("text", "json"):
        # Half a surrogate pair is no text to Arrow.
        return _text(value).encode("utf-8", "replace").decode()
    if kind == "truth":
        return value if isinstance(value, bool) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    if kind == "number":
        return float(value) if abs(value) < 1e308 else None
    return value if isinstance(value, int) and -_WHOLE <= value < _WHOLE else None


class _Pieces(io.RawIOBase):
    """A file that is only written, and given away piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any, /) -> int:  # any buffer
        self._buffer += piece
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        """What was written since this was last asked."""
        piece = bytes(self._buffer)
        self._buffer.clear()
        return piece
