"""The explorer: calls found by what they were, one call with all that is known of it, files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from splice.console.desk import Visit
from splice.console.finding import Found, find
from splice.console.room import Download, Page, Room
from splice.console.search import FIELDS, Search, id_in, search_of
from splice.console.story import story_of
from splice.core.call import Reason, Record, Status
from splice.core.erasure import in_place_of_texts
from splice.core.errors import InputMismatch, UnknownCall
from splice.monitor.export import MEDIA_TYPES, Form, Source, export
from splice.monitor.export_columns import Columns, columns_of
from splice.ports.reviews import ReviewFilter
from splice.ports.stores import CallFilter, RecordStore

MOST_EXPORTED = 10_000
"""Rows of one file: the command line exports more."""

_SUMMARY = 90


def calls(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """The explorer."""
    wrong, found = "", Found([], {})
    call_id = id_in(visit.query.get("q", ""))
    try:
        search = search_of(visit.query, visit.span)
        found = find(room, visit, search)
    except InputMismatch as error:
        wrong = str(error)
    kept = {name: visit.query[name] for name in FIELDS if visit.query.get(name)}
    rows = [
        {
            "record": record,
            "summary": summary_of(record),
            "outcomes": found.outcomes.get(record.call_id, []),
        }
        for record in found.records
    ]
    shown = {
        "rows": rows, "found": found, "kept": kept, "wrong": wrong, "call_id": call_id,
        "members": room.members(visit), "statuses": list(Status), "reasons": list(Reason),
        "more_open": bool(set(kept) - {"integration", "q", "entity", "status"}),
        "most_exported": MOST_EXPORTED,
    }  # fmt: skip
    return Page("calls.html", "Calls", shown)


def call(room: Room, visit: Visit, named: Mapping[str, str]) -> Page:
    """One call.

    Raises:
        UnknownCall: There is none, or none that the visitor may read.
    """
    call_id = id_in(named["call_id"])
    record = room.shelves.records.get(call_id) if call_id else None
    if record is None or not room.may_read(visit.principal, record.integration, record.caller):
        raise UnknownCall(
            named["call_id"][:80], got="no such call in the ledger",
            mend="a call that just ended is written within ledger.flush_interval_ms",
        )  # fmt: skip
    outcomes = room.shelves.outcomes.outcomes_of(record)
    release = room.shelves.releases.release(record.integration, record.release)
    reviews = room.shelves.reviews.reviews(ReviewFilter(call_id=record.call_id))
    shown = {"story": story_of(record, outcomes, release), "reviews": reviews}
    return Page("call.html", f"Call {record.call_id[:8]}", shown)


def exported(room: Room, visit: Visit, named: Mapping[str, str]) -> Download:
    """What a search finds, as a file."""
    form = cast("Form", visit.path.rpartition(".")[2])
    search = search_of(visit.query, visit.span)
    source = Source(
        cast("RecordStore", _Sieved(room, visit, search)), room.shelves.outcomes,
        room.options.currency,
    )  # fmt: skip
    columns = Columns()
    if search.wanted.integration:
        releases = room.shelves.releases.releases(search.wanted.integration)
        columns = columns_of([one.manifest for one in releases])
    wanted = msgspec.structs.replace(search.wanted, before_id=None, limit=500)
    pieces = export(source, wanted, form, columns, most=MOST_EXPORTED)
    day = time.strftime("%Y-%m-%d", time.gmtime(visit.now_us / 1e6))
    name = f"calls-{search.wanted.integration or 'all'}-{day}.{form}"
    return Download(pieces, name, MEDIA_TYPES[form])


class _Sieved:
    """The calls that a search finds and its visitor may read, as an export reads a ledger."""

    def __init__(self, room: Room, visit: Visit, search: Search) -> None:
        self._room, self._visit, self._search = room, visit, search
        self._found: dict[str, Record] = {}

    def find(self, wanted: CallFilter) -> list[Record]:
        """The next page; a search through a sieve goes on until it is full or there are no more."""
        search = msgspec.structs.replace(self._search, wanted=wanted)
        records: list[Record] = []
        while True:
            found = find(self._room, self._visit, search, wanted.limit - len(records))
            records += found.records
            if found.more is None or len(records) == wanted.limit:
                break
            after = msgspec.structs.replace(wanted, before_id=found.more)
            search = msgspec.structs.replace(search, wanted=after)
        self._found = {one.call_id: one for one in records}
        return records

    def get_many(self, call_ids: Sequence[str]) -> dict[str, Record]:
        """The same, whole."""
        return {one: self._found[one] for one in call_ids if one in self._found}


def summary_of(record: Record) -> str:
    """The decision of a call in one line, or why it cannot be read."""
    return summary(record.reply) or in_place_of_texts(record.notes)


def summary(reply: bytes | None) -> str:
    """A decision in one line: `action block · risk 0.93`."""
    if not reply:
        return ""
    try:
        value: Any = msgspec.json.decode(reply)
    except (msgspec.DecodeError, UnicodeError):
        value = reply.decode("utf-8", "replace")
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        text = " · ".join(_pairs(fields))
    else:
        text = str(value)
    return text if len(text) <= _SUMMARY else f"{text[: _SUMMARY - 1]}…"


def _pairs(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, float):
            value = f"{value:.4g}"
        elif not isinstance(value, str):
            value = msgspec.json.encode(value).decode()
        yield f"{name} {value}"
