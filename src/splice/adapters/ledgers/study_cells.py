"""The objective's figure in SQL: calls that became mature, counted by cells of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
from sqlalchemy import Connection, Select, delete, insert, select, tuple_, update

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.study_news import News
from splice.adapters.ledgers.study_tables import studies, study_cells
from splice.adapters.ledgers.tables import calls, kinds, outcomes
from splice.core.call import Status
from splice.core.kpis import Cell, Counting, Kpi, cell_of, empty, group_of
from splice.core.rollout import HOLDOUT, SHADOW
from splice.core.spans import Progress, Span

_PAGE = 5_000  # calls in memory at once
_AT_ONCE = 400  # entities in one statement
_US = 1_000_000
_DAY_US = 86_400 * _US

LedgerRow: TypeAlias = Any  # the driver types its columns, and names them
Told: TypeAlias = "tuple[int, int, float]"
"""When an outcome happened, its number, and what it counts; NaN where it counts nothing."""


T = TypeVar("T", Counting, Progress)


class SqlCells:
    """The part of a StudyStore that counts the objective's figure."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _begun(self, of: Kpi | Span, new: T) -> T:
        """What is noted of it; `new`, which is noted then, where nothing is."""
        query = select(studies.c.progress).where(studies.c.key == of.key)
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            row = {
                "key": of.key, "integration": of.integration, "since_us": of.since_us,
                "revision": 0, "progress": msgspec.json.encode(new).decode(),
            }  # fmt: skip
            with self._database.write() as connection:
                connection.execute(self._database.insert_new(studies), row)
                found = connection.execute(query).scalar_one()
        return msgspec.json.decode(found, type=type(new))

    def counting(self, kpi: Kpi) -> Counting:
        """How far a figure is counted; noted as begun where it is new."""
        return self._begun(kpi, Counting())

    def soiled(self, kpi: Kpi, counting: Counting, now_us: int, limit: int) -> Counting:
        """The same, with the cells that have something new: mature calls, or outcomes of such."""
        matures = kpi.sought.matures_us
        dirty = set(counting.dirty)
        due, swept = counting.due_us, counting.swept_us
        if matures is not None:
            sweeps = now_us - counting.swept_us >= _DAY_US  # a spool may bring calls hours late
            back = kpi.lag_us + (_DAY_US if sweeps else 0)
            swept = now_us if sweeps else swept
            start, end = max(due - back, kpi.since_us), now_us - matures
            first, last = start // _US // kpi.span_s, end // _US // kpi.span_s
            if start <= end and due <= end:
                dirty.update(one * kpi.span_s for one in range(first, last + 1))
            due = max(due, end)
        news = News(kpi.integration, [kpi.sought.name], counting.outcome, counting.looked_us)
        with self._database.read() as connection:
            rows = news.read(connection, limit)
            young = now_us - (matures or 0)
            asked = _asked_of(connection, kpi, rows)
            dirty.update(at // _US // kpi.span_s * kpi.span_s for at in asked if at <= young)
        return msgspec.structs.replace(
            counting, due_us=due, swept_us=swept, dirty=tuple(sorted(dirty)), outcome=news.number,
            looked_us=counting.looked_us if news.more else now_us,
        )  # fmt: skip

    def cell(self, kpi: Kpi, start_s: int, now_us: int) -> Cell:
        """A cell as it is now, counted from its calls."""
        cell = empty(start_s)
        query = select(kinds.c.id).where(
            kinds.c.integration == kpi.integration,
            kinds.c.status != Status.REFUSED.value,
            kinds.c.variant.not_in([SHADOW, HOLDOUT]),
        )
        with self._database.read() as connection:
            numbers = list(connection.execute(query).scalars())
        until = min((start_s + kpi.span_s) * _US, now_us - (kpi.sought.matures_us or 0) + 1)
        for number in numbers:
            for page in self._pages(number, max(start_s * _US, kpi.since_us), until):
                self._count(kpi, number, page, cell, now_us)
        return cell

    def _pages(self, kind: int, since_us: int, until_us: int) -> Iterator[Sequence[LedgerRow]]:
        by_time = (calls.c.asked_us, calls.c.id)
        query = select(calls.c.id, calls.c.asked_us, calls.c.entity).where(
            calls.c.kind == kind, calls.c.asked_us >= since_us, calls.c.asked_us < until_us
        )
        query = query.order_by(*by_time).limit(_PAGE)
        page = self._rows(query)
        while page:
            yield page
            last = (page[-1].asked_us, page[-1].id)
            after = query.where(calls.c.asked_us >= last[0], tuple_(*by_time) > last)
            page = self._rows(after) if len(page) == _PAGE else ()

    def _count(
        self, kpi: Kpi, kind: int, page: Sequence[LedgerRow], cell: Cell, now_us: int
    ) -> None:
        sought = kpi.sought
        own = self._of_calls(kpi, kind, page)
        shared = self._of_entities(kpi, {row.entity for row in page if row.entity is not None})
        for row in page:
            asked = row.asked_us
            until = now_us if sought.within_us is None else min(now_us, asked + sought.within_us)
            told = [one for one in own.get(row.id, ()) if one[0] <= now_us]
            told += [one for one in shared.get(row.entity, ()) if asked <= one[0] <= until]
            value = max(told)[2] if told else sought.absent
            if value is None or value != value:  # nothing is known, or nothing it can count
                continue
            group = group_of(row.entity or row.id)
            cell.calls[group] += 1
            cell.totals[group] += value

    def _of_calls(
        self, kpi: Kpi, kind: int, page: Sequence[LedgerRow]
    ) -> Mapping[str, Sequence[Told]]:
        query = (
            select(outcomes.c.call_id.label("about"), *_TOLD)
            .select_from(calls.join(outcomes, outcomes.c.call_id == calls.c.id))
            .where(
                calls.c.kind == kind,
                calls.c.asked_us >= page[0].asked_us,
                calls.c.asked_us <= page[-1].asked_us,
                *_named(kpi),
            )
        )
        return self._told(kpi, query, {})

    def _of_entities(self, kpi: Kpi, names: Iterable[str]) -> Mapping[str, Sequence[Told]]:
        found: dict[str, list[Told]] = {}
        every = list(names)
        for start in range(0, len(every), _AT_ONCE):
            query = select(outcomes.c.entity.label("about"), *_TOLD).where(
                outcomes.c.call_id.is_(None),
                outcomes.c.entity.in_(every[start : start + _AT_ONCE]),
                *_named(kpi),
            )
            self._told(kpi, query, found)
        return found

    def _told(
        self, kpi: Kpi, query: Select[*tuple[Any, ...]], found: dict[str, list[Told]]
    ) -> dict[str, list[Told]]:
        for row in self._rows(query):
            value = kpi.sought.number(msgspec.json.decode(row.value, type=bool | float | str))
            told = (row.at_us, row.id, float("nan") if value is None else value)
            found.setdefault(row.about, []).append(told)
        return found

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[LedgerRow]:  # of any columns
        with self._database.read() as connection:
            return connection.execute(query).all()

    def keep_cells(self, kpi: Kpi, cells: Sequence[Cell], counting: Counting) -> Counting | None:
        """Store cells and how far they are; None where somebody else changed that meanwhile."""
        after = msgspec.structs.replace(counting, revision=counting.revision + 1)
        text = msgspec.json.encode(after).decode()
        with self._database.write() as connection:
            mine = (studies.c.key == kpi.key, studies.c.revision == counting.revision)
            change = update(studies).where(*mine).values(revision=after.revision, progress=text)
            if connection.execute(change).rowcount != 1:
                return None
            for cell in cells:
                same = (study_cells.c.kpi == kpi.key, study_cells.c.start_s == cell.start_s)
                row = {"kpi": kpi.key, "start_s": cell.start_s, "body": cell.body}
                connection.execute(delete(study_cells).where(*same))
                connection.execute(insert(study_cells), row)
        return after

    def cells(self, kpi: Kpi, since_s: int, until_s: int) -> list[Cell]:
        """Cells that start in a half-open stretch of time, oldest first."""
        query = select(study_cells.c.start_s, study_cells.c.body).where(
            study_cells.c.kpi == kpi.key,
            study_cells.c.start_s >= since_s,
            study_cells.c.start_s < until_s,
        )
        rows = self._rows(query.order_by(study_cells.c.start_s))
        return [cell_of(row.start_s, bytes(row.body)) for row in rows]


_TOLD = (outcomes.c.at_us, outcomes.c.id, outcomes.c.value)


def _named(kpi: Kpi) -> tuple[Any, ...]:  # SQLAlchemy's own types
    return (outcomes.c.integration == kpi.integration, outcomes.c.name == kpi.sought.name)


def _asked_of(connection: Connection, kpi: Kpi, rows: Sequence[LedgerRow]) -> list[int]:
    """When the calls were asked that outcomes are about."""
    found: list[int] = []
    ids = [row.call_id for row in rows if row.call_id is not None]
    for start in range(0, len(ids), _AT_ONCE):
        query = select(calls.c.asked_us).where(calls.c.id.in_(ids[start : start + _AT_ONCE]))
        found += connection.execute(query).scalars()
    within = kpi.sought.within_us
    for row in rows:
        if row.call_id is not None or row.entity is None:
            continue
        since = kpi.since_us if within is None else max(kpi.since_us, row.at_us - within)
        query = select(calls.c.asked_us).where(
            calls.c.entity == row.entity, calls.c.asked_us >= since, calls.c.asked_us <= row.at_us
        )
        found += connection.execute(query).scalars()
    return found
