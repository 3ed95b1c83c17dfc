"""Verdicts: what becomes of a review when a person says something of it; no store, no clock."""

from __future__ import annotations

from typing import Any

import msgspec

from splice.core.errors import NotAllowed, Overtaken
from splice.core.reviews import Review, Verdict

LEASE_US = 10 * 60 * 1_000_000
"""How long who opened a review has it for himself; deciding, he keeps it."""


def claimed(review: Review, by: str, now_us: int, lease_us: int = LEASE_US) -> Review:
    """The review, held by a person for a while.

    Raises:
        Overtaken: It is decided or expired, or another looks at it.
        NotAllowed: He has given his verdict, and it needs another's.
    """
    _still_waits(review)
    _is_free(review, by, now_us, lease_us)
    _new_eyes(review, by)
    return msgspec.structs.replace(review, holder=by, held_until_us=now_us + lease_us)


def let_go(review: Review, by: str) -> Review:
    """The review, held by nobody; as it was where another holds it."""
    return review if review.holder != by else _free(review)


def judged(review: Review, verdict: Verdict, *, approves: bool) -> Review:
    """The review after a verdict: decided, escalated, or open for the second pair of eyes.

    `approves` says whether the person may consent as a second one.

    Raises:
        Overtaken: It is decided or expired, or another looks at it.
        NotAllowed: He has given a verdict before, or his is not the one that is needed.
    """
    _still_waits(review)
    _is_free(review, verdict.by, verdict.at_us, LEASE_US)
    _new_eyes(review, verdict.by)
    earlier = [one for one in review.verdicts if one.choice != "escalate"]
    second = review.terms.four_eyes and bool(earlier)
    if (second or review.state == "escalated") and not approves:
        raise NotAllowed(
            f"review {review.id}",
            got=f"{verdict.by}, who may not approve",
            promised="somebody who may: it is escalated"
            if review.state == "escalated"
            else "somebody who may as the second of two",
            mend="ask one with the role approver",
        )
    said = _free(msgspec.structs.replace(review, verdicts=(*review.verdicts, verdict)))
    if verdict.choice == "escalate":
        return msgspec.structs.replace(said, state="escalated")
    if review.terms.four_eyes and not any(_agree(one, verdict) for one in earlier):
        # Nobody said the same before: the first of two, or two who do not agree.
        return msgspec.structs.replace(said, state="escalated") if earlier else said
    return msgspec.structs.replace(said, state="decided", decided_us=verdict.at_us)


def ended(review: Review, now_us: int) -> Review | None:
    """The review, expired, where its time is over; None where it is not."""
    if not review.waits or not review.expires_us or review.expires_us > now_us:
        return None
    return _free(msgspec.structs.replace(review, state="expired", decided_us=now_us))


def _agree(one: Verdict, other: Verdict) -> bool:
    if one.choice != other.choice:
        return False
    return one.choice != "override" or _plain(one.reply) == _plain(other.reply)


def _plain(reply: str) -> Any:  # a JSON value
    return msgspec.json.decode(reply) if reply else None


def _free(review: Review) -> Review:
    return msgspec.structs.replace(review, holder="", held_until_us=0)


def _still_waits(review: Review) -> None:
    if not review.waits:
        raise Overtaken(
            f"review {review.id}", got=f"one that is {review.state}",
            promised="one that waits", mend="have the call looked at again",
        )  # fmt: skip


def _is_free(review: Review, by: str, now_us: int, lease_us: int) -> None:
    # Nobody holds it for longer: what is further off was written by a clock that is ahead.
    absurd = review.held_until_us > now_us + max(lease_us, LEASE_US)
    if review.holds(by, now_us) and not absurd:
        raise Overtaken(
            f"review {review.id}", got=f"{review.holder}, who looks at it just now",
            mend="take another, or wait until he is done",
        )  # fmt: skip


def _new_eyes(review: Review, by: str) -> None:
    if not by.strip():
        raise NotAllowed(f"review {review.id}", got="nobody", promised="a person with a name")
    if review.seen_by(by):
        raise NotAllowed(
            f"review {review.id}", got=f"{by} a second time",
            promised="another person", mend="ask somebody else to look at it",
        )  # fmt: skip
