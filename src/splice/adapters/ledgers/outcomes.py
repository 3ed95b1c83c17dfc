"""Outcomes in SQL, and their joining with calls."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, or_, select, tuple_

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.kinds import Kinds
from splice.adapters.ledgers.label_tables import unjoined
from splice.adapters.ledgers.records import CallRow, SqlRecords, unindexed
from splice.adapters.ledgers.tables import calls, outcomes
from splice.core.call import Outcome, Record
from splice.ports.stores import CallFilter

_PAGE = 256  # calls that `joined` holds in memory at once

# An outcome that names a call is about that call alone, even if it names an entity too.
_OF_ENTITY = outcomes.c.call_id.is_(None)
_OLDEST = (outcomes.c.at_us, outcomes.c.id)


class SqlOutcomes:
    """An OutcomeStore in SQL, beside the records that it joins."""

    def __init__(self, database: Database, records: SqlRecords) -> None:
        self._database = database
        self._records = records
        self._kinds = Kinds(database)

    def append_outcomes(self, some: Sequence[Outcome], received_us: int) -> int:
        """Store them in one transaction; repeated ones once. Returns how many were new."""
        if not some:
            return 0
        with self._database.write() as connection:
            return self.append_within(connection, some, received_us)

    def append_within(
        self, connection: Connection, some: Sequence[Outcome], received_us: int
    ) -> int:
        """The same within a transaction: what they tell of is stored with them."""
        rows = [self._row(outcome, received_us) for outcome in some]
        rows = list({row["digest"]: row for row in rows}.values())
        # One order for all processes, or two that send the same outcomes could wait for each other.
        rows.sort(key=lambda row: row["digest"])
        # Counted by what comes back: psycopg's row count of a batch is not the sum of it.
        new = self._database.insert_new(outcomes).returning(outcomes.c.id, outcomes.c.at_us)
        stored = connection.execute(new, rows).all()
        if stored:
            waiting = [{"outcome": row.id, "due_us": row.at_us} for row in stored]
            connection.execute(unjoined.insert(), waiting)
        return len(stored)

    def outcomes_of(self, record: Record) -> list[Outcome]:
        """Outcomes that name this call, or its entity after it was asked; oldest first."""
        about: ColumnElement[bool] = outcomes.c.call_id == record.call_id
        if record.entity is not None:
            of_entity = and_(
                _OF_ENTITY,
                outcomes.c.entity == record.entity,
                outcomes.c.integration == record.integration,
                outcomes.c.at_us >= record.asked_us,
            )
            about = or_(about, of_entity)
        with self._database.read() as connection:
            rows = connection.execute(select(outcomes).where(about).order_by(*_OLDEST)).all()
        return [outcome_of(row) for row in rows]

    def outcomes_of_many(self, records: Sequence[Record]) -> dict[str, list[Outcome]]:
        """The same of several calls, by call id; those without any are left out."""
        found: dict[str, list[Outcome]] = {}
        for start in range(0, len(records), _PAGE):
            some = records[start : start + _PAGE]
            of_entities = and_(
                _OF_ENTITY,
                outcomes.c.entity.in_({one.entity for one in some if one.entity is not None}),
                outcomes.c.integration.in_({one.integration for one in some}),
            )
            by_call = outcomes.c.call_id.in_([one.call_id for one in some])
            with self._database.read() as connection:
                # Two statements: of an OR of them a database may make a scan.
                rows = [
                    *connection.execute(select(outcomes).where(by_call)),
                    *connection.execute(select(outcomes).where(of_entities)),
                ]
            about: dict[tuple[str, str | None], list[Record]] = {}
            for one in some:
                about.setdefault((one.integration, one.entity), []).append(one)
            for row in sorted(rows, key=lambda row: (row.at_us, row.id)):
                ids = [row.call_id]
                if row.call_id is None:
                    calls_about = about.get((row.integration, row.entity), ())
                    ids = [one.call_id for one in calls_about if row.at_us >= one.asked_us]
                for call_id in ids:
                    found.setdefault(call_id, []).append(outcome_of(row))
        return found

    def joined(
        self, integration: str, name: str | None = None, since_us: int = 0
    ) -> Iterator[tuple[Record, Outcome]]:
        """Records with payloads, each with its latest outcome of that name, oldest first.

        Without a name, a record comes once for each name. No transaction stays open between two
        pages: a slow reader holds nobody up.
        """
        last: tuple[int, str] | None = None
        while page := self._page(integration, name, since_us, last):
            latest = self._latest(integration, name, page)
            for record in self._records.whole(page):
                for outcome in latest.get(record.call_id, ()):
                    yield record, outcome
            last = (page[-1].asked_us, page[-1].id)

    def _page(
        self, integration: str, name: str | None, since_us: int, last: tuple[int, str] | None
    ) -> Sequence[CallRow]:
        """The next calls that have an outcome."""
        named = _named(integration, name)
        by_call = exists().where(outcomes.c.call_id == calls.c.id, *named)
        by_entity = exists().where(
            _OF_ENTITY,
            outcomes.c.entity == calls.c.entity,
            outcomes.c.at_us >= calls.c.asked_us,
            *named,
        )
        numbers = self._kinds.matching(CallFilter(integration=integration)) or ()
        query = select(calls).where(unindexed(calls.c.kind).in_(numbers), or_(by_call, by_entity))
        if last is None:
            query = query.where(calls.c.asked_us >= since_us)
        else:
            query = query.where(
                calls.c.asked_us >= last[0], tuple_(calls.c.asked_us, calls.c.id) > last
            )
        with self._database.read() as connection:
            return connection.execute(
                query.order_by(calls.c.asked_us, calls.c.id).limit(_PAGE)
            ).all()

    def _latest(
        self, integration: str, name: str | None, page: Sequence[CallRow]
    ) -> dict[str, list[Outcome]]:
        """The latest outcome of each name, by call id."""
        entities = {row.entity for row in page if row.entity is not None}
        named = _named(integration, name)
        by_call = self._ranked(
            outcomes.c.call_id, outcomes.c.call_id.in_([row.id for row in page]), *named
        )
        by_entity = self._ranked(
            outcomes.c.entity, _OF_ENTITY, outcomes.c.entity.in_(entities), *named
        )
        found: dict[str, list[Outcome]] = {}
        for call in page:
            best: dict[str, Row[Any]] = {}  # rows of `outcomes`
            rows = [*by_call.get(call.id, ())]
            # The latest outcome of an entity comes after the call, if any of them does.
            rows += [row for row in by_entity.get(call.entity, ()) if row.at_us >= call.asked_us]
            for row in sorted(rows, key=lambda row: (row.at_us, row.id)):
                best[row.name] = row
            found[call.id] = [outcome_of(best[name]) for name in sorted(best)]
        return found

    def _ranked(
        self, by: ColumnElement[Any], *where: ColumnElement[bool]
    ) -> dict[Any, list[Row[Any]]]:  # rows of `outcomes`, by the values of that column
        order = [column.desc() for column in _OLDEST]
        rank = func.row_number().over(partition_by=(by, outcomes.c.name), order_by=order)
        ranked = select(outcomes, rank.label("rank")).where(*where).subquery()
        found: dict[Any, list[Row[Any]]] = {}
        with self._database.read() as connection:
            for row in connection.execute(select(ranked).where(ranked.c.rank == 1)):
                found.setdefault(getattr(row, by.key or ""), []).append(row)
        return found

    def _row(self, outcome: Outcome, received_us: int) -> dict[str, Any]:  # a row is untyped
        if isinstance(outcome.value, float) and not math.isfinite(outcome.value):
            raise self._database.place.error(
                f"an outcome {outcome.name!r} of {outcome.value}",
                "leave out what is not known: an outcome is the truth",
                promised="true or false, a finite number, or text",
            )
        content = msgspec.json.encode(outcome)
        return {
            "digest": hashlib.sha256(content).digest(),
            "integration": outcome.integration,
            "name": outcome.name,
            "value": msgspec.json.encode(outcome.value).decode(),
            "at_us": outcome.at_us,
            "received_us": received_us,
            "call_id": outcome.call_id,
            "entity": outcome.entity,
            "source": outcome.source,
        }


def _named(integration: str, name: str | None) -> tuple[ColumnElement[bool], ...]:
    of_integration = (outcomes.c.integration == integration,)
    return of_integration if name is None else (*of_integration, outcomes.c.name == name)


def outcome_of(row: Row[Any]) -> Outcome:
    """An outcome of a row of `outcomes`."""
    return Outcome(
        integration=row.integration,
        name=row.name,
        value=msgspec.json.decode(row.value, type=bool | float | str),
        at_us=row.at_us,
        call_id=row.call_id,
        entity=row.entity,
        source=row.source,
    )
