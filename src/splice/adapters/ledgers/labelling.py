"""One transaction that changes labels, in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Table, bindparam, select, tuple_

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.label_tables import (
    label_shadows,
    labels,
    quality,
    quality_segments,
    unjoined,
    unscored,
)
from splice.adapters.ledgers.outcomes import outcome_of
from splice.adapters.ledgers.tables import outcomes
from splice.core.call import Outcome
from splice.ports.labels import Label, NewCalls, NewOutcome, Scored, Tallied, TallyKey

_AT_ONCE = 400  # ids in one statement
_MOST_OUTCOMES = 20_000
"""Outcomes of entities that are looked at for one batch of calls, the latest: an entity that is no
one in particular (`anonymous`) must not fill the memory."""

_Foretold = tuple[float | None, bool | float | str | list[str] | None, list[str], int]
"""Score, what was foretold, segments, and whether the value is a ranking's places."""
_foretold = msgspec.msgpack.Decoder(_Foretold)


class SqlTurn:
    """A Turn in SQL."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection

    def drop_calls(self, calls: NewCalls) -> bool:
        """Take them off; False where another has done so."""
        numbers: list[int] = list(calls.token)
        gone = 0
        for start in range(0, len(numbers), _AT_ONCE):
            some = unscored.c.number.in_(numbers[start : start + _AT_ONCE])
            gone += self._connection.execute(unscored.delete().where(some)).rowcount
        return gone == len(numbers)

    def drop_outcomes(self, news: Sequence[NewOutcome]) -> None:
        """Take them off."""
        for start in range(0, len(news), _AT_ONCE):
            numbers = [one.number for one in news[start : start + _AT_ONCE]]
            self._connection.execute(unjoined.delete().where(unjoined.c.outcome.in_(numbers)))

    def note_outcome(self, new: NewOutcome, after: tuple[int, str]) -> bool:
        """Note how far it was joined; False where another did so."""
        before = (None, None) if new.after is None else new.after
        mine = (
            unjoined.c.outcome == new.number,
            unjoined.c.after_us.is_(None)
            if before[0] is None
            else unjoined.c.after_us == before[0],
            unjoined.c.after_id.is_(None)
            if before[1] is None
            else unjoined.c.after_id == before[1],
        )
        noted = unjoined.update().where(*mine).values(after_us=after[0], after_id=after[1])
        return self._connection.execute(noted).rowcount == 1

    def outcomes_of(
        self, scored: Sequence[Scored], within_s: Mapping[str, float], now_us: int
    ) -> dict[tuple[str, str], list[Outcome]]:
        """Outcomes that happened, by call id and name of the outcome, oldest first."""
        names = {one.outcome for one in scored}
        by_call = self._by_call(scored, names, now_us)
        by_entity = self._by_entity(scored, names, now_us)
        found: dict[tuple[str, str], list[Outcome]] = {}
        for one in scored:
            until_us = one.asked_us + round(within_s[one.outcome] * 1e6)
            rows = [
                row
                for call_id in (one.call_id, one.shadow_of)
                if call_id is not None
                for row in by_call.get((call_id, one.outcome), ())
                if row.integration == one.integration
            ]
            rows += [
                row
                for row in by_entity.get((one.entity or "", one.integration, one.outcome), ())
                if one.asked_us <= row.at_us <= until_us
            ]
            if rows:
                rows.sort(key=lambda row: (row.at_us, row.id))
                found[one.call_id, one.outcome] = [outcome_of(row) for row in rows]
        return found

    def _by_call(
        self, scored: Sequence[Scored], names: set[str], now_us: int
    ) -> dict[tuple[str, str], list[Row[Any]]]:  # rows of `outcomes`
        ids = [i for one in scored for i in (one.call_id, one.shadow_of) if i is not None]
        ids = list(dict.fromkeys(ids))
        found: dict[tuple[str, str], list[Row[Any]]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            query = select(outcomes).where(
                outcomes.c.call_id.in_(ids[start : start + _AT_ONCE]),
                outcomes.c.name.in_(names),
                outcomes.c.at_us <= now_us,
            )
            for row in self._connection.execute(query):
                found.setdefault((row.call_id, row.name), []).append(row)
        return found

    def _by_entity(
        self, scored: Sequence[Scored], names: set[str], now_us: int
    ) -> dict[tuple[str, str, str], list[Row[Any]]]:  # rows of `outcomes`
        with_entity = [one for one in scored if one.entity is not None]
        entities = list(dict.fromkeys(one.entity for one in with_entity))
        found: dict[tuple[str, str, str], list[Row[Any]]] = {}
        if not entities:
            return found
        first_us = min(one.asked_us for one in with_entity)
        integrations = {one.integration for one in with_entity}
        for start in range(0, len(entities), _AT_ONCE):
            query = (
                select(outcomes)
                .where(
                    outcomes.c.call_id.is_(None),
                    outcomes.c.entity.in_(entities[start : start + _AT_ONCE]),
                    outcomes.c.integration.in_(integrations),
                    outcomes.c.name.in_(names),
                    outcomes.c.at_us >= first_us,
                    outcomes.c.at_us <= now_us,
                )
                .order_by(outcomes.c.at_us.desc(), outcomes.c.id.desc())
                .limit(_MOST_OUTCOMES)
            )
            for row in self._connection.execute(query):
                found.setdefault((row.entity, row.integration, row.name), []).append(row)
        return found

    def labels_of(self, call_ids: Sequence[str]) -> dict[tuple[str, str], Label]:
        """The labels that there are, by call id and name of the outcome."""
        found: dict[tuple[str, str], Label] = {}
        for start in range(0, len(call_ids), _AT_ONCE):
            query = select(labels).where(labels.c.call_id.in_(call_ids[start : start + _AT_ONCE]))
            for row in self._connection.execute(query):
                found[row.call_id, row.outcome] = label(row)
        return found

    def put_labels(self, some: Sequence[Label]) -> None:
        """Store them, in place of those that there are."""
        self._replace(labels, ("call_id", "outcome"), [_row(one) for one in some])

    def put_shadows(self, scored: Sequence[Scored]) -> None:
        """Remember which call each of these shadows."""
        rows = [
            {"shadowed": one.shadow_of, "call_id": one.call_id}
            for one in scored
            if one.shadow_of is not None
        ]
        if rows:
            self._connection.execute(self._database.insert_new(label_shadows), rows)

    def segments(self, integration: str, outcome: str) -> set[str]:
        """The segments that were ever told apart."""
        query = select(quality_segments.c.segment).where(
            quality_segments.c.integration == integration, quality_segments.c.outcome == outcome
        )
        return set(self._connection.execute(query).scalars())

    def put_segments(self, integration: str, outcome: str, some: Iterable[str]) -> None:
        """Tell these apart from now on."""
        rows = [
            {"integration": integration, "outcome": outcome, "segment": segment} for segment in some
        ]
        if rows:
            self._connection.execute(self._database.insert_new(quality_segments), rows)

    def tallies(self, keys: Iterable[TallyKey]) -> dict[TallyKey, Tallied]:
        """Counts of these keys; of a key without any, an empty one."""
        wanted = list(keys)
        found = {key: Tallied(key) for key in wanted}
        columns = tuple_(*(quality.c[name] for name in TallyKey.__struct_fields__))
        for start in range(0, len(wanted), _AT_ONCE // 4):
            some = [msgspec.structs.astuple(key) for key in wanted[start : start + _AT_ONCE // 4]]
            query = select(quality).where(columns.in_(some))
            for row in self._connection.execute(query):
                one = tallied(row)
                found[one.key] = one
        return found

    def put_tallies(self, some: Sequence[Tallied]) -> None:
        """Store them, in place of those that there are."""
        rows = [
            {**msgspec.structs.asdict(one.key), "asked": one.asked, "told": one.told}
            for one in some
        ]
        self._replace(quality, TallyKey.__struct_fields__, rows)

    def labels_in(self, key: TallyKey) -> Iterator[Label]:
        """All labels of a key (of all segments)."""
        query = select(labels).where(
            labels.c.integration == key.integration,
            labels.c.outcome == key.outcome,
            labels.c.start_s == key.start_s,
            labels.c.release == key.release,
            labels.c.variant == key.variant,
        )
        for row in self._connection.execute(query.execution_options(yield_per=1000)):
            yield label(row)

    def _replace(self, table: Table, key: Sequence[str], rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        same = [table.c[name] == bindparam(f"old_{name}") for name in key]
        old = [{f"old_{name}": row[name] for name in key} for row in rows]
        self._connection.execute(table.delete().where(*same), old)
        self._connection.execute(table.insert(), rows)


def label(row: Row[Any]) -> Label:
    """A label of a row of `labels`; its call's entity is not kept a second time."""
    score, predicted, segments, places = _foretold.decode(row.foretold)
    value = msgspec.json.decode(row.value)
    return Label(
        Scored(
            call_id=row.call_id,
            integration=row.integration,
            outcome=row.outcome,
            release=row.release,
            variant=row.variant,
            asked_us=row.asked_us,
            start_s=row.start_s,
            segments=tuple(segments),
            score=score,
            predicted=tuple(predicted) if isinstance(predicted, list) else predicted,
        ),
        tuple(value) if places else value,
        row.at_us,
        row.said,
    )


def _row(one: Label) -> dict[str, Any]:
    scored = one.scored
    predicted = scored.predicted
    foretold = (scored.score, predicted, scored.segments, int(isinstance(one.value, tuple)))
    return {
        "call_id": scored.call_id,
        "outcome": scored.outcome,
        "integration": scored.integration,
        "release": scored.release,
        "variant": scored.variant,
        "start_s": scored.start_s,
        "asked_us": scored.asked_us,
        "at_us": one.at_us,
        "said": one.said,
        "value": msgspec.json.encode(one.value).decode(),
        "foretold": msgspec.msgpack.encode(foretold),
    }


def tallied(row: Row[Any]) -> Tallied:
    """Counts of a row of `quality`."""
    key = TallyKey(row.integration, row.outcome, row.start_s, row.release, row.variant, row.segment)
    return Tallied(key, row.asked, row.told)
