"""Reviewing: calls that a person must look at are queued in the transaction that rolls them up.

A call leaves `unrolled`, where it was put in the transaction that stored it, in this one: so each
is looked at once, whatever is killed when, and nothing of it is on the path of a call.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.releases import SqlReleases
from splice.adapters.ledgers.reviews import put_reviews
from splice.core.call import Record
from splice.core.choosing import asked_by_policy, chosen
from splice.core.reviews import PinnedReview

_UNDECLARED = PinnedReview()
"""Of a release without reviews: there a policy alone may ask for one."""


class Reviewing:
    """Opens the reviews that releases declare."""

    def __init__(self, database: Database, releases: SqlReleases) -> None:
        self._database = database
        self._releases = releases
        self._declared: dict[tuple[str, int], PinnedReview | None] = {}  # releases never change

    def put(self, connection: Connection, records: Sequence[Record], now_us: int) -> None:
        """Open the reviews of these calls, within the transaction that takes them off."""
        declared = {
            key: review
            for key in {(one.integration, one.release) for one in records}
            if (review := self._of(*key)) is not None
        }
        asking = [
            record
            for record in records
            if (record.integration, record.release) in declared or asked_by_policy(record)
        ]
        found = [
            review
            for record in asking
            if (
                review := chosen(
                    record,
                    declared.get((record.integration, record.release), _UNDECLARED),
                    now_us or record.asked_us,
                )
            )
            is not None
        ]
        if found:
            put_reviews(self._database, connection, found)

    def _of(self, integration: str, number: int) -> PinnedReview | None:
        key = (integration, number)
        if key not in self._declared:
            release = self._releases.release(integration, number)
            if release is None:  # it may come yet, as where a ledger is copied in parts
                return None
            self._declared[key] = release.manifest.review
        return self._declared[key]
