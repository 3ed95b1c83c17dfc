"""Calls that a person must look at, and what was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from splice.core.call import Outcome
from splice.core.reviews import Cause, Review, ReviewState, Verdict, Waiting


class ReviewFilter(msgspec.Struct, frozen=True):
    """Which reviews to list; None does not restrict. `waits` is open or escalated.

    What waits comes in the order in which it is due, what ended newest first; `after` is the last
    one of the page before.
    """

    integrations: tuple[str, ...] | None = None
    state: ReviewState | None = None
    waits: bool | None = None
    origin: Cause | None = None
    call_id: str | None = None
    holder: str | None = None
    due_before_us: int | None = None
    since_us: int | None = None  # opened since
    after: Review | None = None
    limit: int = 50


class Said(msgspec.Struct, frozen=True):
    """A verdict as it is stored. `outcome` is stored with it where it decides the review.

    `approves` says whether the person may consent as a second one; `details` go into the audit
    event.
    """

    verdict: Verdict
    approves: bool = False
    outcome: Outcome | None = None
    details: dict[str, Any] = {}  # JSON values


class ReviewStore(Protocol):
    """Reviews. Blocks. What is decided is never changed."""

    def open_reviews(self, some: Sequence[Review]) -> int:
        """Store those whose id is new, in one transaction; says how many were."""
        ...

    def review(self, review_id: str) -> Review | None:
        """One review, or None."""
        ...

    def reviews(self, wanted: ReviewFilter) -> list[Review]:
        """Those that a filter lets through."""
        ...

    def claim_review(self, review_id: str, by: str, now_us: int, lease_us: int) -> Review:
        """Hold it for a while, so that two people do not look at the same.

        Raises:
            UnknownReview: There is none of that id.
            Overtaken: It is decided or expired, or another looks at it.
            NotAllowed: He has given his verdict, and it needs another's.
        """
        ...

    def let_go_review(self, review_id: str, by: str) -> Review:
        """Hold it no longer; nothing where another holds it.

        Raises:
            UnknownReview: There is none of that id.
        """
        ...

    def judge(self, review_id: str, said: Said) -> Review:
        """Store a verdict, its audit event (`review.approve` …) and its outcome at once.

        The outcome only where the verdict decides the review: of two pairs of eyes, the second.

        Raises:
            UnknownReview: There is none of that id.
            Overtaken: It is decided or expired, or another looks at it.
            NotAllowed: He has given a verdict before, or his is not the one that is needed.
        """
        ...

    def look_again(
        self, review_id: str, *, by: str, why: str, now_us: int, where: str = ""
    ) -> Review:
        """A new review of the call of a decided or expired one, with its audit event.

        The old one stays as it is. Asked twice, it is the same.

        Raises:
            UnknownReview: There is none of that id.
            Overtaken: It still waits.
        """
        ...

    def expire(self, now_us: int, limit: int = 500) -> int:
        """End those whose time is over, with an audit event each; says how many."""
        ...

    def waiting(self, now_us: int) -> list[Waiting]:
        """What waits, by integration; cheap, it is asked for every few seconds."""
        ...
