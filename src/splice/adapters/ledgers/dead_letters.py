"""Dead letters in SQL: events that could not be answered, as they came."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, null, select, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database, Into
from splice.adapters.ledgers.event_tables import dead_letters
from splice.adapters.ledgers.outbox import row_of as message_row
from splice.adapters.ledgers.queue import row_of as event_row
from splice.adapters.ledgers.queued import New, Queued
from splice.core.events import DeadLetter, Event, Message, Origin

INTO = Into(
    "dead_letters",
    (("digest", "bytea"), ("integration", "text"), ("stream", "text"), ("partition", "integer"),
     ("offset", "bigint"), ("key", "bytea"), ("value", "bytea"), ("headers", "bytea"),
     ("sent_us", "bigint"), ("code", "text"), ("place", "text"), ("detail", "text"),
     ("attempts", "integer"), ("at_us", "bigint"), ("state", "text"), ("by", "text")),
    or_ignore=True,
)  # fmt: skip

_encode = msgspec.msgpack.Encoder().encode
_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def rows_of(letters: Iterable[DeadLetter]) -> list[Any]:
    """Their columns, for `INTO`. The same event of the same place dies once."""
    rows: list[tuple[Any, ...]] = []
    for letter in letters:
        event, at = letter.event, letter.event.origin
        headers = _encode(event.headers)
        whole = _encode(
            (letter.integration, at.stream, at.partition, at.offset, event.key, event.value,
             event.at_us, headers)
        )  # fmt: skip
        rows.append(
            (hashlib.blake2b(whole, digest_size=16).digest(), letter.integration, at.stream,
             at.partition, at.offset, event.key, event.value, headers, event.at_us, letter.code,
             letter.where, letter.detail, letter.attempts, letter.at_us, letter.state, letter.by)
        )  # fmt: skip
    rows.sort(key=lambda row: row[0])  # one order for all, so that no two wait for each other
    return [value for row in rows for value in row]


class SqlDeadLetters:
    """A DeadLetterStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queued = Queued(database)

    def dead_letters(
        self,
        integration: str | None = None,
        *,
        states: Sequence[str] = ("dead",),
        before: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """The newest first, without their values: a page of large ones would be too large."""
        columns = [column for column in dead_letters.c if column.name != "value"]
        query = select(*columns, null().label("value")).where(dead_letters.c.state.in_(states))
        if integration is not None:
            query = query.where(dead_letters.c.integration == integration)
        if before is not None:
            query = query.where(dead_letters.c.id < before)
        query = query.order_by(dead_letters.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_letter(row) for row in connection.execute(query)]

    def dead_letter(self, number: int) -> DeadLetter | None:
        """One, whole."""
        with self._database.read() as connection:
            query = select(dead_letters).where(dead_letters.c.id == number)
            row = connection.execute(query).one_or_none()
        return None if row is None else _letter(row)

    def replay(self, numbers: Sequence[int], *, by: str, now_us: int) -> list[int]:
        """Put them back into the stream they came from, in one transaction with an audit event."""
        with self._database.write() as connection:
            letters = self._dead(connection, numbers)
            rows: list[New] = []
            for letter in letters:
                event, stream = letter.event, letter.event.origin.stream
                if stream.startswith("queue:"):
                    at_us = event.at_us or now_us
                    rows.append(event_row(stream, event.key, event.value, event.headers, at_us))
                else:
                    message = Message(
                        f"dead-letter-{letter.id}", stream, event.key, event.value, event.headers
                    )
                    rows.append(message_row(message))
            self._queued.lock(connection, {row.queue for row in rows})
            self._queued.put(connection, rows, now_us)
            change = {"state": "replayed", "by": by}
            self._change(connection, letters, change, "", now_us)
        return [letter.id for letter in letters]

    def drop(self, numbers: Sequence[int], *, by: str, why: str, now_us: int) -> list[int]:
        """Give them up, with an audit event; they stay to be read, without their bodies."""
        with self._database.write() as connection:
            letters = self._dead(connection, numbers)
            change = {"state": "dropped", "by": by, "value": None, "headers": _encode(())}
            self._change(connection, letters, change, why, now_us)
        return [letter.id for letter in letters]

    def _dead(self, connection: Connection, numbers: Sequence[int]) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        wanted = sorted(set(numbers))
        for start in range(0, len(wanted), 500):
            query = select(dead_letters).where(
                dead_letters.c.id.in_(wanted[start : start + 500]), dead_letters.c.state == "dead"
            )
            rows = connection.execute(query.order_by(dead_letters.c.id).with_for_update())
            found += [_letter(row) for row in rows]
        return found

    def _change(
        self,
        connection: Connection,
        letters: Sequence[DeadLetter],
        change: dict[str, Any],
        why: str,
        now_us: int,
    ) -> None:
        verb = {"replayed": "replay", "dropped": "drop"}[change["state"]]
        for start in range(0, len(letters), 500):
            ids = [letter.id for letter in letters[start : start + 500]]
            connection.execute(
                update(dead_letters).where(dead_letters.c.id.in_(ids)).values(**change)
            )
        ordered = sorted(letters, key=lambda letter: letter.integration)
        for integration, some in groupby(ordered, key=lambda letter: letter.integration):
            append_event(
                self._database, connection, f"event.{verb}", integration, by=change["by"],
                now_us=now_us, why=why, details={"dead_letters": [letter.id for letter in some]},
                before={"state": "dead"}, after={"state": change["state"]},
            )  # fmt: skip


def _letter(row: Row[Any]) -> DeadLetter:  # a row of `dead_letters`
    origin = Origin(row.stream, row.partition, row.offset)
    event = Event(origin, row.key, row.value, _headers(row.headers), row.sent_us)
    return DeadLetter(
        row.integration, event, row.code, row.place, row.detail, row.attempts, row.at_us,
        id=row.id, state=row.state, by=row.by,
    )  # fmt: skip
