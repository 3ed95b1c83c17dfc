"""Reviews in SQL: opened once, held by one, decided together with outcome and audit event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select, tuple_, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.outcomes import SqlOutcomes
from splice.adapters.ledgers.review_tables import reviews
from splice.core.audit import origin
from splice.core.errors import Overtaken
from splice.core.ids import derived_uuid7, id_bytes
from splice.core.review_errors import UnknownReview
from splice.core.reviews import Review, Waiting
from splice.core.verdicts import claimed, ended, judged, let_go
from splice.ports.reviews import ReviewFilter, Said

_EXPIRES = "splice reviews"
"""Who ends what nobody looked at."""


class SqlReviews:
    """A ReviewStore in SQL."""

    def __init__(self, database: Database, outcomes: SqlOutcomes) -> None:
        self._database = database
        self._outcomes = outcomes

    def open_reviews(self, some: Sequence[Review]) -> int:
        """Store those whose id is new, in one transaction; says how many were."""
        if not some:
            return 0
        with self._database.write() as connection:
            return put_reviews(self._database, connection, some)

    def review(self, review_id: str) -> Review | None:
        """One review, or None."""
        if not _is_id(review_id):
            return None
        query = select(reviews.c.body, reviews.c.revision).where(reviews.c.id == review_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _review(row)

    def reviews(self, wanted: ReviewFilter) -> list[Review]:
        """Those that a filter lets through."""
        query = select(reviews.c.body, reviews.c.revision).where(*_where(wanted))
        waits = wanted.waits if wanted.state is None else wanted.state in ("open", "escalated")
        if waits:
            order: tuple[Any, ...] = (reviews.c.due_us, reviews.c.id)
        elif waits is None:
            order = (reviews.c.opened_us.desc(), reviews.c.id.desc())
        else:
            order = (reviews.c.decided_us.desc(), reviews.c.id.desc())
        if (after := wanted.after) is not None:
            at = after.due_us if waits else after.opened_us if waits is None else after.decided_us
            by = reviews.c.due_us if waits else (
                reviews.c.opened_us if waits is None else reviews.c.decided_us
            )  # fmt: skip
            key = tuple_(by, reviews.c.id)
            query = query.where(key > (at, after.id) if waits else key < (at, after.id))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*order).limit(wanted.limit))
            return [_review(row) for row in rows]

    def claim_review(self, review_id: str, by: str, now_us: int, lease_us: int) -> Review:
        """Hold it for a while, so that two people do not look at the same."""
        with self._database.write() as connection:
            return self._changed(
                connection, review_id, lambda one: claimed(one, by, now_us, lease_us)
            )

    def let_go_review(self, review_id: str, by: str) -> Review:
        """Hold it no longer; nothing where another holds it."""
        with self._database.write() as connection:
            return self._changed(connection, review_id, lambda one: let_go(one, by))

    def judge(self, review_id: str, said: Said) -> Review:
        """Store a verdict, its audit event and its outcome at once."""
        verdict = msgspec.structs.replace(
            said.verdict, where=said.verdict.where or origin().address
        )
        with self._database.write() as connection:
            review = self._changed(
                connection, review_id, lambda one: judged(one, verdict, approves=said.approves)
            )
            if review.state == "decided" and said.outcome is not None:
                self._outcomes.append_within(connection, [said.outcome], verdict.at_us)
            details = {
                "call": review.call_id, "state": review.state, "release": review.release,
                "note": verdict.note, **said.details,
            }  # fmt: skip
            self._told(
                connection, review, verdict.choice, by=verdict.by, now_us=verdict.at_us,
                why=verdict.reason, details={k: v for k, v in details.items() if v != ""},
            )  # fmt: skip
        return review

    def look_again(
        self, review_id: str, *, by: str, why: str, now_us: int, where: str = ""
    ) -> Review:
        """A new review of the call of one that ended, with its audit event."""
        with self._database.write() as connection:
            old = self._locked(connection, review_id)
            if old.waits:
                raise Overtaken(
                    f"review {review_id}", got=f"one that is {old.state}",
                    promised="one that is decided or expired", mend="decide this one",
                )  # fmt: skip
            expires = old.terms.expires_s
            new = Review(
                id=derived_uuid7(old.asked_us // 1000, old.id, "again"),
                call_id=old.call_id, integration=old.integration, release=old.release,
                state="open", origin="again", why=why, asked_us=old.asked_us, opened_us=now_us,
                due_us=now_us + round(old.terms.within_s * 1e6), terms=old.terms,
                expires_us=0 if expires is None else now_us + round(expires * 1e6),
                alert=old.alert, corrects=old.id,
            )  # fmt: skip
            if put_reviews(self._database, connection, [new]):
                self._told(
                    connection, new, "again", by=by, now_us=now_us, why=why,
                    details={"call": new.call_id, "corrects": old.id},
                )  # fmt: skip
                return new
            return self._locked(connection, new.id)

    def expire(self, now_us: int, limit: int = 500) -> int:
        """End those whose time is over, with an audit event each; says how many."""
        over = and_(reviews.c.waits == 1, reviews.c.expires_us > 0, reviews.c.expires_us <= now_us)
        query = select(reviews.c.id).where(over).order_by(reviews.c.due_us).limit(limit)
        with self._database.read() as connection:
            if not (found := list(connection.execute(query).scalars())):
                return 0
        count = 0
        with self._database.write() as connection:
            for review_id in sorted(found):
                after = ended(self._locked(connection, review_id), now_us)
                if after is None:  # it was decided meanwhile
                    continue
                self._store(connection, after)
                count += 1
                self._told(
                    connection, after, "expire", by=_EXPIRES, now_us=now_us,
                    why="nobody decided it in its time", details={"call": after.call_id},
                )  # fmt: skip
        return count

    def waiting(self, now_us: int) -> list[Waiting]:
        """What waits, by integration."""
        late = case((reviews.c.due_us < now_us, 1), else_=0)
        escalated = case((reviews.c.state == "escalated", 1), else_=0)
        query = (
            select(
                reviews.c.integration, func.count(), func.sum(escalated), func.sum(late),
                func.min(reviews.c.asked_us),
            )
            .where(reviews.c.waits == 1)
            .group_by(reviews.c.integration)
            .order_by(reviews.c.integration)
        )  # fmt: skip
        with self._database.read() as connection:
            return [
                Waiting(row[0], *(int(one or 0) for one in row[1:]))
                for row in connection.execute(query)
            ]

    def _locked(self, connection: Connection, review_id: str) -> Review:
        """It, as nobody else changes it until the transaction ends."""
        row = None
        if _is_id(review_id):
            query = select(reviews.c.body, reviews.c.revision).where(reviews.c.id == review_id)
            row = connection.execute(query.with_for_update()).one_or_none()
        if row is None:
            raise UnknownReview(
                f"review {review_id[:80]}", got="no such review", mend="splice reviews list"
            )
        return _review(row)

    def _changed(
        self, connection: Connection, review_id: str, change: Callable[[Review], Review]
    ) -> Review:
        before = self._locked(connection, review_id)
        after = change(before)
        return before if after == before else self._store(connection, after)

    def _store(self, connection: Connection, after: Review) -> Review:
        new = msgspec.structs.replace(after, revision=after.revision + 1)
        seen = and_(
            reviews.c.id == after.id, reviews.c.revision == after.revision, reviews.c.waits == 1
        )
        changed = connection.execute(update(reviews).where(seen).values(_values(new)))
        if changed.rowcount != 1:
            raise Overtaken(
                f"review {after.id}", got="one that another changed just now",
                mend="look at it again",
            )  # fmt: skip
        return new

    def _told(
        self, connection: Connection, review: Review, verb: str, *, by: str, now_us: int,
        why: str, details: dict[str, Any],
    ) -> None:  # fmt: skip
        append_event(
            self._database, connection, f"review.{verb}", review.integration, by=by,
            now_us=now_us, why=why, details={"review": review.id, **details},
        )  # fmt: skip


def put_reviews(database: Database, connection: Connection, some: Sequence[Review]) -> int:
    """Store those whose id is new, within a transaction; says how many were."""
    # One order for all, or two that open the same could wait for each other.
    rows = [_values(one) for one in sorted(some, key=lambda one: one.id)]
    new = database.insert_new(reviews).returning(reviews.c.id)
    return len(connection.execute(new, rows).all())


def _where(wanted: ReviewFilter) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if wanted.integrations is not None:
        where.append(reviews.c.integration.in_(wanted.integrations))
    if wanted.state is not None:
        where.append(reviews.c.state == wanted.state)
    waits = wanted.waits if wanted.state is None else wanted.state in ("open", "escalated")
    if waits is not None:
        where.append(reviews.c.waits == (1 if waits else 0))
    if wanted.origin is not None:
        where.append(reviews.c.origin == wanted.origin)
    if wanted.call_id is not None:
        # What is no id is no call's.
        known = _is_id(wanted.call_id)
        where.append(reviews.c.call_id == wanted.call_id if known else or_(False))
    if wanted.holder is not None:
        where.append(reviews.c.holder == wanted.holder)
    if wanted.due_before_us is not None:
        where.append(reviews.c.due_us < wanted.due_before_us)
    if wanted.since_us is not None:
        where.append(reviews.c.opened_us >= wanted.since_us)
    return where


def _values(one: Review) -> dict[str, Any]:  # a row is untyped
    return {
        "id": one.id,
        "call_id": one.call_id,
        "integration": one.integration,
        "state": one.state,
        "waits": 1 if one.waits else 0,
        "origin": one.origin,
        "asked_us": one.asked_us,
        "opened_us": one.opened_us,
        "due_us": one.due_us,
        "expires_us": one.expires_us,
        "decided_us": one.decided_us,
        "holder": one.holder,
        "revision": one.revision,
        "body": msgspec.json.encode(one).decode(),
    }


def _review(row: Row[Any, Any]) -> Review:  # of body and revision
    return msgspec.structs.replace(
        msgspec.json.decode(row.body, type=Review), revision=row.revision
    )


def _is_id(text: str) -> bool:
    try:
        id_bytes(text)
    except ValueError:
        return False
    return True
