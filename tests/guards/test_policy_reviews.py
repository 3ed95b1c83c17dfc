"""A policy that asks for a person opens a review of the call, once, whatever else is declared."""

from __future__ import annotations

import msgspec
import pytest
from engine_house import record_of

from splice.core.call import Status
from splice.core.choosing import asked_by_policy, chosen
from splice.core.policies import PolicyResult, PolicyRun
from splice.core.reviews import PinnedReview


def asking(did: PolicyResult = "review", **changes: object) -> object:
    runs = (PolicyRun("size", "v"), PolicyRun("no_injection", "v", did, "context", "reveal", 1))
    return msgspec.structs.replace(record_of(1), policies=runs, **changes)


def test_a_call_that_a_policy_sends_to_a_person_is_reviewed_and_says_why() -> None:
    record = asking()

    review = chosen(record, PinnedReview(), 5)  # type: ignore[arg-type]

    assert review is not None
    assert (review.origin, review.why) == ("policy", "policy no_injection: reveal")


@pytest.mark.parametrize("did", ["passed", "flagged", "redacted"])
def test_what_a_policy_only_notes_needs_nobody(did: PolicyResult) -> None:
    record = asking(did)

    assert asked_by_policy(record) == ""  # type: ignore[arg-type]
    assert chosen(record, PinnedReview(), 5) is None  # type: ignore[arg-type]


def test_a_shadow_or_a_call_without_an_answer_needs_nobody() -> None:
    for record in (asking(shadow_of="x"), asking(status=Status.REFUSED)):
        assert chosen(record, PinnedReview(), 5) is None  # type: ignore[arg-type]
