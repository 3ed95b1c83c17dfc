"""A review: a call that a person must look at, and what he decided; and how that is declared."""

from __future__ import annotations

from typing import Literal

import msgspec

from splice.core.truths import Value

Test = Literal["is", "is not", "<", "<=", ">", ">="]
Cause = Literal["reply", "sample", "policy", "monitor", "again", "asked"]
"""`reply`: what was predicted or decided asks for it; `sample`: one of a share of the calls;
`policy`: a policy found something in it;
`monitor`: a call behind an alert; `again`: a decided review is looked at once more; `asked`: a
person wants it."""

ReviewState = Literal["open", "escalated", "decided", "expired"]
Standing = Literal["open", "claimed", "escalated", "decided", "expired"]
"""A state, or `claimed`: open, and somebody is looking at it just now."""

Choice = Literal["approve", "override", "escalate"]
CHOICES: tuple[Choice, ...] = ("approve", "override", "escalate")

OUTCOME = "reviewed"
"""The outcome that a verdict becomes where the declaration names none."""
WITHIN_S = 86_400.0


class PinnedCondition(msgspec.Struct, frozen=True):
    """One thing that is looked at: `path` is `reply.action`, `prediction.score`, `request.amount`.

    With `is` and `is not` it is one of `values`, or none of them; else there is one number.
    """

    path: str
    test: Test
    values: tuple[Value, ...]


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a review is decided; a review keeps those of the release that answered.

    `within_s` is the service level, from the moment in which the call was asked. `expires_s` is
    when nobody need look any more; None is never. `value` is the field of the reply that the
    outcome takes (`reply.action`); where it is empty the outcome is whether the person agreed.
    """

    within_s: float = WITHIN_S
    expires_s: float | None = None
    four_eyes: bool = False  # two different people, of whom the second may approve
    reasons: tuple[str, ...] = ()  # of which an override names one; any text where empty
    outcome: str = OUTCOME
    value: str = ""


PLAIN_TERMS = Terms()
"""Those of an integration that declares no reviews, and whose monitor opens some."""


class PinnedReview(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which calls a person looks at, and by whose eyes, as a release pins it.

    `when` has alternatives; of each, all conditions must hold. `share` is in ten-thousandths.
    """

    when: tuple[tuple[PinnedCondition, ...], ...] = ()
    share: int = 0
    terms: Terms = PLAIN_TERMS


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one person said of a call; it is never changed.

    `reply` is the corrected decision in JSON, where he overrode; `agreed` where it is the same
    again as another's verdict.
    """

    by: str
    at_us: int
    choice: Choice
    reply: str = ""
    reason: str = ""
    note: str = ""
    where: str = ""  # the address that it came from


class Review(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that a person must look at.

    Times are Unix microseconds. `due_us` is when the service level ends; `expires_us` is 0 where
    nothing ends it. `verdicts` are the oldest first; the last of a decided one counts.
    """

    id: str  # UUIDv7, made of the call's id: a call enters the queue once
    call_id: str
    integration: str
    release: int  # that answered
    state: ReviewState
    origin: Cause
    why: str  # in words: "action is review"
    asked_us: int  # when the call was
    opened_us: int
    due_us: int
    terms: Terms = PLAIN_TERMS
    expires_us: int = 0
    alert: str = ""  # id of the alert that it is behind
    corrects: str = ""  # id of the decided review that is looked at again
    holder: str = ""  # who is looking at it
    held_until_us: int = 0
    verdicts: tuple[Verdict, ...] = ()
    decided_us: int = 0
    revision: int = 0  # of the row

    @property
    def verdict(self) -> Verdict | None:
        """The one that counts; None where it is not decided."""
        return self.verdicts[-1] if self.state == "decided" and self.verdicts else None

    @property
    def waits(self) -> bool:
        """Whether a person must still look at it."""
        return self.state in ("open", "escalated")

    def holds(self, by: str, now_us: int) -> bool:
        """Whether somebody else is looking at it."""
        return bool(self.holder) and self.held_until_us > now_us and not same_person(
            self.holder, by
        )  # fmt: skip

    def standing(self, now_us: int) -> Standing:
        """Its state, as a person names it."""
        held = self.holder and self.held_until_us > now_us
        return "claimed" if self.state == "open" and held else self.state

    def overdue(self, now_us: int) -> bool:
        """Whether it should have been decided by now."""
        return self.waits and self.due_us < now_us

    def seen_by(self, by: str) -> bool:
        """Whether a person has given a verdict already."""
        return any(same_person(one.by, by) for one in self.verdicts)


class Waiting(msgspec.Struct, frozen=True):
    """What waits of one integration. `oldest_us` is when the oldest was asked; 0 where none is."""

    integration: str
    open: int = 0  # also those that are escalated
    escalated: int = 0
    overdue: int = 0
    oldest_us: int = 0


def same_person(one: str, other: str) -> bool:
    """Whether two names are of one person: a capital letter does not make another of him."""
    return one.strip().casefold() == other.strip().casefold()
