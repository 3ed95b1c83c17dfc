"""Events that were begun and not settled, in SQL: marks of partitions, and counted attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, select

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.event_tables import event_attempts, event_marks
from splice.core.events import Event, Mark, Origin, Partition, Settled

_BEGIN = """
INSERT INTO event_marks (consumer, stream, partition, "offset", attempts)
VALUES (:consumer, :stream, :partition, :offset, :attempts)
ON CONFLICT (consumer, stream, partition)
DO UPDATE SET "offset" = excluded."offset", attempts = excluded.attempts
WHERE excluded."offset" >= event_marks."offset"
"""
_COUNT = """
INSERT INTO event_attempts (consumer, stream, partition, "offset", attempts)
VALUES (:consumer, :stream, :partition, :offset, 1)
ON CONFLICT (consumer, stream, partition, "offset")
DO UPDATE SET attempts = event_attempts.attempts + 1
"""


class Begun:
    """The part of an EventStore that knows of crashes.

    It remembers which events have a count, so that those that have none cost nothing: whoever
    settles an event has counted it, or has asked for the counts of its partition.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: dict[Origin, set[str]] = {}  # origins, and the consumers that counted
        self._begin, self._count = database.sql(_BEGIN), database.sql(_COUNT)

    def begin(self, consumer: str, marks: Mapping[Partition, Mark]) -> None:
        """Note durably how far partitions were begun; a mark never goes back."""
        with self._database.write() as connection:
            for (stream, partition), mark in sorted(marks.items()):
                params = {
                    "consumer": consumer, "stream": stream, "partition": partition,
                    "offset": mark.offset, "attempts": mark.attempts,
                }  # fmt: skip
                connection.exec_driver_sql(self._begin, params)

    def end(self, consumer: str, partitions: Sequence[Partition]) -> None:
        """Forget the marks of partitions in which nothing runs any more."""
        c = event_marks.c
        with self._database.write() as connection:
            for stream, partition in sorted(partitions):
                this = (c.consumer == consumer, c.stream == stream, c.partition == partition)
                connection.execute(delete(event_marks).where(*this))

    def marks(self, consumer: str, partitions: Sequence[Partition]) -> dict[Partition, Mark]:
        """The marks that an earlier run left."""
        wanted = set(partitions)
        query = select(event_marks).where(event_marks.c.consumer == consumer)
        with self._database.read() as connection:
            found = {
                (row.stream, row.partition): Mark(row.offset, row.attempts)
                for row in connection.execute(query)
            }
        return {partition: mark for partition, mark in found.items() if partition in wanted}

    def count_attempt(self, consumer: str, events: Sequence[Event]) -> None:
        """Count one more attempt of each, durably, before it is made."""
        with self._database.write() as connection:
            for at in sorted(event.origin for event in events):
                params = {
                    "consumer": consumer, "stream": at.stream, "partition": at.partition,
                    "offset": at.offset,
                }  # fmt: skip
                connection.exec_driver_sql(self._count, params)
        for event in events:
            self._counted.setdefault(event.origin, set()).add(consumer)

    def attempts(self, consumer: str, partition: Partition, from_offset: int) -> dict[int, int]:
        """Counted attempts of events that are not settled, by offset."""
        c, (stream, number) = event_attempts.c, partition
        query = select(c.offset, c.attempts).where(
            c.consumer == consumer, c.stream == stream, c.partition == number,
            c.offset >= from_offset,
        )  # fmt: skip
        with self._database.read() as connection:
            found = {row.offset: row.attempts for row in connection.execute(query)}
        for offset in found:
            self._counted.setdefault(Origin(stream, number, offset), set()).add(consumer)
        return found

    def _forget_attempts(self, connection: Connection, settled: Sequence[Settled]) -> None:
        if not self._counted:
            return
        c = event_attempts.c
        statement = delete(event_attempts).where(
            c.consumer == bindparam("of"), c.stream == bindparam("on"),
            c.partition == bindparam("in"), c.offset == bindparam("at"),
        )  # fmt: skip
        gone = [
            {"of": consumer, "on": at.stream, "in": at.partition, "at": at.offset}
            for at in sorted(one.event.origin for one in settled)
            for consumer in sorted(self._counted.get(at, ()))
        ]
        if gone:
            connection.execute(statement, gone)

    def _forgot_attempts(self, settled: Sequence[Settled]) -> None:
        if self._counted:
            for one in settled:
                self._counted.pop(one.event.origin, None)
