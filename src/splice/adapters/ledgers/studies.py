"""Studies of experiments in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Double,
    Row,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.study_cells import SqlCells
from splice.adapters.ledgers.study_reading import Reading
from splice.adapters.ledgers.study_tables import studies, study_outcomes, study_units
from splice.core.moments import PAIRS, WIDTH, Moments
from splice.core.spans import Progress, Span, Tally, Touched, Unit
from splice.core.studies import Study
from splice.core.units import NANO

_AT_ONCE = 400  # units in one statement


class SqlStudies(SqlCells):
    """A StudyStore in SQL."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def studies(self, integration: str | None = None) -> list[Study]:
        """The latest state of every study; running ones, then the newest."""
        query = select(studies.c.body).where(studies.c.body.is_not(None))
        if integration is not None:
            query = query.where(studies.c.integration == integration)
        query = query.order_by(studies.c.since_us.desc(), studies.c.id.desc())
        with self._database.read() as connection:
            found = [_study(row.body) for row in connection.execute(query)]
        return sorted(found, key=lambda one: not one.running)

    def study(self, key: str) -> Study | None:
        """The latest state of one study, or None."""
        with self._database.read() as connection:
            body = connection.execute(select(studies.c.body).where(studies.c.key == key)).scalar()
        return None if body is None else _study(body)

    def moved_us(self, integration: str) -> int:
        """When the newest call was asked that was moved out of the ledger; 0 if none was."""
        query = text("SELECT max(last_us) FROM archives WHERE integration = :integration")
        with self._database.read() as connection:
            return connection.execute(query, {"integration": integration}).scalar() or 0

    def put_study(self, study: Study) -> None:
        """Store the state of a study in place of the one before."""
        body = msgspec.json.encode(study).decode()
        with self._database.write() as connection:
            connection.execute(update(studies).where(studies.c.key == study.key).values(body=body))

    def progress(self, span: Span) -> Progress:
        """How far a span was looked at; noted as begun where it is new."""
        return self._begun(span, Progress())

    def touched(self, span: Span, progress: Progress, now_us: int, limit: int) -> Touched:
        """Units with something new since then; those of outcomes only if they are known."""
        return Reading(self._database, span, now_us).touched(progress, limit)

    def counted(self, span: Span, units: Sequence[str], now_us: int) -> list[Unit]:
        """These units as they are now."""
        return Reading(self._database, span, now_us).counted(units) if units else []

    def keep(self, span: Span, units: Sequence[Unit], progress: Progress) -> Progress | None:
        """Store units and progress; None where somebody else changed it meanwhile."""
        after = msgspec.structs.replace(progress, revision=progress.revision + 1)
        body = msgspec.json.encode(after).decode()
        with self._database.write() as connection:
            mine = (studies.c.key == span.key, studies.c.revision == progress.revision)
            change = update(studies).where(*mine).values(revision=after.revision, progress=body)
            if connection.execute(change).rowcount != 1:
                return None
            number = connection.execute(
                select(studies.c.id).where(studies.c.key == span.key)
            ).scalar_one()
            for start in range(0, len(units), _AT_ONCE):
                _put(connection, number, units[start : start + _AT_ONCE])
        return after

    def tally(self, span: Span) -> Tally:
        """All units of a span in sums."""
        with self._database.read() as connection:
            number = connection.execute(
                select(studies.c.id).where(studies.c.key == span.key)
            ).scalar()
            if number is None:
                return Tally()
            rows = connection.execute(_units_query(number)).all()
            moments = {name: _pair(rows, name, 2) for name in _RATIOS}
            for one in span.outcomes:
                came = connection.execute(_outcome_query(number, one.name)).all()
                moments[f"outcome:{one.name}"] = _pair(came, "y", WIDTH)
        by_arm = {row.arm: row for row in rows}
        both = [by_arm.get(arm) for arm in (0, 1)]
        crossed = by_arm.get(-1)
        return Tally(
            (_count(both[0], "units"), _count(both[1], "units")),
            (_count(both[0], "calls"), _count(both[1], "calls")),
            _count(crossed, "units"),
            moments,
        )


def _study(body: str) -> Study:
    return msgspec.json.decode(body, type=Study)


