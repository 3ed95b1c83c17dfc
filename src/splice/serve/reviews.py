"""The shapes of reviews that go over a wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from splice.core.call import Record
from splice.core.explanations import Attributions, Similar
from splice.core.reviews import Review
from splice.serve.http.desk import CallShown, call_of, iso
from splice.serve.oversight import Explains, Told


class VerdictShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one person said; `reply` is the decision as he would have it, of an override."""

    by: str
    at: str
    choice: str
    reply: Any = None
    reason: str = ""
    note: str = ""


class ReviewShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that a person must look at.

    `state` is `open`, `claimed` (by `holder`, until `held_until`), `escalated`, `decided` or
    `expired`. `due_at` is when the service level ends, `left_s` how long that is: below 0 it is
    overdue. `reasons` are those of which an override names one; any text where there are none.
    """

    id: str
    call_id: str
    integration: str
    release: int
    state: str
    origin: str
    why: str
    asked_at: str
    opened_at: str
    due_at: str
    left_s: float
    four_eyes: bool
    outcome: str
    reasons: tuple[str, ...] = ()
    holder: str = ""
    held_until: str = ""
    alert: str = ""
    corrects: str = ""
    verdicts: tuple[VerdictShown, ...] = ()
    decided_at: str = ""


class ReviewList(msgspec.Struct, frozen=True):
    """A page of reviews; `next` is what `after` is to be for the following one."""

    reviews: list[ReviewShown]
    next: str | None


class ReviewWhole(msgspec.Struct, frozen=True):
    """A review with its call; the call is null where it is not in the ledger any more."""

    review: ReviewShown
    call: CallShown | None


class SimilarShown(msgspec.Struct, frozen=True):
    """An earlier call: how far it is away (0 is the same), its decision, what became of it."""

    distance: float
    call: CallShown
    verdict: str


class ExplanationShown(msgspec.Struct, frozen=True):
    """What an answer rests on.

    `attributions` are Shapley values of a model's features; null while they are worked out, which
    takes some seconds the first time. Where they cannot be had, their `why` says it.
    """

    attributions: Attributions | None
    told: Told | None
    similar: list[SimilarShown]
    history: list[SimilarShown]


_Words = Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"\S")]
_Note = Annotated[str, Meta(max_length=2000)]


class ApproveIn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="choice", tag="approve"
):
    """The decision stands."""

    note: _Note = ""


class OverrideIn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="choice", tag="override"
):
    """The decision should be another: `reply`, of the integration's own type."""

    reply: Any
    reason: _Words
    note: _Note = ""


class EscalateIn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="choice", tag="escalate"
):
    """Somebody who may approve decides."""

    reason: _Words
    note: _Note = ""


VerdictIn = ApproveIn | OverrideIn | EscalateIn


class AgainIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a call must be looked at once more."""

    why: _Words


def shown(one: Review, now_us: int) -> ReviewShown:
    """A review as it is shown."""
    held = one.standing(now_us) == "claimed"
    return ReviewShown(
        one.id, one.call_id, one.integration, one.release, one.standing(now_us), one.origin,
        one.why, iso(one.asked_us), iso(one.opened_us), iso(one.due_us),
        round((one.due_us - (one.decided_us or now_us)) / 1e6, 3), one.terms.four_eyes,
        one.terms.outcome, one.terms.reasons, one.holder if held else "",
        iso(one.held_until_us) if held else "", one.alert, one.corrects,
        tuple(
            VerdictShown(
                said.by, iso(said.at_us), said.choice, plain(said.reply.encode()), said.reason,
                said.note,
            )
            for said in one.verdicts
        ),
        iso(one.decided_us) if one.decided_us else "",
    )  # fmt: skip


def explained(
    explains: Explains,
    record: Record,
    may_read: Callable[[Record], bool],
    currency: str,
    wait_s: float = 0.0,
) -> ExplanationShown:
    """All that is known of an answer, of calls that who asks may read."""

    def calls(some: Sequence[Similar]) -> list[SimilarShown]:
        return [
            SimilarShown(
                round(one.distance, 6), call_of(one.record, list(one.outcomes), currency),
                one.verdict,
            )
            for one in some
            if may_read(one.record)
        ]  # fmt: skip

    return ExplanationShown(
        explains.attributions(record, wait_s), explains.told(record),
        calls(explains.similar(record)), calls(explains.history(record)),
    )  # fmt: skip


def plain(document: bytes | None) -> Any:  # a JSON value
    """What JSON says; None where there is none."""
    try:
        return msgspec.json.decode(document) if document else None
    except msgspec.DecodeError:
        return None
