"""Recorded calls as CSV, JSON lines or Parquet, page by page: a million calls take no more memory.

`splice calls export` and the console's export buttons both use this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from splice.core.call import Outcome, Record
from splice.monitor.export_columns import Columns, jsonl_line, row_of
from splice.monitor.export_files import csv_pieces, parquet_pieces
from splice.ports.stores import CallFilter, OutcomeStore, RecordStore

Form = Literal["csv", "jsonl", "parquet"]

MEDIA_TYPES: dict[Form, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}

PAGE = 1000
"""Calls in memory at once; the payloads of so many are 2 to 100 MB."""


class Source(msgspec.Struct, frozen=True):
    """Where calls and outcomes are read, and the currency of their costs."""

    records: RecordStore
    outcomes: OutcomeStore
    currency: str = "EUR"


def export(
    source: Source,
    wanted: CallFilter,
    form: Form,
    columns: Columns | None = None,
    *,
    most: int | None = None,
) -> Iterator[bytes]:
    """The file in pieces, newest call first. Blocks: run it in a thread.

    Args:
        source: The ledger.
        wanted: Which calls; its `limit` is the size of a page, `most` is how many in all.
        form: `csv` is safe to open in a spreadsheet (no text is a formula there), `jsonl` and
            `parquet` hold the texts as they are.
        columns: Of declared fields: see `columns_of`; None is no more than every call has. JSON
            lines have whole objects instead.
        most: None is all of them.

    Raises:
        SettingsError: `parquet` without the extra `parquet`.
        StoreError: The ledger cannot be read; what was given until then is not the whole.
    """
    pages = _pages(source, wanted, most)
    chosen = Columns() if columns is None else columns
    if form == "jsonl":
        return _jsonl_pieces(pages, source.currency)
    rows = ([row_of(one, of_it, chosen, source.currency) for one, of_it in page] for page in pages)
    return csv_pieces(rows, chosen) if form == "csv" else parquet_pieces(rows, chosen)


_Page = list[tuple[Record, list[Outcome]]]


def _pages(source: Source, wanted: CallFilter, most: int | None) -> Iterator[_Page]:
    """Whole calls with their outcomes; no transaction stays open between two pages."""
    left = most
    size = min(wanted.limit, PAGE)
    while left is None or left > 0:
        limit = size if left is None else min(size, left)
        found = source.records.find(msgspec.structs.replace(wanted, limit=limit))
        if not found:
            return
        whole = source.records.get_many([one.call_id for one in found])
        # A call that went to the archive meanwhile is not there any more, and not in the export.
        records = [whole[one.call_id] for one in found if one.call_id in whole]
        outcomes = source.outcomes.outcomes_of_many(records)
        yield [(one, outcomes.get(one.call_id, [])) for one in records]
        if len(found) < limit:
            return
        left = None if left is None else left - len(found)
        wanted = msgspec.structs.replace(wanted, before_id=found[-1].call_id)


def _jsonl_pieces(pages: Iterator[_Page], currency: str) -> Iterator[bytes]:
    encode: Any = msgspec.json.encode
    for page in pages:
        lines = [encode(jsonl_line(one, outcomes, currency)) for one, outcomes in page]
        yield b"\n".join(lines) + b"\n"
