"""Notes and messages of alerts in SQL: what channels are to be told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from splice.adapters.ledgers.alert_tables import alert_messages, alert_notes
from splice.adapters.ledgers.database import Database
from splice.core.alerts import Message, MessageState, Note

_NOTES_MOST = 1000  # in one message, and read at once


class SqlMessages:
    """The part of an AlertStore that is about messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting_notes(self, channels: Collection[str]) -> list[Note]:
        """Notes for these channels that are in no message yet, oldest first."""
        query = select(alert_notes.c.number, alert_notes.c.body)
        query = query.where(alert_notes.c.channel.in_(channels)).order_by(alert_notes.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(_NOTES_MOST)).all()
        return [
            msgspec.structs.replace(msgspec.json.decode(row.body, type=Note), number=row.number)
            for row in rows
        ]

    def gather(self, message: Message) -> bool:
        """Store a message and drop the notes that are in it; False where another took them."""
        numbers = [one.number for one in message.notes]
        try:
            with self._database.write() as connection:
                gone = delete(alert_notes).where(alert_notes.c.number.in_(numbers))
                if connection.execute(gone).rowcount != len(numbers):
                    raise _Taken
                connection.execute(insert(alert_messages).values(_values(message)))
        except _Taken:
            return False
        return True

    def messages(
        self, states: Collection[MessageState] = ("waiting",), limit: int = 1000
    ) -> list[Message]:
        """Messages in these states, oldest first of those that wait, else newest first."""
        query = select(alert_messages).where(alert_messages.c.state.in_(states)).limit(limit)
        at = alert_messages.c.at_us
        query = query.order_by(at if set(states) == {"waiting"} else at.desc(), alert_messages.c.id)
        with self._database.read() as connection:
            return [_message(row) for row in connection.execute(query)]

    def take_message(self, message: Message, token: str, now_us: int, until_us: int) -> bool:
        """Take a message that is due, until `until_us`; False where another took or sent it."""
        held = alert_messages.c.held_until_us
        # Nobody holds it for longer: what is further off was written by a clock that is ahead.
        free = or_(held <= now_us, held > until_us)
        this = (alert_messages.c.id == message.id, alert_messages.c.state == "waiting", free)
        taken = update(alert_messages).where(*this).values(token=token, held_until_us=until_us)
        with self._database.write() as connection:
            return connection.execute(taken).rowcount == 1

    def save_message(self, message: Message) -> bool:
        """Store how a message stands that `token` holds; False where it holds it no more."""
        this = (alert_messages.c.id == message.id, alert_messages.c.token == message.token)
        changed = update(alert_messages).where(*this).values(
            state=message.state, due_us=message.due_us, attempts=message.attempts,
            error=message.error, token="", held_until_us=0,
        )  # fmt: skip
        with self._database.write() as connection:
            return connection.execute(changed).rowcount == 1

    def last_sent_us(self, channel: str, integration: str) -> int:
        """When the newest message of an integration for a channel was put together; 0: never."""
        this = (alert_messages.c.channel == channel, alert_messages.c.integration == integration)
        query = select(func.max(alert_messages.c.at_us)).where(*this)
        with self._database.read() as connection:
            return connection.execute(query).scalar() or 0

    def prune(self, before_us: int) -> int:
        """Drop messages that were sent before; gives how many. Alerts are kept."""
        old = (alert_messages.c.state != "waiting", alert_messages.c.at_us < before_us)
        with self._database.write() as connection:
            return connection.execute(delete(alert_messages).where(*old)).rowcount


class _Taken(Exception):
    """Another process has put the notes into a message of its own."""


def add_notes(connection: Connection, notes: Sequence[Note]) -> None:
    """Within a transaction, let notes wait for their channels."""
    if notes:
        values = [
            {"channel": one.channel, "body": msgspec.json.encode(one).decode()} for one in notes
        ]
        connection.execute(insert(alert_notes), values)


def _values(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "channel": message.channel,
        "integration": message.integration,
        "state": message.state,
        "at_us": message.at_us,
        "due_us": message.due_us,
        "attempts": message.attempts,
        "error": message.error,
        "token": message.token,
        "held_until_us": 0,
        "body": msgspec.json.encode(message).decode(),
    }


def _message(row: Row[Any]) -> Message:  # a row of `alert_messages`
    stored = msgspec.json.decode(row.body, type=Message)
    return msgspec.structs.replace(
        stored, state=row.state, due_us=row.due_us, attempts=row.attempts, error=row.error,
        token=row.token,
    )  # fmt: skip