def _put(connection: Connection, study: int, units: Sequence[Unit]) -> None:
    """Units in place of what was known of them."""
    names = [one.name for one in units]
    for table in (study_units, study_outcomes):
        connection.execute(delete(table).where(table.c.study == study, table.c.unit.in_(names)))
    connection.execute(
        insert(study_units),
        [
            {
                "study": study, "unit": one.name, "arm": one.arm, "first_us": one.first_us,
                "calls": one.calls, "asked": one.asked, "errors": one.errors,
                "failures": one.failures, "cost_nano": one.cost_nano, "costed": one.costed,
                "duration_us": one.duration_us,
            }
            for one in units
        ],
    )  # fmt: skip
    came = [
        {
            "study": study, "outcome": name, "unit": one.name, "arm": one.arm,
            "calls": said.calls, "total": said.total, "past_calls": said.past_calls,
            "past_total": said.past_total,
        }
        for one in units
        for name, said in one.outcomes.items()
        if said.calls
    ]  # fmt: skip
    if came:
        connection.execute(insert(study_outcomes), came)


_Number = ColumnElement[float]


def _real(column: Column[Any], scale: float = 1.0) -> _Number:
    """As a floating-point number: the squares of whole ones need not fit into 64 bits."""
    return cast(column, Double) * literal(scale, Double)


_U = study_units.c
_RATIOS: dict[str, tuple[_Number, _Number]] = {
    "errors": (_real(_U.errors), _real(_U.asked)),
    "failures": (_real(_U.failures), _real(_U.asked)),
    "cost": (_real(_U.cost_nano, 1 / NANO), _real(_U.costed)),
    "latency": (_real(_U.duration_us, 1e-6), _real(_U.calls)),
}
"""What a unit came to, and over how many calls, by figure."""


def _units_query(study: int) -> Any:  # SQLAlchemy's own type
    columns: list[ColumnElement[Any]] = [
        func.count().label("units"), func.sum(_U.calls).label("calls"),
    ]  # fmt: skip
    for name, (total, over) in _RATIOS.items():
        columns += _sums(name, (total, over))
    return select(_U.arm, *columns).where(_U.study == study).group_by(_U.arm)


def _outcome_query(study: int, outcome: str) -> Any:  # SQLAlchemy's own type
    c = study_outcomes.c
    had = case((c.past_calls > 0, literal(1.0, Double)), else_=literal(0.0, Double))
    parts = (_real(c.total), _real(c.calls), _real(c.past_total), _real(c.past_calls), had)
    mine = (c.study == study, c.outcome == outcome)
    return select(c.arm, *_sums("y", parts)).where(*mine).group_by(c.arm)


def _sums(name: str, parts: Sequence[_Number]) -> list[ColumnElement[Any]]:
    """The sums that moments are made of; units without any call do not count."""
    total, over = parts[0], parts[1]
    # In this order: what is no larger than a count of calls fits into a whole number.
    strange = case(
        ((total < 0) | (total > over), 1), (total != cast(total, BigInteger), 1), else_=0
    )
    return [
        func.sum(case((over > 0, 1), else_=0)).label(f"{name}_count"),
        func.sum(case((total != 0, 1), else_=0)).label(f"{name}_hits"),
        func.sum(strange).label(f"{name}_strange"),
        *(func.sum(part).label(f"{name}_{i}") for i, part in enumerate(parts)),
        *(
            func.sum(parts[i] * parts[j]).label(f"{name}_{i}{j}")
            for i, j in PAIRS
            if j < len(parts)
        ),
    ]


def _pair(rows: Sequence[Row[Any]], name: str, width: int) -> tuple[Moments, Moments]:
    found = {row.arm: row for row in rows}
    return _moments(found.get(0), name, width), _moments(found.get(1), name, width)


def _moments(row: Row[Any] | None, name: str, width: int) -> Moments:
    if row is None:
        return Moments()

    def of(what: object) -> Any:  # a column of the row
        return getattr(row, f"{name}_{what}") or 0

    return Moments(
        int(of("count")),
        tuple(float(of(i)) if i < width else 0.0 for i in range(WIDTH)),
        tuple(float(of(f"{i}{j}")) if j < width else 0.0 for i, j in PAIRS),
        int(of("hits")),
        not of("strange"),
    )


def _count(row: Row[Any] | None, column: str) -> int:
    return 0 if row is None else int(getattr(row, column) or 0)
