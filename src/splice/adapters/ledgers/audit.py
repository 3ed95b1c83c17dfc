"""Audit events in SQL: one chain, whoever writes."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.tables import audit_events, without_nul
from splice.core.audit import FIRST, AuditEvent, Origin, origin
from splice.ports.audit import EventFilter


class SqlAudit:
    """An AuditLog in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_event(
        self,
        action: str,
        subject: str,
        *,
        by: str,
        now_us: int,
        why: str = "",
        details: dict[str, Any] | None = None,
        before: Any = None,  # a JSON value, and so the next
        after: Any = None,
    ) -> AuditEvent:
        """Number the event, chain it to the one before, store it durably."""
        with self._database.write() as connection:
            event = append_event(
                self._database, connection, action, subject, by=by, now_us=now_us, why=why,
                details=details, before=before, after=after,
            )  # fmt: skip
        return event

    def events(
        self, *, subject: str | None = None, since: int = 0, limit: int = 1000
    ) -> list[AuditEvent]:
        """Events with a number above `since`, oldest first; of one subject or of all."""
        query = select(audit_events).where(audit_events.c.number > since)
        if subject is not None:
            query = query.where(_of(subject))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(audit_events.c.number).limit(limit))
            return [event_of(row) for row in rows]

    def find(self, wanted: EventFilter) -> list[AuditEvent]:
        """Events, newest first."""
        c = audit_events.c
        query = select(audit_events)
        if wanted.subject:
            query = query.where(_of(wanted.subject))
        if wanted.by:
            query = query.where(c.by == wanted.by)
        if wanted.action.endswith("."):
            query = query.where(c.action.startswith(wanted.action, autoescape=True))
        elif wanted.action:
            query = query.where(c.action == wanted.action)
        if wanted.surface:  # it is the first word of the JSON
            named = f'{{"surface":"{wanted.surface}"'
            query = query.where(c.origin.startswith(named, autoescape=True))
        if wanted.before is not None:
            query = query.where(c.number < wanted.before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(c.number.desc()).limit(wanted.limit))
            return [event_of(row) for row in rows]

    def event(self, number: int) -> AuditEvent | None:
        """One of them."""
        query = select(audit_events).where(audit_events.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else event_of(row)


def _of(subject: str) -> ColumnElement[bool]:
    named = audit_events.c.subject
    return or_(named == subject, named.startswith(f"{subject}@", autoescape=True))


def append_event(
    database: Database,
    connection: Connection,
    action: str,
    subject: str,
    *,
    by: str,
    now_us: int,
    why: str = "",
    details: dict[str, Any] | None = None,
    before: Any = None,  # a JSON value, and so the next
    after: Any = None,
) -> AuditEvent:
    """Chain an event within a transaction: what it tells of and the event are stored together."""
    newest = select(audit_events.c.number, audit_events.c.sha256)
    newest = newest.order_by(audit_events.c.number.desc()).limit(1)
    database.lock(connection, "audit")
    last = connection.execute(newest).one_or_none()
    number, previous = (1, FIRST) if last is None else (last.number + 1, last.sha256)
    # As they will be read back: what is hashed is what is stored.
    by, action, subject, why = map(without_nul, (by, action, subject, why))
    told, was, became = (_decode(_encode(value)) for value in (details or {}, before, after))
    event = AuditEvent(
        number, now_us, by, action, subject, why, told, previous, before=was, after=became,
        origin=origin(),
    )  # fmt: skip
    event = msgspec.structs.replace(event, sha256=event.hashed())
    values = msgspec.structs.asdict(event)
    for name in ("details", "before", "after", "origin"):
        values[name] = _encode(values[name]).decode()
    connection.execute(insert(audit_events).values(values))
    return event


_encode = msgspec.json.encode
_decode = msgspec.json.decode


def event_of(row: Row[Any]) -> AuditEvent:  # a row of `audit_events`
    """The event of a row. What somebody made unreadable is told in its place: its hash fails."""
    try:
        where = _decode(row.origin, type=Origin)
    except (msgspec.MsgspecError, TypeError):
        where = Origin(command=f"unreadable: {row.origin}")
    details = _json(row.details)
    if not isinstance(details, dict):
        details = {"unreadable": details}
    return AuditEvent(
        row.number, row.at_us, row.by, row.action, row.subject, row.why,
        cast("dict[str, Any]", details), row.previous, row.sha256, _json(row.before),
        _json(row.after), where,
    )  # fmt: skip


def _json(text: Any) -> Any:  # JSON values
    try:
        return _decode(text)
    except (msgspec.MsgspecError, TypeError):
        return {"unreadable": str(text)}
