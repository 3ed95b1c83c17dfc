"""What became of events, in SQL: one transaction with the records of their calls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from splice.adapters.ledgers import dead_letters
from splice.adapters.ledgers.begun import Begun
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.outbox import is_outbox
from splice.adapters.ledgers.queue import still_held
from splice.adapters.ledgers.queued import Queued
from splice.adapters.ledgers.records import SqlRecords
from splice.adapters.ledgers.settling import INBOX, Plan, Verdict, doubles, plan_of
from splice.adapters.ledgers.target_tables import TargetTables, table_of
from splice.core.errors import StoreError
from splice.core.events import Inbox, Settled

_AT_ONCE = 1024  # ids in one statement
_NEAR = 4  # a span is read whole where it has room for no more than so many times its ids
_PLACE = 8  # bytes of an id that name stream and partition, where the rest is an offset
_TRIES = 20  # more often no batch is overtaken

_BETWEEN = """
SELECT event, body, call_id FROM inbox WHERE event >= :first AND event <= :last
"""
_NEXT = "SELECT event FROM inbox WHERE event > :after ORDER BY event LIMIT 1 OFFSET :limit"
_PRUNE = "DELETE FROM inbox WHERE event > :after AND at_us < :before"


class _Overtaken(Exception):
    """Another has settled some of these meanwhile; nothing is stored yet."""


class SqlEvents(Begun):
    """An EventStore in SQL.

    It stores first and asks later: whether all inbox rows were new and all leases still held is
    known by counting, without looking at one. Only where one was not, the transaction is undone,
    and the batch is parted into those in time and those too late.
    """

    def __init__(self, database: Database, records: SqlRecords) -> None:
        super().__init__(database)
        self._records = records
        self._queued = Queued(database)
        self._tables = TargetTables(database)
        self._between = database.sql(_BETWEEN)

    def answered(self, events: Sequence[bytes]) -> dict[bytes, Inbox]:
        """Those of the events that were answered, by `event_id`."""
        spans, apart = _spans(events)
        rows: list[Sequence[Any]] = []
        with self._database.read() as connection:
            for first, last in spans:
                params = {"first": first, "last": last}
                rows += self._database.rows(connection, self._between, params, "bbu")
            for start in range(0, len(apart), _AT_ONCE):
                among, values = self._database.among(apart[start : start + _AT_ONCE])
                query = f"SELECT event, body, call_id FROM inbox WHERE event IN {among}"  # noqa: S608
                rows += self._database.rows(connection, query, values, "bbu")
        if not rows:
            return {}
        wanted = frozenset(events)
        found = {event: Inbox(event, body, call_id) for event, body, call_id in rows}
        return {event: inbox for event, inbox in found.items() if event in wanted}

    def prepare(self, targets: Sequence[str]) -> None:
        """Make the tables of targets `table:NAME`, which `settle` would make when it needs them."""
        self._tables.make(table_of(target) for target in targets if target[:6] == "table:")

    def settle(
        self, settled: Sequence[Settled], *, sent: Sequence[int] = (), now_us: int
    ) -> Sequence[Settled]:
        """Store what became of events, in one transaction, durable on return."""
        verdicts = doubles(settled)
        for _ in range(_TRIES):
            with self._database.place.errors():
                plan = plan_of(settled, verdicts, now_us)
            packed = self._records.packed(plan.records)
            self._tables.make(plan.tables)

            def store(connection: Connection, plan: Plan = plan) -> None:
                self._store(connection, plan, now_us)
                self._forget_attempts(connection, settled)
                self._queue(connection, plan, sent, now_us)

            try:
                self._database.append(packed, store)
            except _Overtaken:
                verdicts = self._look(settled)
            except StoreError:
                self._tables.forget()  # one may have been dropped
                raise
            else:
                self._forgot_attempts(settled)
                return [settled[place] for place, one in sorted(verdicts.items()) if one.late]
        raise self._database.place.error(
            f"a batch that was overtaken {_TRIES} times", "look for consumers of the same events"
        )

    def prune_inbox(
        self, before_us: int, *, after: bytes = b"", limit: int = 10_000
    ) -> tuple[int, bytes]:
        """Forget events that were answered before that time, of the next `limit` after `after`."""
        params = {"after": after, "limit": limit - 1, "before": before_us}
        with self._database.read() as connection:
            last = connection.exec_driver_sql(self._database.sql(_NEXT), params).scalar()
        end = "" if last is None else " AND event <= :last"
        with self._database.write() as connection:
            prune = self._database.sql(_PRUNE + end)
            pruned = connection.exec_driver_sql(prune, {**params, "last": last}).rowcount
        return pruned, b"" if last is None else bytes(last)

    def _store(self, connection: Connection, plan: Plan, now_us: int) -> None:
        database = self._database
        inbox = list(chain.from_iterable(plan.inbox))
        if database.insert_rows(connection, INBOX, inbox) != len(plan.inbox):
            raise _Overtaken
        for name, rows in sorted(plan.tables.items()):
            self._tables.insert(connection, name, rows)
        if plan.dead:
            database.insert_rows(connection, dead_letters.INTO, dead_letters.rows_of(plan.dead))

    def _queue(self, connection: Connection, plan: Plan, sent: Sequence[int], now_us: int) -> None:
        queued = self._queued
        # Last, so that others wait for these locks no longer than they must.
        queued.lock(connection, plan.queues | ({"outbox:"} if sent else set()))
        for queue, leases in plan.held.items():
            if not queued.settle(connection, queue, leases):
                raise _Overtaken
        if sent:
            rows = [row for row in queued.held(connection, sent) if is_outbox(row.queue)]
            queued.remove(connection, rows)
        if plan.new:
            queued.put(connection, plan.new, now_us)

    def _look(self, settled: Sequence[Settled]) -> dict[int, Verdict]:
        """Who has answered what: may be older than the next transaction, which counts again."""
        verdicts = doubles(settled)
        answered = self.answered([one.inbox.event for one in settled if one.inbox is not None])
        leases = [(one.event.origin.offset, one.event.token) for one in settled if one.event.token]
        with self._database.read() as connection:
            rows = self._queued.held(connection, [number for number, _ in leases])
        ours = {(row.number, row.token) for row in still_held(rows, leases)}
        for place, one in enumerate(settled):
            mine = (one.event.origin.offset, one.event.token) in ours
            before = None if one.inbox is None else answered.get(one.inbox.event)
            if place in verdicts:
                verdicts[place] = Verdict(late=True, ours=mine)
            elif before is not None and one.inbox is not None:
                late = before.call_id != one.inbox.call_id
                verdicts[place] = Verdict(late=late, ours=mine)
            elif one.event.token and not mine:
                verdicts[place] = Verdict(late=True, ours=False)
        return verdicts


def _spans(events: Sequence[bytes]) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Spans of ids that lie close together, first and last; and the ids that lie apart.

    Events without an id of their own are named by their place (`place_id`): those of a batch are
    neighbours, and to look through what is between them takes a tenth of looking for each.
    """
    places: dict[bytes, list[bytes]] = {}
    for place, some in groupby(events, itemgetter(slice(_PLACE))):
        places.setdefault(place, []).extend(some)
    spans: list[tuple[bytes, bytes]] = []
    apart: list[bytes] = []
    for together in places.values():
        first, last = min(together), max(together)
        room = int.from_bytes(last[_PLACE:]) - int.from_bytes(first[_PLACE:])
        if len(together) > 1 and room < _NEAR * len(together):
            spans.append((first, last))
        else:
            apart += together
    return spans, apart
