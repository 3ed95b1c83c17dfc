"""Looks for calls: by index where one knows, else through the newest for a bounded time."""

from __future__ import annotations

import time

import msgspec

from splice.console.desk import Visit
from splice.console.room import Room
from splice.console.search import Search
from splice.core.call import Outcome, Record

_BATCH = 256
PAGE = 50


class Found(msgspec.Struct, frozen=True):
    """A page of calls, newest first, with what became of them.

    `looked` is how many calls were looked at, back to `reached_us`. `more` is the call that the
    next page begins after; None where there is none. `out_of_time` where the search ended before
    the page was full, and there may be more.
    """

    records: list[Record]
    outcomes: dict[str, list[Outcome]]
    looked: int = 0
    reached_us: int | None = None
    more: str | None = None
    out_of_time: bool = False


def find(room: Room, visit: Visit, search: Search, most: int = PAGE) -> Found:
    """Calls that a visitor may read and looks for.

    Where only an index is asked, that is one look into it. Else calls are looked through, newest
    first, until the page is full or `console.search_ms` have passed.
    """
    began, sieve = time.monotonic(), search.sieve
    found: list[Record] = []
    looked, last = 0, search.wanted.before_id
    reached: int | None = None
    while True:
        limit = most + 1 if sieve.is_open and visit.sees_all else _BATCH
        rows = room.shelves.records.find(
            msgspec.structs.replace(search.wanted, before_id=last, limit=limit)
        )
        passed = _sieved(room, visit, search, rows)
        for record in rows:
            looked, last, reached = looked + 1, record.call_id, record.asked_us
            if record.call_id in passed:
                found.append(passed[record.call_id])
            if len(found) == most:
                break
        ended = len(rows) < limit and (not rows or last == rows[-1].call_id)
        if len(found) == most or ended:
            return _page(room, found, looked, reached, None if ended else last)
        if time.monotonic() - began > room.options.search_s:
            return msgspec.structs.replace(
                _page(room, found, looked, reached, last), out_of_time=True
            )


def _sieved(room: Room, visit: Visit, search: Search, rows: list[Record]) -> dict[str, Record]:
    """Those that pass, by call id."""
    sieve, who = search.sieve, visit.principal
    some = [
        one
        for one in rows
        if room.may_read(who, one.integration, one.caller) and sieve.passes_row(one)
    ]
    if sieve.outcome is not None and some:
        outcomes = room.shelves.outcomes.outcomes_of_many(some)
        some = [one for one in some if sieve.passes_outcomes(outcomes.get(one.call_id, []))]
    if sieve.needs_payload and some:
        whole = room.shelves.records.get_many([one.call_id for one in some])
        return {name: one for name, one in whole.items() if sieve.passes_payload(one)}
    return {one.call_id: one for one in some}


def _page(
    room: Room, found: list[Record], looked: int, reached: int | None, more: str | None
) -> Found:
    """The page, its records whole."""
    lean = [one.call_id for one in found if not one.input and not one.attempts]
    whole = room.shelves.records.get_many(lean) if lean else {}
    records = [whole.get(one.call_id, one) for one in found]
    outcomes = room.shelves.outcomes.outcomes_of_many(records) if records else {}
    return Found(records, outcomes, looked, reached, more)
