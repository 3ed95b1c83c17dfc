"""Recorded calls as CSV, JSON lines or Parquet, page by page: a million calls take no more memory.

`splice calls export` and the console's export buttons both use this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from splice.core.release import Manifest
from splice.ports.stores import CallFilter, OutcomeStore, RecordStore

Form = Literal["csv", "jsonl", "parquet"]

MEDIA_TYPES: dict[Form, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}


class Columns(msgspec.Struct, frozen=True):
    """Which columns an export has beside those that every call has.

    `request` and `reply` name the declared fields, which become `request.amount`, `reply.action`;
    where there are none, one column holds the whole JSON. `outcomes` become `outcome.defaulted`.
    """

    request: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()


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
    until_us: int | None = None,
    most: int | None = None,
) -> Iterator[bytes]:
    """The file in pieces, newest call first. Blocks: run it in a thread.

    Args:
        source: The ledger.
        wanted: Which calls; its `limit` is the size of a page, `most` is how many in all.
        form: `csv` is safe to open in a spreadsheet (no cell is a formula), `jsonl` and `parquet`
            hold the texts as they are.
        columns: See `columns_of`; None is no more than every call has.
        until_us: Only calls asked before this Unix microsecond.
        most: None is all of them.

    Raises:
        SettingsError: `parquet` without the extra `parquet`.
        StoreError: The ledger cannot be read; what was given until then is not the whole.
    """
    raise NotImplementedError


def columns_of(manifests: Sequence[Manifest], outcomes: Sequence[str] = ()) -> Columns:
    """The declared fields of all releases of an integration (give the newest first)."""
    raise NotImplementedError
