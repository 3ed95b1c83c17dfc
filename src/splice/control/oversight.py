"""Oversight: what people decide of calls, each within what he may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from splice.core.access import ANYONE, Permission, Principal
from splice.core.audit import origin
from splice.core.call import Outcome, Record
from splice.core.choosing import value_at
from splice.core.errors import InputMismatch, NotAllowed, StoreError
from splice.core.release import Release
from splice.core.review_errors import UnknownReview
from splice.core.reviews import CHOICES, Choice, Review, Verdict
from splice.core.verdicts import LEASE_US
from splice.declare.codec import Codec
from splice.ports.reviews import ReviewFilter, ReviewStore, Said
from splice.ports.stores import RecordStore, ReleaseStore

SOURCE = "review"
"""What the outcomes of verdicts name as their source."""

NOBODY = ANYONE.name
"""What everybody is called where nobody is asked who he is."""

_LONGEST = 2000
_LONGEST_REPLY = 256 * 1024


class Ruling(msgspec.Struct, frozen=True):
    """What a person says of a call: `reply` is JSON of the corrected decision of an override."""

    choice: str
    reply: bytes = b""
    reason: str = ""
    note: str = ""


class Kept(msgspec.Struct, frozen=True):
    """The stores of oversight."""

    reviews: ReviewStore
    records: RecordStore
    releases: ReleaseStore


class Oversight:
    """The queue of reviews, as somebody may use it.

    Args:
        kept: The stores.
        reply_of: The type of the replies of a release.
        masked: JSON of an integration's reply as its ledger may hold it.
    """

    def __init__(
        self,
        kept: Kept,
        reply_of: Callable[[Release], Codec],
        masked: Callable[[Release, bytes], bytes],
    ) -> None:
        self._kept = kept
        self._reply_of = reply_of
        self._masked = masked

    def listed(self, who: Principal, wanted: ReviewFilter) -> list[Review]:
        """Those of the integrations that he may see."""
        names = self.seen(who)
        if names is not None:
            asked = wanted.integrations
            names = names if asked is None else tuple(one for one in asked if one in names)
            wanted = msgspec.structs.replace(wanted, integrations=names)
        return self._kept.reviews.reviews(wanted)

    def seen(self, who: Principal) -> tuple[str, ...] | None:
        """The integrations whose reviews he may see; None is all."""
        if any("*" in grant.integrations for grant in who.grants):
            return None
        live = self._kept.releases.live()
        return tuple(one.integration for one in live if who.may(Permission.SEE, one.integration))

    def one(self, who: Principal, review_id: str) -> Review:
        """One review.

        Raises:
            UnknownReview: There is none, or none that he may know of.
        """
        found = self._kept.reviews.review(review_id)
        if found is None or not who.may(Permission.SEE, found.integration):
            raise UnknownReview(
                f"review {review_id[:80]}", got="no such review", mend="see the list of those"
            )
        return found

    def claim(self, who: Principal, review_id: str, now_us: int) -> Review:
        """He looks at it: for ten minutes nobody else can.

        Raises:
            NotAllowed: He may not review, or has given his verdict.
            Overtaken: It is decided, or another looks at it.
            UnknownReview: There is none, or none that he may know of.
        """
        self._may_review(who, self.one(who, review_id))
        return self._kept.reviews.claim_review(review_id, name_of(who), now_us, LEASE_US)

    def let_go(self, who: Principal, review_id: str) -> Review:
        """He looks at it no longer."""
        self._may_review(who, self.one(who, review_id))
        return self._kept.reviews.let_go_review(review_id, name_of(who))

    def decide(self, who: Principal, review_id: str, ruling: Ruling, now_us: int) -> Review:
        """His verdict, stored with its outcome and audit event.

        Raises:
            InputMismatch: The verdict is not whole, or the reply not of the declared type.
            NotAllowed: He may not review, has given his verdict, or may not be the second.
            Overtaken: It is decided, or another looks at it.
            UnknownReview: There is none, or none that he may know of.
        """
        review = self.one(who, review_id)
        self._may_review(who, review)
        self._is_known(who, review)
        choice = _choice(ruling.choice)
        record = self._kept.records.get(review.call_id)
        release = self._kept.releases.release(review.integration, review.release)
        if record is None or release is None:
            what = "call" if record is None else "release"
            raise StoreError(
                f"review {review.id}", got=f"a {what} that is not in the ledger any more",
                mend="restore it; nothing can be decided of what cannot be seen",
            )  # fmt: skip
        _check_words(review, choice, ruling)
        reply = self._reply(review, release, record, choice, ruling)
        verdict = Verdict(
            name_of(who), now_us, choice, reply, ruling.reason.strip(), ruling.note.strip(),
            origin().address,
        )  # fmt: skip
        outcome = None
        if choice != "escalate":
            outcome = _outcome(review, record, verdict)
        approves = who.may(Permission.APPROVE, review.integration)
        return self._kept.reviews.judge(review_id, Said(verdict, approves, outcome))

    def again(self, who: Principal, review_id: str, why: str, now_us: int) -> Review:
        """A new review of a call that was decided: what was decided stays as it is.

        Raises:
            InputMismatch: He does not say why.
            NotAllowed: He may not review.
            Overtaken: It still waits.
            UnknownReview: There is none, or none that he may know of.
        """
        self._may_review(who, self.one(who, review_id))
        if not why.strip() or len(why) > _LONGEST:
            raise InputMismatch(
                "review.why", got=f"{len(why)} characters", promised=f"1 to {_LONGEST}",
                mend="say why it must be looked at again",
            )  # fmt: skip
        return self._kept.reviews.look_again(
            review_id, by=name_of(who), why=why.strip(), now_us=now_us
        )

    def _may_review(self, who: Principal, review: Review) -> None:
        if not who.may(Permission.REVIEW, review.integration):
            raise NotAllowed(
                review.integration, got=f"{name_of(who)}, who may not review",
                promised="the role reviewer or approver", mend="ask one who has it",
            )  # fmt: skip

    def _is_known(self, who: Principal, review: Review) -> None:
        """Two people are two only where it is known who they are."""
        if review.terms.four_eyes and name_of(who) == NOBODY:
            raise NotAllowed(
                f"review {review.id}", got="somebody who did not say who he is",
                promised="two people whom this server knows",
                mend="have people sign in, or give each a key",
            )  # fmt: skip

    def _reply(
        self, review: Review, release: Release, record: Record, choice: Choice, ruling: Ruling
    ) -> str:
        """The corrected decision, of the declared type and as the ledger may hold it."""
        where = f"{review.integration}.reply"
        if choice != "override":
            if ruling.reply:
                raise InputMismatch(where, got=f"a reply with {choice}", promised="an override")
            if choice == "approve" and record.reply is None:
                raise InputMismatch(
                    where, got="approval of a call without an answer",
                    promised="an override with the right one", mend="override, or escalate",
                )  # fmt: skip
            return ""
        if not ruling.reply or len(ruling.reply) > _LONGEST_REPLY:
            raise InputMismatch(
                where, got=f"{len(ruling.reply)} bytes", promised="the decision as it should be"
            )
        codec = self._reply_of(release)
        reply = self._masked(release, codec.encode(codec.decode(ruling.reply, where)))
        if record.reply is not None and _plain(reply) == _plain(record.reply):
            raise InputMismatch(
                where, got="the very decision that was made", promised="another one",
                mend="approve it",
            )  # fmt: skip
        return reply.decode()


def name_of(who: Principal) -> str:
    """What reviews and the audit log call him."""
    return who.name or ("" if who.key is None else who.key.name) or who.caller or NOBODY


def _choice(given: str) -> Choice:
    for one in CHOICES:
        if given == one:
            return one
    raise InputMismatch(
        "review.choice", got=repr(given[:40]), promised=f"one of {', '.join(CHOICES)}"
    )


def _check_words(review: Review, choice: Choice, ruling: Ruling) -> None:
    for name, text in (("reason", ruling.reason), ("note", ruling.note)):
        if len(text) > _LONGEST:
            raise InputMismatch(
                f"review.{name}", got=f"{len(text)} characters", promised=f"at most {_LONGEST}"
            )
    reason, known = ruling.reason.strip(), review.terms.reasons
    if choice == "override" and known and reason not in known:
        raise InputMismatch(
            "review.reason", got=repr(reason[:80]), promised=f"one of {', '.join(known)}"
        )
    if choice == "escalate" and not (reason or ruling.note.strip()):
        raise InputMismatch(
            "review.reason", got="nothing", promised="why somebody else must decide"
        )
    if choice == "override" and not reason:
        raise InputMismatch("review.reason", got="nothing", promised="why it was wrong")


def _outcome(review: Review, record: Record, verdict: Verdict) -> Outcome:
    value: Any = verdict.choice == "approve"
    if review.terms.value:
        document = verdict.reply.encode() if verdict.reply else record.reply
        value = value_at(_plain(document), review.terms.value.partition(".")[2])
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, (bool, float, str)):
            value = msgspec.json.encode(value).decode()
    return Outcome(
        review.integration, review.terms.outcome, value, verdict.at_us, review.call_id,
        source=SOURCE,
    )  # fmt: skip


def _plain(document: bytes | None) -> Any:  # a JSON value
    try:
        return msgspec.json.decode(document) if document else None
    except msgspec.DecodeError:
        return None
