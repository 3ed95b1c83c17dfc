"""Who was erased, and how far the texts of integrations were dropped, in SQL."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.event_tables import dead_letters
from splice.adapters.ledgers.expiring import Expiring
from splice.adapters.ledgers.label_tables import unjoined
from splice.adapters.ledgers.queued import Queued
from splice.adapters.ledgers.review_tables import reviews
from splice.adapters.ledgers.subject_tables import erasures, expiries, openings
from splice.adapters.ledgers.tables import outcomes
from splice.core.archives import Archived
from splice.core.erasure import Erasure, Expiry
from splice.core.reviews import Review

_AT_ONCE = 400
_BODIES = "SELECT number FROM queued_bodies WHERE {found}"
_LETTERS = "SELECT id FROM dead_letters WHERE value IS NOT NULL AND {found}"
_FILES = """
SELECT day, integration, part, file, calls, bytes, sha256, first_us, last_us FROM archives
WHERE integration = :integration AND last_us < :before AND state = 'removed'
ORDER BY day, part
"""
_FILE = """
UPDATE archives SET part = :new, file = :file, bytes = :bytes, sha256 = :sha256, state = 'expired'
WHERE day = :day AND integration = :integration AND part = :part AND state = 'removed'
"""
_CLEANED = ("outcomes", "reviews", "dead_letters", "queued_bodies")
_BY = "splice"
_ERASURE, _RETENTION = "erasure", "retention"  # see m0013_subjects.py
_EMPTY = msgspec.msgpack.encode(())


class SqlSubjects:
    """A SubjectStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queued = Queued(database)
        self._expiring = Expiring(database)

    def drop_traces(
        self, tag: str, owner: bytes, call_ids: Sequence[str], integrations: Sequence[str]
    ) -> dict[str, int]:
        """Delete what is readable of a person beside calls; kind to how many."""
        about: list[ColumnElement[bool]] = [outcomes.c.entity == tag]
        for start in range(0, len(call_ids), _AT_ONCE):
            about.append(outcomes.c.call_id.in_(call_ids[start : start + _AT_ONCE]))
        found: dict[str, int] = {}
        with self._overwriting(_ERASURE) as connection:
            for one in about:
                texts = select(outcomes.c.id).where(
                    one, outcomes.c.integration.in_(integrations), outcomes.c.value.startswith('"')
                )
                ids = [row.id for row in connection.execute(texts)]
                for start in range(0, len(ids), _AT_ONCE):
                    some = ids[start : start + _AT_ONCE]
                    connection.execute(delete(unjoined).where(unjoined.c.outcome.in_(some)))
                    connection.execute(delete(outcomes).where(outcomes.c.id.in_(some)))
                _count(found, "outcomes", len(ids))
            _count(found, "reviews", _scrub(connection, call_ids))
            letters = self._with(connection, _LETTERS, "value", owner)
            self._empty_letters(connection, letters)
            _count(found, "dead_letters", len(letters))
            bodies = self._with(connection, _BODIES, "body", owner)
            if bodies:
                rows = self._queued.held(connection, bodies)
                self._queued.lock(connection, {row.queue for row in rows})
                self._queued.remove(connection, rows)
            _count(found, "waiting", len(bodies))
        return found

    def add_erasure(self, erasure: Erasure) -> None:
        """Store a receipt, with an audit event in the same transaction."""
        with self._database.write() as connection:
            body = msgspec.json.encode(erasure).decode()
            values = {"tag": erasure.tag, "at_us": erasure.at_us, "body": body}
            connection.execute(insert(erasures).values(values))
            append_event(
                self._database, connection, "subject.erase", erasure.tag, by=erasure.by,
                now_us=erasure.at_us, why=erasure.why,
                details={
                    "integrations": list(erasure.integrations), "keys": erasure.keys,
                    "calls": erasure.calls, "dropped": erasure.dropped, "final": erasure.final,
                },
            )  # fmt: skip

    def erasures(self, tag: str | None = None, limit: int = 100) -> list[Erasure]:
        """Receipts, newest first."""
        query = select(erasures.c.body).order_by(erasures.c.number.desc()).limit(limit)
        if tag is not None:
            query = query.where(erasures.c.tag == tag)
        with self._database.read() as connection:
            rows = connection.execute(query)
            return [msgspec.json.decode(row.body, type=Erasure) for row in rows]

    def expire(self, integration: str, before_us: int, limit: int, now_us: int) -> tuple[int, bool]:
        """Drop texts and entities of about `limit` calls asked before, in one transaction."""
        known = next(iter(self.expiries(integration)), None)
        start = 0 if known is None else known.before_us
        if start >= before_us:
            return 0, False
        page = self._expiring.page(integration, (start, before_us), limit)
        end = page[-1].asked_us + 1 if len(page) >= limit else before_us
        with self._overwriting(_RETENTION) as connection:
            if not self._expiring.counted(connection, page):
                return 0, False
            dropped = self._expiring.drop(connection, page)
            calls = dropped + (0 if known is None else known.calls)
            values = {
                "integration": integration, "before_us": end, "at_us": now_us, "calls": calls
            }  # fmt: skip
            same = expiries.c.integration == integration
            connection.execute(delete(expiries).where(same))
            connection.execute(insert(expiries).values(values))
            if dropped:
                append_event(
                    self._database, connection, "retention.expire", integration, by=_BY,
                    now_us=now_us, details={"calls": dropped, "before_us": end},
                )  # fmt: skip
        return dropped, end < before_us

    def expiries(self, integration: str | None = None) -> list[Expiry]:
        """How far the texts of integrations were dropped."""
        query = select(expiries)
        if integration is not None:
            query = query.where(expiries.c.integration == integration)
        with self._database.read() as connection:
            return [
                Expiry(row.integration, row.before_us, row.at_us, row.calls)
                for row in connection.execute(query.order_by(expiries.c.integration))
            ]

    def expirable_files(self, integration: str, before_us: int) -> list[Archived]:
        """Files of the archive with texts, all of whose calls were asked before."""
        query = self._database.sql(_FILES)
        params = {"integration": integration, "before": before_us}
        with self._database.read() as connection:
            return [Archived(*row) for row in connection.exec_driver_sql(query, params)]

    def replace_file(self, old: Archived, new: Archived, now_us: int) -> bool:
        """List a file without texts in the place of one, with an audit event."""
        params = {
            "day": old.day, "integration": old.integration, "part": old.part, "new": new.part,
            "file": new.file, "bytes": new.bytes, "sha256": new.sha256,
        }  # fmt: skip
        with self._database.write() as connection:
            if not self._database.run(connection, self._database.sql(_FILE), params):
                return False
            append_event(
                self._database, connection, "retention.expire", old.integration, by=_BY,
                now_us=now_us, details={"calls": old.calls, "file": old.file, "left": new.file},
            )  # fmt: skip
        return True

    def expire_letters(self, integration: str, before_us: int) -> int:
        """Drop the bodies of dead letters that died before; says how many."""
        query = select(dead_letters.c.id).where(
            dead_letters.c.integration == integration,
            dead_letters.c.at_us < before_us,
            or_(dead_letters.c.value.is_not(None), dead_letters.c.detail != ""),
        )
        with self._database.read() as connection:
            ids = [row.id for row in connection.execute(query.limit(_AT_ONCE))]
        if ids:
            with self._database.write() as connection:
                self._empty_letters(connection, ids)
        return len(ids)

    def _empty_letters(self, connection: Connection, ids: Sequence[int]) -> None:
        change = {
            "state": "dropped", "by": _BY, "key": None, "value": None, "headers": _EMPTY,
            "detail": "",
        }  # fmt: skip
        for start in range(0, len(ids), _AT_ONCE):
            these = dead_letters.c.id.in_(ids[start : start + _AT_ONCE])
            connection.execute(update(dead_letters).where(these).values(change))

    def _with(self, connection: Connection, query: str, column: str, owner: bytes) -> list[int]:
        """Numbers of rows in which these bytes stand."""
        found = (
            f"position(:owner IN {column}) > 0" if self._is_postgres else f"instr({column}, :owner)"
        )
        text = self._database.sql(query.format(found=found))
        return [row[0] for row in self._database.rows(connection, text, {"owner": owner}, "v")]

    @property
    def _is_postgres(self) -> bool:
        return self._database.engine.dialect.name == "postgresql"

    @contextmanager
    def _overwriting(self, opening: str) -> Generator[Connection]:
        """A transaction that may change what is append-only; what it deletes is overwritten."""
        if self._is_postgres:
            with self._database.write() as connection:
                yield from _opened(connection, opening)
            if opening == _ERASURE:
                self._vacuum()
            return
        with self._database.write() as connection:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            try:
                yield from _opened(connection, opening)
            finally:
                connection.exec_driver_sql("PRAGMA secure_delete = OFF")
        if opening == _ERASURE:
            with self._database.place.errors(), self._database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _vacuum(self) -> None:
        """PostgreSQL keeps what was deleted until then; another may be at it."""
        with suppress(SQLAlchemyError), self._database.engine.connect() as connection:
            for table in _CLEANED:
                connection.exec_driver_sql(f"VACUUM {table}")


def _opened(connection: Connection, opening: str) -> Generator[Connection]:
    connection.execute(insert(openings).values(name=opening))
    yield connection
    connection.execute(delete(openings).where(openings.c.name == opening))


def _count(found: dict[str, int], kind: str, number: int) -> None:
    if number:
        found[kind] = found.get(kind, 0) + number


def _scrub(connection: Connection, call_ids: Sequence[str]) -> int:
    """Take texts out of what people said of these calls: corrected decisions, and notes."""
    scrubbed = 0
    for start in range(0, len(call_ids), _AT_ONCE):
        some = reviews.c.call_id.in_(call_ids[start : start + _AT_ONCE])
        for row in connection.execute(select(reviews.c.id, reviews.c.body).where(some)).all():
            review = msgspec.json.decode(row.body, type=Review)
            if not any(one.reply or one.note for one in review.verdicts):
                continue
            bare = tuple(msgspec.structs.replace(one, reply="", note="") for one in review.verdicts)
            body = msgspec.json.encode(msgspec.structs.replace(review, verdicts=bare)).decode()
            connection.execute(update(reviews).where(reviews.c.id == row.id).values(body=body))
            scrubbed += 1
    return scrubbed
