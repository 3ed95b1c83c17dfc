"""Reviews as they are declared: each mistake is named, and what is left out changes no release."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

import splice
from splice.core.release import Manifest
from splice.core.reviews import PinnedCondition, PinnedReview, Terms
from splice.declare.codec import codec
from splice.declare.diff import manifest_diff
from splice.declare.review_reading import check_paths, overdue_monitor, read_review
from splice.declare.truth_reading import read_truths
from splice.testing.contracts.releases import manifest

Review: Any = splice.Review  # mistakes are made on purpose


class Claim(msgspec.Struct):
    amount: float
    kind: Literal["car", "home"] = "car"


class Said(msgspec.Struct):
    action: Literal["pay", "review"]
    sure: bool
    lines: list[str] = []
    why: str | None = None


def read(given: Any, log: Any = None, truths: Any = None) -> PinnedReview:
    wrong: list[tuple[str, ...]] = []
    pinned = read_truths(truths, lambda *said: wrong.append(said))
    found = read_review(given, log, pinned, lambda *said: wrong.append(said))
    check_paths(found, codec(Claim), codec(Said), lambda *said: wrong.append(said))
    assert wrong == []
    assert found is not None
    return found


def mistakes(given: Any, log: Any = None, truths: Any = None) -> list[str]:
    wrong: list[tuple[str, ...]] = []
    pinned = read_truths(truths, lambda *said: wrong.append(said))
    found = read_review(given, log, pinned, lambda *said: wrong.append(said))
    check_paths(found, codec(Claim), codec(Said), lambda *said: wrong.append(said))
    assert all(field == "review" and promised and mend for field, _, promised, mend in wrong)
    return [got for _, got, _, _ in wrong]


def test_fields_shares_and_durations_are_resolved() -> None:
    found = read(
        splice.Review(
            when=[{"action": "review"}, {"prediction.score": "< 0.6", "request.amount": ">= 1000"}],
            share="1 %", within="4 h", expires="7 d", four_eyes=True, reasons=["wrong amount"],
            outcome="paid", value="action",
        )
    )  # fmt: skip

    assert found.when == (
        (PinnedCondition("reply.action", "is", ("review",)),),
        (
            PinnedCondition("prediction.score", "<", (0.6,)),
            PinnedCondition("request.amount", ">=", (1000.0,)),
        ),
    )
    assert found.share == 100
    assert found.terms == Terms(
        4 * 3600.0, 7 * 86_400.0, True, ("wrong amount",), "paid", "reply.action"
    )


def test_a_text_in_a_list_is_a_value_and_a_sign_before_a_text_is_a_condition() -> None:
    assert read(splice.Review(when={"why": ["< 3"]})).when[0][0].values == ("< 3",)
    assert read(splice.Review(when={"action": "!= pay"})).when[0][0] == PinnedCondition(
        "reply.action", "is not", ("pay",)
    )
    assert read(splice.Review(when={"action": "= pay"})).when[0][0].test == "is"


@pytest.mark.parametrize(
    ("review", "says"),
    [
        ({"when": {}}, "dict"),
        (Review(when="action"), "when='action'"),
        (Review(when={"": 1}), "when=''"),
        (Review(when={"action": None}), "action: None"),
        (Review(when={"action": []}), "action: []"),
        (Review(when={"sure": "< many"}), "sure: '< many'"),
        (Review(when={"sure": float("nan")}), "sure: nan"),
        (Review(when=[{}]), "when={}"),
        (Review(when={"acton": "review"}), "when={'reply.acton': …}, which a reply has not"),
        (Review(when={"request.sum": 1}), "when={'request.sum': …}, which a request has not"),
        (Review(when={"action": "revew"}), "reply.action is 'revew', which it never is"),
        (Review(when={"sure": 1}), None),
        (Review(share="200 %"), "share '200 %'"),
        (Review(share=0.00001), "share 1e-05"),
        (Review(within="soon"), "within 'soon'"),
        (Review(within=0), "within 0"),
        (Review(within="100 ms"), "within='100 ms'"),
        (Review(within="4 h", expires="1 h"), "expires='1 h' before within='4 h'"),
        (Review(four_eyes="yes"), "four_eyes='yes'"),
        (Review(reasons=[""]), "reasons=['']"),
        (Review(reasons=["a\nb"]), "reasons=['a\\nb']"),
        (Review(reasons=3), "reasons=3"),
        (Review(outcome=""), "outcome=''"),
        (Review(value="request.amount"), "value='request.amount'"),
        (Review(value="nothing"), "value='nothing', which a reply has not"),
        (Review(value="lines"), "value='lines', which is no single value"),
    ],
)
def test_each_mistake_is_named(review: Any, says: str | None) -> None:
    found = mistakes(review)

    assert found == ([] if says is None else [found[0] if found else ""])
    assert says is None or found[0].startswith(says)


def test_a_condition_needs_calls_whose_texts_are_kept() -> None:
    when = splice.Review(when={"action": "review"})

    assert mistakes(when, splice.Log(keep=0.1))[0].endswith("with log.keep=0.1")
    assert mistakes(when, splice.Log(keep=1)) == []
    assert mistakes(splice.Review(share="1 %"), splice.Log(keep=0.1)) == []


def test_a_verdict_is_no_truth_of_another_kind() -> None:
    happened = splice.Truth("fraud", predicted="action", foretold="review")
    graded = splice.Truth("fraud", task="rating")
    which = splice.Truth("fraud", predicted="action", positive=None)

    (got,) = mistakes(splice.Review(outcome="fraud"), truths=happened)
    assert got == "outcome='fraud' of a classification without a value"
    assert mistakes(splice.Review(outcome="fraud"), truths=graded) == []
    assert mistakes(splice.Review(outcome="fraud", value="action"), truths=which) == []


def test_what_is_pinned_comes_back_the_same_and_what_is_not_changes_no_digest() -> None:
    plain = manifest("claims")
    review = read(splice.Review(when={"sure": True, "request.amount": 3}, share=0.1))
    pinned = msgspec.structs.replace(plain, review=review)

    again = msgspec.json.decode(msgspec.json.encode(pinned), type=Manifest)

    assert again == pinned
    assert again.digest == pinned.digest != plain.digest
    assert b"review" not in msgspec.json.encode(plain)


def test_a_diff_tells_each_change() -> None:
    old = msgspec.structs.replace(manifest("claims"), review=read(splice.Review(share="1 %")))
    new = msgspec.structs.replace(
        old,
        review=read(splice.Review(when={"action": "review"}, within="4 h", four_eyes=True)),
    )

    told = {one.what: (one.before, one.after) for one in manifest_diff(old, new)}

    assert told == {
        "review when": ("", "action is review"),
        "review share": ("1 %", ""),
        "review within": ("24 h", "4 h"),
        "review eyes": ("one person", "two people"),
    }


def test_a_service_level_is_watched_where_nothing_else_watches_it() -> None:
    review = read(splice.Review(share="1 %"))

    (monitor,) = overdue_monitor(review, ())
    assert (monitor.kind, monitor.figure, monitor.above) == ("reviews", "overdue", 0.0)
    assert overdue_monitor(None, ()) == ()
    assert overdue_monitor(review, (monitor,)) == ()
