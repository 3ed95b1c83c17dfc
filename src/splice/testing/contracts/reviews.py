"""What every ReviewStore must hold to.

Inherit the contract and give it fixtures: `reviews`, empty, `audit` and `outcomes` of the same
ledger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from splice.core.call import Outcome, Reason, Record, Status
from splice.core.choosing import review_of
from splice.core.errors import NotAllowed, Overtaken
from splice.core.ids import derived_uuid7
from splice.core.review_errors import UnknownReview
from splice.core.reviews import Choice, Review, Terms, Verdict
from splice.ports.audit import AuditLog
from splice.ports.reviews import ReviewFilter, ReviewStore, Said
from splice.ports.stores import OutcomeStore

MIN = 60_000_000
NOW = 1_790_000_000_000_000
LEASE = 10 * MIN


def record_of(number: int, integration: str = "claims") -> Record:
    """An answered call, asked `number` minutes after the first."""
    at = NOW + number * MIN
    call_id = derived_uuid7(at // 1000, integration, str(number))
    return Record(call_id, integration, 3, at, 900, Status.ANSWERED, Reason.FIRST, "http")


def opened(number: int = 0, integration: str = "claims", **terms: Any) -> Review:
    """A review of such a call, due an hour after it."""
    terms.setdefault("within_s", 3600.0)
    record = record_of(number, integration)
    return review_of(record, "reply", "action is review", record.asked_us + 1, Terms(**terms))


def said(by: str, choice: Choice = "approve", at: int = 5, reply: str = "", **more: Any) -> Said:
    """A verdict, so many minutes after the first call."""
    verdict = Verdict(by, NOW + at * MIN, choice, reply, "it is so" if choice != "approve" else "")
    return Said(verdict, **more)


def outcome_of(review: Review) -> Outcome:
    """What a verdict becomes."""
    return Outcome(review.integration, "reviewed", True, NOW, review.call_id, source="review")


class ReviewStoreContract:
    """Opened once, held by one, decided once. Fixtures: `reviews`, `audit`, `outcomes`."""

    def test_a_review_is_opened_once_however_often_it_is_stored(self, reviews: ReviewStore) -> None:
        one, other = opened(0), opened(1)

        assert reviews.open_reviews([one, other]) == 2
        assert reviews.open_reviews([msgspec.structs.replace(one, why="x"), opened(2)]) == 1
        assert reviews.review(one.id) == one
        assert reviews.review("nothing") is None

    def test_what_waits_comes_in_the_order_in_which_it_is_due(self, reviews: ReviewStore) -> None:
        many = [opened(n, within_s=3600.0 * (1 + n % 3)) for n in range(7)]
        reviews.open_reviews(many)

        wanted, found = ReviewFilter(waits=True, limit=3), list[Review]()
        while page := reviews.reviews(wanted):
            found += page
            wanted = msgspec.structs.replace(wanted, after=page[-1])

        assert [one.id for one in found] == [
            one.id for one in sorted(many, key=lambda one: (one.due_us, one.id))
        ]

    def test_filters_let_through_what_they_name(self, reviews: ReviewStore) -> None:
        mine, other = opened(0), opened(1, "refunds")
        reviews.open_reviews([mine, other])
        reviews.judge(other.id, said("ada"))

        def found(**wanted: Any) -> list[str]:
            return [one.id for one in reviews.reviews(ReviewFilter(**wanted))]

        assert found(integrations=("claims",)) == [mine.id]
        assert found(integrations=()) == []
        assert found(state="decided") == found(waits=False) == [other.id]
        assert found(call_id=mine.call_id) == [mine.id]
        assert found(call_id="no id") == found(origin="sample") == []
        assert found(due_before_us=mine.due_us, waits=True) == []
        assert set(found()) == {mine.id, other.id}

    def test_two_people_do_not_hold_the_same_review(self, reviews: ReviewStore) -> None:
        one = opened()
        reviews.open_reviews([one])

        held = reviews.claim_review(one.id, "ada", NOW, LEASE)
        again = reviews.claim_review(one.id, "Ada", NOW + MIN, LEASE)

        assert (held.holder, held.standing(NOW)) == ("ada", "claimed")
        assert again.held_until_us == NOW + MIN + LEASE
        with pytest.raises(Overtaken, match=r"Ada, who looks at it"):
            reviews.claim_review(one.id, "bob", NOW + 2 * MIN, LEASE)
        with pytest.raises(Overtaken):
            reviews.judge(one.id, said("bob", at=2))
        assert reviews.claim_review(one.id, "bob", NOW + 12 * MIN, LEASE).holder == "bob"
        assert reviews.let_go_review(one.id, "ada").holder == "bob"
        assert reviews.let_go_review(one.id, "bob").holder == ""

    def test_a_lease_of_a_clock_that_is_ahead_holds_nobody_up(self, reviews: ReviewStore) -> None:
        one = opened()
        reviews.open_reviews([one])
        reviews.claim_review(one.id, "ada", NOW + 600 * MIN, LEASE)

        assert reviews.claim_review(one.id, "bob", NOW, LEASE).holder == "bob"

    def test_many_at_once_claim_it_once(self, reviews: ReviewStore) -> None:
        one = opened()
        reviews.open_reviews([one])

        def claim(n: int) -> str:
            try:
                return reviews.claim_review(one.id, f"person {n}", NOW, LEASE).holder
            except Overtaken:
                return ""

        with ThreadPoolExecutor(6) as pool:
            holders = [holder for holder in pool.map(claim, range(12)) if holder]

        assert len(holders) == 1

    def test_a_verdict_its_outcome_and_its_audit_event_are_stored_together(
        self, reviews: ReviewStore, outcomes: OutcomeStore, audit: AuditLog
    ) -> None:
        one = opened()
        reviews.open_reviews([one])

        reply = '{"action":"pay"}'
        wanted = said("ada", "override", reply=reply, outcome=outcome_of(one))
        done = reviews.judge(one.id, wanted)

        assert (done.state, done.decided_us) == ("decided", NOW + 5 * MIN)
        assert [one.reply for one in done.verdicts] == [reply]
        assert outcomes.outcomes_of(record_of(0)) == [outcome_of(one)]
        event = audit.events()[-1]
        assert (event.action, event.subject, event.by) == ("review.override", "claims", "ada")
        assert event.why == "it is so"
        assert (event.details["review"], event.details["call"]) == (one.id, one.call_id)

    def test_what_is_decided_is_never_changed(
        self, reviews: ReviewStore, outcomes: OutcomeStore
    ) -> None:
        one = opened()
        reviews.open_reviews([one])
        done = reviews.judge(one.id, said("ada"))

        for act in (
            lambda: reviews.judge(one.id, said("bob", "override", outcome=outcome_of(one))),
            lambda: reviews.claim_review(one.id, "bob", NOW + 6 * MIN, LEASE),
        ):
            with pytest.raises(Overtaken, match="decided"):
                act()
        assert reviews.review(one.id) == done
        assert outcomes.outcomes_of(record_of(0)) == []

    def test_many_at_once_decide_it_once(self, reviews: ReviewStore, audit: AuditLog) -> None:
        one = opened()
        reviews.open_reviews([one])

        def decide(n: int) -> int:
            try:
                reviews.judge(one.id, said(f"person {n}"))
            except Overtaken:
                return 0
            return 1

        with ThreadPoolExecutor(6) as pool:
            assert sum(pool.map(decide, range(12))) == 1
        assert [event.action for event in audit.events()] == ["review.approve"]

    def test_four_eyes_are_those_of_two_people_of_whom_the_second_may_approve(
        self, reviews: ReviewStore, outcomes: OutcomeStore
    ) -> None:
        one = opened(four_eyes=True)
        reviews.open_reviews([one])

        first = reviews.judge(one.id, said("ada", outcome=outcome_of(one)))
        assert (first.state, len(first.verdicts)) == ("open", 1)
        assert outcomes.outcomes_of(record_of(0)) == []
        for again in ("ada", " ADA "):
            with pytest.raises(NotAllowed, match="second time"):
                reviews.judge(one.id, said(again, approves=True))
            with pytest.raises(NotAllowed, match="second time"):
                reviews.claim_review(one.id, again, NOW, LEASE)
        with pytest.raises(NotAllowed, match="may not approve"):
            reviews.judge(one.id, said("bob"))
        done = reviews.judge(one.id, said("bob", approves=True, outcome=outcome_of(one)))

        assert (done.state, [v.by for v in done.verdicts]) == ("decided", ["ada", "bob"])
        assert outcomes.outcomes_of(record_of(0)) == [outcome_of(one)]

    def test_two_who_disagree_escalate_and_a_third_who_agrees_with_one_decides(
        self, reviews: ReviewStore
    ) -> None:
        one = opened(four_eyes=True)
        reviews.open_reviews([one])
        reviews.judge(one.id, said("ada"))
        after = reviews.judge(one.id, said("bob", "override", reply='{"a": 1}', approves=True))

        assert after.state == "escalated"
        with pytest.raises(NotAllowed, match="escalated"):
            reviews.judge(one.id, said("cyd", "override", reply='{"a":1}'))
        other = reviews.judge(one.id, said("cyd", "override", reply='{"a":2}', approves=True))
        assert other.state == "escalated"
        done = reviews.judge(one.id, said("dee", "override", reply='{"a":1}', approves=True))
        assert done.state == "decided"

    def test_what_is_escalated_is_decided_by_another_who_may_approve(
        self, reviews: ReviewStore
    ) -> None:
        one = opened()
        reviews.open_reviews([one])
        assert reviews.judge(one.id, said("ada", "escalate")).state == "escalated"

        for by, approves in (("bob", False), ("ada", True)):
            with pytest.raises(NotAllowed):
                reviews.judge(one.id, said(by, approves=approves))
        assert reviews.judge(one.id, said("bob", approves=True)).state == "decided"

    def test_a_correction_is_a_review_of_its_own(
        self, reviews: ReviewStore, audit: AuditLog
    ) -> None:
        one = opened()
        reviews.open_reviews([one])
        with pytest.raises(Overtaken, match="open"):
            reviews.look_again(one.id, by="bob", why="too early", now_us=NOW)
        done = reviews.judge(one.id, said("ada"))

        new = reviews.look_again(one.id, by="bob", why="it was wrong", now_us=NOW + MIN)
        twice = reviews.look_again(one.id, by="cyd", why="me too", now_us=NOW + 2 * MIN)

        assert reviews.review(one.id) == done
        assert (new.corrects, new.call_id, new.state) == (one.id, one.call_id, "open")
        assert new.due_us == NOW + MIN + 3600 * 1_000_000
        assert twice == new
        assert [event.action for event in audit.events()] == ["review.approve", "review.again"]

    def test_what_nobody_decides_expires_in_its_time(
        self, reviews: ReviewStore, audit: AuditLog
    ) -> None:
        short, never, seen = opened(0, expires_s=60.0), opened(1), opened(2, expires_s=60.0)
        reviews.open_reviews([short, never, seen])
        reviews.judge(seen.id, said("ada", at=2))

        assert reviews.expire(short.asked_us) == 0
        assert reviews.expire(NOW + 10 * MIN) == 1
        assert reviews.expire(NOW + 10 * MIN) == 0

        found = [reviews.review(one.id) for one in (short, never, seen)]
        assert [one.state for one in found if one] == ["expired", "open", "decided"]
        assert audit.events()[-1].action == "review.expire"
        with pytest.raises(Overtaken, match="expired"):
            reviews.judge(short.id, said("ada"))

    def test_it_says_what_waits_by_integration(self, reviews: ReviewStore) -> None:
        reviews.open_reviews([opened(n) for n in range(3)] + [opened(9, "refunds")])
        reviews.judge(opened(2).id, said("ada"))
        reviews.judge(opened(1).id, said("ada", "escalate"))

        first, last = reviews.waiting(opened(0).due_us + 1)

        assert (first.integration, first.open, first.escalated) == ("claims", 2, 1)
        assert (first.overdue, first.oldest_us) == (1, NOW)
        assert (last.integration, last.open, last.overdue) == ("refunds", 1, 0)

    def test_there_is_no_other_review(self, reviews: ReviewStore) -> None:
        for review_id in (opened().id, "x", ""):
            with pytest.raises(UnknownReview):
                reviews.claim_review(review_id, "ada", NOW, LEASE)
            with pytest.raises(UnknownReview):
                reviews.judge(review_id, said("ada"))
