"""Labels, which are outcomes joined with predictions in SQL, and what waits to be joined."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Row, and_, exists, func, select, tuple_

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.kinds import Kinds
from splice.adapters.ledgers.label_tables import (
    label_shadows,
    labels,
    quality,
    quality_segments,
    unjoined,
    unscored,
)
from splice.adapters.ledgers.labelling import SqlTurn, label, tallied
from splice.adapters.ledgers.outcomes import outcome_of
from splice.adapters.ledgers.records import CallRow, SqlRecords, unindexed
from splice.adapters.ledgers.releases import SqlReleases
from splice.adapters.ledgers.tables import calls, outcomes
from splice.core.call import Record, Status
from splice.core.errors import StoreError
from splice.core.ids import ids_bytes, ids_texts
from splice.ports.labels import Label, NewCalls, NewOutcome, Tallied
from splice.ports.stores import CallFilter

_AT_ONCE = 400  # ids in one statement


class Unscored:
    """Puts calls that enter the rollups where those who look for labels find them."""

    def __init__(self, releases: SqlReleases) -> None:
        self._releases = releases
        self._has_truths: dict[tuple[str, int], bool] = {}  # of releases, which never change

    def put(self, connection: Connection, records: Sequence[Record]) -> None:
        """Queue those that a truth may tell of, within the transaction that rolls them up."""
        # Each release is asked for once, also one that is not there.
        releases = {(one.integration, one.release) for one in records}
        told = {key: self._told(*key) for key in releases}
        if not any(told.values()):
            return
        ids = ids_bytes([
            record.call_id
            for record in records
            if record.status is Status.ANSWERED and told[record.integration, record.release]
        ])  # fmt: skip
        if ids:
            connection.execute(unscored.insert(), {"ids": b"".join(ids)})

    def _told(self, integration: str, number: int) -> bool:
        known = self._has_truths.get((integration, number))
        if known is None:
            release = self._releases.release(integration, number)
            known = release is not None and bool(release.manifest.truths)
            if release is not None:
                self._has_truths[integration, number] = known
        return known


class SqlLabels:
    """A LabelStore in SQL."""

    def __init__(self, database: Database, records: SqlRecords) -> None:
        self._database = database
        self._records = records
        self._kinds = Kinds(database)

    def new_calls(self, limit: int) -> NewCalls | None:
        """About so many calls that were not looked at; None where none wait."""
        with self._database.read() as connection:
            rows = connection.execute(select(unscored).order_by(unscored.c.number).limit(limit))
            numbers: list[int] = []
            ids: list[str] = []
            for row in rows:
                if len(ids) >= limit:
                    break
                numbers.append(row.number)
                ids += ids_texts(row.ids)
        if not numbers:
            return None
        return NewCalls(self._called(ids), numbers)

    def new_outcomes(self, now_us: int, limit: int) -> list[NewOutcome]:
        """Outcomes that were not joined and have happened, those that happened first at first."""
        query = (
            select(outcomes, unjoined.c.after_us, unjoined.c.after_id)
            .join(unjoined, unjoined.c.outcome == outcomes.c.id)
            .where(unjoined.c.due_us <= now_us)
            .order_by(unjoined.c.due_us, unjoined.c.outcome)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                NewOutcome(
                    row.id,
                    outcome_of(row),
                    None if row.after_us is None else (row.after_us, row.after_id),
                )
                for row in connection.execute(query)
            ]

    def calls_named(self, news: Sequence[NewOutcome]) -> list[Record]:
        """The calls that outcomes name, and those that shadow them, whole."""
        named = [one.outcome.call_id for one in news if one.outcome.call_id is not None]
        found: list[str] = []
        for start in range(0, len(named), _AT_ONCE):
            some = named[start : start + _AT_ONCE]
            query = select(label_shadows.c.call_id).where(label_shadows.c.shadowed.in_(some))
            with self._database.read() as connection:
                found += connection.execute(query).scalars()
        return self._called(list(dict.fromkeys([*named, *found])))

    def calls_of_entity(self, new: NewOutcome, within_s: float, limit: int) -> list[Record]:
        """The next calls of its entity, at the most `within_s` before it, whole."""
        outcome = new.outcome
        since_us = outcome.at_us - round(within_s * 1e6)
        wanted = CallFilter(integration=outcome.integration, status=Status.ANSWERED)
        query = select(calls).where(
            calls.c.entity == outcome.entity,
            calls.c.asked_us >= (since_us if new.after is None else max(since_us, new.after[0])),
            calls.c.asked_us <= outcome.at_us,
            unindexed(calls.c.kind).in_(self._kinds.matching(wanted) or ()),
        )
        if new.after is not None:
            query = query.where(tuple_(calls.c.asked_us, calls.c.id) > new.after)
        query = query.order_by(calls.c.asked_us, calls.c.id).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return self._whole(rows)

    @contextmanager
    def turn(self) -> Generator[SqlTurn]:
        """A transaction; only one is open at a time."""
        with self._database.write() as connection:
            self._database.lock(connection, "labels")
            yield SqlTurn(self._database, connection)

    def tallied(
        self, of: tuple[str, str], since_s: int, until_s: int, segment: str | None = ""
    ) -> list[Tallied]:
        """Counts of the buckets that start in that half-open range."""
        integration, outcome = of
        named = select(quality_segments.c.segment).where(
            quality_segments.c.integration == integration, quality_segments.c.outcome == outcome
        )
        with self._database.read() as connection:
            wanted = [segment]
            if segment is None:
                wanted = sorted(connection.execute(named).scalars())
            found: list[Tallied] = []
            for one in wanted:
                query = select(quality).where(
                    quality.c.integration == integration,
                    quality.c.outcome == outcome,
                    quality.c.segment == one,
                    quality.c.start_s >= since_s,
                    quality.c.start_s < until_s,
                )
                found += [tallied(row) for row in connection.execute(query)]
        return found

    def labels(self, call_ids: Sequence[str]) -> list[Label]:
        """The labels of these calls."""
        found: list[Label] = []
        for start in range(0, len(call_ids), _AT_ONCE):
            query = select(labels).where(labels.c.call_id.in_(call_ids[start : start + _AT_ONCE]))
            with self._database.read() as connection:
                found += [label(row) for row in connection.execute(query)]
        return found

    def waiting(self, integration: str, outcome: str, now_us: int) -> tuple[int, int]:
        """How many outcomes are not joined yet, and how many more wait for their own time."""
        named = and_(
            outcomes.c.id == unjoined.c.outcome,
            outcomes.c.integration == integration,
            outcomes.c.name == outcome,
        )
        mine = exists().where(named)
        later = unjoined.c.due_us > now_us
        with self._database.read() as connection:
            count = select(func.count()).select_from(unjoined)
            due = connection.execute(count.where(~later, mine)).scalar_one()
            return due, connection.execute(count.where(later, mine)).scalar_one()

    def _called(self, ids: Sequence[str]) -> list[Record]:
        answered = set(self._kinds.matching(CallFilter(status=Status.ANSWERED)) or ())
        rows: list[CallRow] = []
        for start in range(0, len(ids), _AT_ONCE):
            query = select(calls).where(calls.c.id.in_(ids[start : start + _AT_ONCE]))
            with self._database.read() as connection:
                rows += [row for row in connection.execute(query) if row.kind in answered]
        return self._whole(rows)

    def _whole(self, rows: Sequence[Row[tuple[object, ...]]]) -> list[Record]:
        """Records with payloads; one that is damaged is left out, and the others go on."""
        try:
            return self._records.whole(rows)
        except StoreError:
            if len(rows) == 1:
                return []
            return [record for row in rows for record in self._whole([row])]
