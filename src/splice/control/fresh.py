"""Fresh rows: recorded calls whose truth is known by now, as a data set that gates run on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import msgspec

from splice.control.datasets import DataSet
from splice.core.call import Record, Status
from splice.core.errors import InputMismatch, MalformedBody
from splice.core.truths import PinnedTruth
from splice.declare.gates import Gate, Latency, ReadGates, SameSchema, Size, Slices
from splice.declare.reading import Declaration
from splice.ports.labels import LabelStore
from splice.ports.stores import CallFilter, RecordStore

_PAGE = 500


class Recorded(Protocol):
    """The stores that fresh rows are in: `wiring.Stores` has them."""

    @property
    def records(self) -> RecordStore:
        """Calls."""
        ...

    @property
    def labels(self) -> LabelStore:
        """Their truth."""
        ...


class TooFew(msgspec.Struct, frozen=True):
    """There are not enough of them: `found` of `wanted`, among `asked` answered calls."""

    found: int
    wanted: int
    asked: int
    since_us: int
    until_us: int

    @property
    def told(self) -> str:
        """In words."""
        return (
            f"{self.found} of {self.asked} answered calls from {_day(self.since_us)} to "
            f"{_day(self.until_us)} can be asked again and have an outcome, wanted {self.wanted}"
        )


class _Row(msgspec.Struct, frozen=True):
    record: Record
    label: Any  # True or False, a class or a number
    segments: tuple[str, ...] = ()


def asked_again(gates: ReadGates, declaration: Declaration) -> tuple[Gate, ...]:
    """The gates that recorded calls can tell of, and may find otherwise than the data set did.

    Left out are size and schema, which are the bytes' own; time, which is asked where nobody else
    works on the machine, and a server does; and slices by a column that no call has.
    """
    fixed = (Latency, Size, SameSchema)
    segments = [name for one in declaration.options.truths for name in one.segments]
    profile = declaration.options.profile
    known = {*declaration.fields, *segments, *(() if profile is None else profile.segments)}
    return tuple(
        one
        for one in gates.must
        if not isinstance(one, fixed) and not (isinstance(one, Slices) and one.column not in known)
    )


def fresh_rows(
    ledger: Recorded, declaration: Declaration, gates: ReadGates, now_us: int
) -> DataSet | TooFew:
    """The newest calls of the window of `gates.validity` whose outcome was due, and is known.

    Whichever version answered them, and by which route. Left out are calls of which the ledger does
    not hold the request (sampled out, erased), or that the declaration does not take any more.

    Raises:
        StoreError: The ledger cannot be read.
    """
    terms = gates.validity
    assert terms is not None  # noqa: S101 - only what is declared fresh is asked for
    (truth,) = (one for one in declaration.options.truths if one.outcome == terms.outcome)
    until_us = now_us - round(truth.matures_s * 1e6)
    since_us = until_us - round(terms.window_s * 1e6)
    wanted = CallFilter(
        integration=declaration.name, status=Status.ANSWERED, since_us=since_us,
        until_us=until_us, limit=_PAGE,
    )  # fmt: skip
    rows: list[_Row] = []
    asked = 0
    for page in _pages(ledger.records, wanted):
        asked += len(page)
        rows += _rows(ledger, declaration, truth, page)
        if len(rows) >= terms.most:
            break
    rows = rows[: terms.most][::-1]  # oldest first
    if len(rows) < terms.least:
        return TooFew(len(rows), terms.least, asked, since_us, until_us)
    window = (rows[0].record.asked_us, until_us)
    return _data_set(declaration, rows, gates.data.positive, window)


def _pages(records: RecordStore, wanted: CallFilter) -> Iterator[list[Record]]:
    while True:
        page = records.find(wanted)
        if page:
            yield [one for one in page if one.shadow_of is None]
        if len(page) < wanted.limit:
            return
        wanted = msgspec.structs.replace(wanted, before_id=page[-1].call_id)


def _rows(
    ledger: Recorded, declaration: Declaration, truth: PinnedTruth, page: Sequence[Record]
) -> list[_Row]:
    ids = [one.call_id for one in page]
    labels = {
        one.scored.call_id: one
        for one in ledger.labels.labels(ids)
        if one.scored.outcome == truth.outcome and one.value is not None
    }
    known = ids if truth.absent is not None else [one for one in ids if one in labels]
    whole = ledger.records.get_many(known)
    absent = False if truth.binary else truth.absent
    found: list[_Row] = []
    for call_id in known:
        record, label = whole.get(call_id), labels.get(call_id)
        if record is None or not _is_taken(declaration, record):
            continue
        if label is None:
            found.append(_Row(record, absent))
        else:
            found.append(_Row(record, label.value, label.scored.segments))
    return found


def _is_taken(declaration: Declaration, record: Record) -> bool:
    """Whether its request is there, and the declaration takes it."""
    if not record.input:
        return False
    try:
        declaration.request.decode(record.input, "row")
    except (InputMismatch, MalformedBody):
        return False
    return True


def _data_set(
    declaration: Declaration, rows: Sequence[_Row], positive: str, window: tuple[int, int]
) -> DataSet:
    fields = [cast("dict[str, Any]", msgspec.json.decode(one.record.input)) for one in rows]
    for row, values in zip(rows, fields, strict=True):
        for segment in row.segments:
            name, _, value = segment.partition("=")
            values.setdefault(name, value)
    names = dict.fromkeys(name for one in fields for name in one)
    digest = hashlib.sha256()
    for one in rows:
        record = one.record
        parts = (record.call_id, record.input, msgspec.json.encode(record.gathered, enc_hook=str),
                 msgspec.json.encode(one.label))  # fmt: skip
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            digest.update(b"%d " % len(raw) + raw)
    made = DataSet(
        f"calls {_day(window[0])} to {_day(window[1])}", digest.hexdigest(),
        {name: [one.get(name) for one in fields] for name in names},
        [_word(one.label, positive) for one in rows], texts=False,
        since_us=window[0], until_us=window[1],
    )  # fmt: skip
    bodies = made.requests(declaration.request, declaration.fields)
    looks = {
        body: (one.record.asked_us, one.record.gathered)
        for body, one in zip(bodies, rows, strict=True)
    }
    return msgspec.structs.replace(made, looks=looks)


def _word(label: Any, positive: str) -> Any:
    """The label in the words of the data set, where that has two words of its own."""
    if not positive or not isinstance(label, bool):
        return label
    return positive if label else f"not {positive}"


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d")
