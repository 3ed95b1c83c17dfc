"""What studies read of the ledger: which units have something new, and what each came to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Connection, Select, func, select, tuple_

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.figures import NOT_ASKED
from splice.adapters.ledgers.records import unindexed
from splice.adapters.ledgers.study_news import News
from splice.adapters.ledgers.tables import calls, kinds, outcomes
from splice.core.call import Reason, Status
from splice.core.rollout import SHADOW
from splice.core.spans import CROSSED, Came, Progress, Sought, Span, Touched, Unit

_AT_ONCE = 400  # ids in one statement
_PAGE = 20_000  # calls in memory at once
_DAY_US = 86_400_000_000

Told: TypeAlias = "tuple[int, int, float]"
"""When an outcome happened, its number, and what it counts; NaN where it counts nothing."""

_TOLD = (outcomes.c.name, outcomes.c.at_us, outcomes.c.id, outcomes.c.value)

LedgerRow: TypeAlias = Any  # the driver types its columns, and names them


class Reading:
    """Reads for one span; short statements, each by an index.

    Args:
        database: The ledger.
        span: What is studied.
        now_us: As of when.
    """

    def __init__(self, database: Database, span: Span, now_us: int) -> None:
        self._database = database
        self._span = span
        self._now_us = now_us
        self._kinds = self._read_kinds()
        releases = frozenset(span.releases)
        self._arms = {
            number: arm
            for number, kind in self._kinds.items()
            if kind.release in releases and (arm := span.arm(kind.variant)) is not None
        }

    def _read_kinds(self) -> dict[int, Any]:  # rows of `call_kinds`
        query = select(kinds).where(
            kinds.c.integration == self._span.integration,
            kinds.c.status != Status.REFUSED.value,
            kinds.c.variant != SHADOW,
        )
        with self._database.read() as connection:
            return {row.id: row for row in connection.execute(query)}

    def touched(self, progress: Progress, limit: int) -> Touched:
        """Units with something new since then."""
        span, now = self._span, self._now_us
        progress = self._swept(progress)
        units: dict[str, None] = {}
        since = max(progress.asked_us, span.since_us)
        rows, until = self._asked(since, now + 1, limit)
        settled = max(since, min(until, now - span.lag_us))
        more = until <= now
        nobody = [row.asked_us for row in rows if row.entity is None]
        nameless = progress.nameless + sum(at < progress.swept_us for at in nobody)
        new = progress.nameless_new + sum(progress.swept_us <= at < settled for at in nobody)
        seen_again = sum(at >= max(settled, progress.swept_us) for at in nobody)
        units.update((row.entity, None) for row in rows if row.entity is not None)
        last = max((row.asked_us for row in rows), default=0)
        due = dict(progress.due)
        for matures in {one.matures_us for one in span.outcomes if one.matures_us}:
            start = max(due.get(str(matures), 0), span.since_us)
            rows, until = self._asked(start, now - matures + 1, limit)
            units.update((row.entity, None) for row in rows if row.entity is not None)
            more = more or until <= now - matures
            due[str(matures)] = max(start, min(until, now - matures - span.lag_us))
        number, told, cut = self._told(progress, limit)
        units.update(dict.fromkeys(told))
        changed = msgspec.structs.replace(
            progress, asked_us=settled, due=due, outcome=number,
            nameless=nameless, nameless_new=new,
            looked_us=progress.looked_us if cut else now, last_us=max(progress.last_us, last),
        )  # fmt: skip
        return Touched(list(units), changed, more or cut, nameless + new + seen_again)

    def _swept(self, progress: Progress) -> Progress:
        """Once a day the last day is looked at again: a spool may bring calls hours late."""
        span, now = self._span, self._now_us
        if not progress.sweep_at_us:
            return self._begun(progress)
        if now < progress.sweep_at_us + _DAY_US or progress.asked_us < now - span.lag_us - _DAY_US:
            return progress  # it was done, or there is so much new that it is not its turn
        return msgspec.structs.replace(
            progress, asked_us=progress.swept_us, nameless_new=0, sweep_at_us=now,
            swept_us=max(progress.swept_us, now - _DAY_US),
        )  # fmt: skip

    def _begun(self, progress: Progress) -> Progress:
        """Where a span is new: every unit will be counted from now on, by what is known now."""
        span, now = self._span, self._now_us
        waits = {one.matures_us for one in span.outcomes if one.matures_us}
        with self._database.read() as connection:
            top = connection.execute(select(func.max(outcomes.c.id))).scalar() or 0
        return msgspec.structs.replace(
            progress, swept_us=span.since_us, sweep_at_us=now, outcome=top, looked_us=now,
            due={str(one): now - one - span.lag_us for one in waits},
        )  # fmt: skip

    def _asked(self, since_us: int, until_us: int, limit: int) -> tuple[list[LedgerRow], int]:
        """Calls of the span in a stretch of time, and up to when they are all there."""
        found: list[LedgerRow] = []
        end = until_us
        with self._database.read() as connection:
            for number in self._arms if since_us < until_us else ():
                query = select(calls.c.asked_us, calls.c.entity).where(
                    calls.c.kind == number, calls.c.asked_us >= since_us, calls.c.asked_us < end
                )
                rows = connection.execute(query.order_by(calls.c.asked_us).limit(limit)).all()
                if len(rows) == limit:
                    cut = rows[-1].asked_us
                    if cut == since_us:  # so many of one microsecond: all of them, then
                        same = query.where(calls.c.asked_us == since_us)
                        rows, cut = connection.execute(same).all(), since_us + 1
                    end = min(end, cut)
                found += rows
        return [row for row in found if row.asked_us < end], end

    def _told(self, progress: Progress, limit: int) -> tuple[int, list[str], bool]:
        """Units that outcomes are about which came since; whether there are more of them."""
        names = [one.name for one in self._span.outcomes]
        if not names:
            return progress.outcome, [], False
        news = News(self._span.integration, names, progress.outcome, progress.looked_us)
        with self._database.read() as connection:
            units = self._about(connection, news.read(connection, limit))
        return news.number, units, news.more

    def _about(self, connection: Connection, rows: Sequence[LedgerRow]) -> list[str]:
        """The units of outcomes: those of their calls, and entities that are in the study."""
        units = dict.fromkeys(row.entity for row in rows if row.call_id is None and row.entity)
        ids = [row.call_id for row in rows if row.call_id is not None]
        for some in _parts(ids):
            query = select(calls.c.entity, calls.c.kind).where(calls.c.id.in_(some))
            for row in connection.execute(query):
                if row.entity is not None and row.kind in self._arms:
                    units[row.entity] = None
        return list(units)

    def counted(self, names: Sequence[str]) -> list[Unit]:
        """Units as they are now; those without calls in the span are left out."""
        found: dict[str, Unit] = {}
        for some in _parts(list(names)):
            self._count(some, found)
        return [one for one in found.values() if one.calls]

    def _count(self, names: Sequence[str], found: dict[str, Unit]) -> None:
        of_entities = self._of_entities(names)
        for page in self._calls(names):
            for row in page:
                unit = found.get(row.entity)
                if unit is None:
                    unit = found[row.entity] = Unit(row.entity, CROSSED, 0)
                self._add(unit, row)
            of_calls = self._of_calls(names, page)
            for one in self._span.outcomes:
                told = (of_calls.get(one.name, {}), of_entities.get(one.name, {}))
                self._join(one, page, told, found)

    def _calls(self, names: Sequence[str]) -> Iterator[Sequence[LedgerRow]]:
        """Calls of units since the start of their past, in pages; of a busy unit in several."""
        query = select(calls.c.id, calls.c.kind, calls.c.asked_us, calls.c.duration_us,
                       calls.c.entity, calls.c.cost_nano).where(
            calls.c.asked_us >= self._span.past_us,
            calls.c.asked_us <= self._now_us,
            unindexed(calls.c.kind).in_(list(self._kinds)),
        )  # fmt: skip
        page = self._rows(query.where(calls.c.entity.in_(names)).limit(_PAGE))
        if len(page) < _PAGE:
            yield page
            return
        by_time = (calls.c.asked_us, calls.c.id)
        for name in names:
            one = query.where(calls.c.entity == name).order_by(*by_time).limit(_PAGE)
            page = self._rows(one)
            while page:
                yield page
                last = (page[-1].asked_us, page[-1].id)
                after = one.where(calls.c.asked_us >= last[0], tuple_(*by_time) > last)
                page = self._rows(after) if len(page) == _PAGE else ()

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[LedgerRow]:  # of any columns
        with self._database.read() as connection:
            return connection.execute(query).all()

    def _add(self, unit: Unit, row: LedgerRow) -> None:
        """What a call adds to its unit, but for outcomes."""
        arm = self._arms.get(row.kind)
        if arm is None or row.asked_us < self._span.since_us:
            return  # of its past, or of a variant that is not compared
        if not unit.calls:
            unit.arm, unit.first_us = arm, row.asked_us
        elif unit.arm != arm:
            unit.arm = CROSSED
        unit.calls += 1
        unit.first_us = min(unit.first_us, row.asked_us)
        unit.duration_us += row.duration_us
        if row.cost_nano is not None:
            unit.costed += 1
            unit.cost_nano += row.cost_nano
        kind = self._kinds[row.kind]
        if kind.reason in NOT_ASKED:
            return
        unit.asked += 1
        failed = kind.status == Status.FAILED
        unit.failures += failed
        unit.errors += failed or kind.reason == Reason.FALLBACK

    def _join(
        self,
        sought: Sought,
        page: Sequence[LedgerRow],
        told: tuple[Mapping[str, Sequence[Told]], Mapping[str, Sequence[Told]]],
        found: Mapping[str, Unit],
    ) -> None:
        """What the calls of a page came to in one outcome: the latest that is about each."""
        span, now = self._span, self._now_us
        matures, within = sought.matures_us or 0, sought.within_us
        of_calls, of_entities = told
        for row in page:
            asked = row.asked_us
            past = asked < span.since_us
            if asked + matures > (span.since_us if past else now):
                continue  # not due, or neither before the study nor in it
            if not past and row.kind not in self._arms:
                continue
            # What came of an earlier call may be told during the study, and be made by it.
            before = min(now, span.since_us - 1) if past else now
            own = [one for one in of_calls.get(row.id, ()) if one[0] <= before]
            until = before if within is None else min(before, asked + within)
            own += [one for one in of_entities.get(row.entity, ()) if asked <= one[0] <= until]
            value = max(own)[2] if own else sought.absent
            if value is None or value != value:  # nothing is known, or nothing it can count
                continue
            came = found[row.entity].outcomes.setdefault(sought.name, Came())
            if past:
                came.past_calls += 1
                came.past_total += value
            else:
                came.calls += 1
                came.total += value

    def _of_calls(
        self, names: Sequence[str], page: Sequence[LedgerRow]
    ) -> dict[str, dict[str, list[Told]]]:
        """Outcomes that name calls of a page, by name and call id."""
        if not page or not self._span.outcomes:
            return {}
        asked = [row.asked_us for row in page]
        query = (
            select(outcomes.c.call_id.label("about"), *_TOLD)
            .select_from(calls.join(outcomes, outcomes.c.call_id == calls.c.id))
            .where(
                calls.c.entity.in_(names),
                calls.c.asked_us >= min(asked),
                calls.c.asked_us <= max(asked),
                *self._named(),
            )
        )
        return self._by_name(query)

    def _of_entities(self, names: Sequence[str]) -> dict[str, dict[str, list[Told]]]:
        """Outcomes that name an entity and no call, by name and entity."""
        if not self._span.outcomes:
            return {}
        query = select(outcomes.c.entity.label("about"), *_TOLD).where(
            outcomes.c.call_id.is_(None), outcomes.c.entity.in_(names), *self._named()
        )
        return self._by_name(query)

    def _by_name(self, query: Select[*tuple[Any, ...]]) -> dict[str, dict[str, list[Told]]]:
        read = {one.name: one for one in self._span.outcomes}
        found: dict[str, dict[str, list[Told]]] = {name: {} for name in read}
        for row in self._rows(query):
            number = read[row.name].number(msgspec.json.decode(row.value, type=bool | float | str))
            told = (row.at_us, row.id, float("nan") if number is None else number)
            found[row.name].setdefault(row.about, []).append(told)
        return found

    def _named(self) -> tuple[Any, ...]:  # SQLAlchemy's own types
        names = [one.name for one in self._span.outcomes]
        return (outcomes.c.integration == self._span.integration, outcomes.c.name.in_(names))


def _parts(values: Sequence[Any], size: int = _AT_ONCE) -> Iterable[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
