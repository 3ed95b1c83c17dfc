"""Truths as they are declared: each mistake is named, and what is left out changes no release."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import splice
from splice.core.release import Manifest
from splice.core.truths import PinnedTruth, Task
from splice.declare.diff import manifest_diff
from splice.declare.truth_reading import check_fields, read_truths
from splice.testing.contracts.releases import manifest

Truth: Any = splice.Truth  # mistakes are made on purpose


def read(given: Any) -> tuple[PinnedTruth, ...]:
    wrong: list[tuple[str, ...]] = []
    found = read_truths(given, lambda *said: wrong.append(said))
    assert wrong == []
    return found


def mistakes(given: Any) -> list[str]:
    wrong: list[tuple[str, ...]] = []
    read_truths(given, lambda *said: wrong.append(said))
    assert all(field == "truth" and promised and mend for field, _, promised, mend in wrong)
    return [got for _, got, _, _ in wrong]


def test_a_truth_has_its_paths_and_durations_resolved() -> None:
    (found,) = read(
        splice.Truth(
            "defaulted", predicted="action", foretold="decline", score="risk.chance",
            matures="40 days", segments=["purpose"],
        )
    )  # fmt: skip

    assert found == PinnedTruth(
        "defaulted", Task.CLASSIFICATION, 40 * 86400.0, 40 * 86400.0, score="reply.risk.chance",
        predicted="reply.action", positive=(True,), foretold=("decline",), segments=("purpose",),
    )  # fmt: skip


def test_what_is_named_in_full_stays_as_it_is() -> None:
    (found,) = read(splice.Truth("x", score="prediction.scores.b", predicted="reply.b"))

    assert (found.score, found.predicted) == ("prediction.scores.b", "reply.b")


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ("defaulted", "str"),
        (["defaulted"], "str"),
        (Truth(""), "outcome ''"),
        (Truth("de faulted"), "outcome 'de faulted'"),
        (Truth(5), "outcome 5"),
        (Truth("x", task="guessing"), "task='guessing'"),
        (Truth("x", matures="soon"), "matures 'soon'"),
        (Truth("x", matures=0), "matures 0"),
        (Truth("x", matures="9999 d"), "matures='9999 d'"),
        (Truth("x", within=float("nan")), "within"),
        (Truth("x", score="a-b"), "score='a-b'"),
        (Truth("x", predicted=7), "predicted=7"),
        (Truth("x", positive=[]), "positive=[]"),
        (Truth("x", positive=[True, "yes"]), "positive=[True, 'yes']"),
        (Truth("x", positive={"a": 1}), "positive={'a': 1}"),
        (Truth("x", positive=None, threshold=0.5), "foretold or threshold"),
        (Truth("x", threshold=1.5), "threshold=1.5"),
        (Truth("x", threshold=True), "threshold=True"),
        (Truth("x", absent=True), "absent=True"),
        (Truth("x", positive=None, absent=False), "absent=False"),
        (Truth("x", task="regression", absent=0.0), "absent=0.0 of a regression"),
        (Truth("x", task="rating", predicted="y"), "predicted='y' of a rating"),
        (Truth("x", task="rating", good=float("inf")), "good=inf"),
        (Truth("x", good=3), "good=3 of a classification"),
        (Truth("x", task="ranking"), "a ranking without predicted"),
        (Truth("x", task="ranking", predicted="y", at=0), "at=0"),
        (Truth("x", segments="a b"), "segments='a b'"),
        (Truth("x", segments=5), "segments=5"),
        (Truth("x", segments=list("abcdef")), "6 segments"),
        ([Truth("x"), Truth("x", task="rating")], "x twice"),
        ([Truth(f"x{n}") for n in range(11)], "11 truths"),
    ],
)
def test_a_mistake_is_named(truth: Any, says: str) -> None:
    (got,) = mistakes(truth)

    assert says in got


class Verdict(splice.Reply):
    """A reply with a name of its own on the wire."""

    action: str
    chance: float = msgspec.field(default=0.0, name="p")


def test_a_field_that_replies_have_not_is_named() -> None:
    wrong: list[tuple[str, ...]] = []
    truths = read(
        [
            splice.Truth("a", predicted="acton", score="p"),
            splice.Truth("b", predicted="action.kind", score="chance"),
            splice.Truth("c", score="prediction.scores.x"),
        ]
    )

    check_fields(truths, Verdict, lambda *said: wrong.append(said))
    check_fields(truths, dict[str, str], lambda *said: wrong.append(said))

    assert [(got, promised) for _, got, promised, _ in wrong] == [
        ("predicted='acton', which a Verdict has not", "one of action, p"),
        ("score='chance', which a Verdict has not", "one of action, p"),
    ]


def test_what_changes_of_a_truth_is_shown_before_it_is_applied() -> None:
    before = manifest()
    first = msgspec.structs.replace(before, truths=read(splice.Truth("paid", matures="40 d")))
    second = msgspec.structs.replace(
        before, truths=read(splice.Truth("paid", matures="40 d", threshold=0.3, absent=False))
    )

    assert [str(one) for one in manifest_diff(before, first)] == [
        "truth paid: nothing -> classification, due after 40 d"
    ]
    assert [str(one) for one in manifest_diff(first, second)] == [
        "truth paid: classification, due after 40 d -> classification, due after 40 d, "
        "threshold 0.3, absent False"
    ]


def test_a_declaration_without_truths_keeps_the_digest_of_its_releases() -> None:
    plain = msgspec.json.encode(manifest())

    assert b"truths" not in plain
    assert msgspec.json.decode(plain, type=Manifest).digest == manifest().digest


def test_a_release_with_a_truth_keeps_its_digest_through_the_ledger() -> None:
    truths = read([
        splice.Truth("defaulted", absent=False, matures="40 d", threshold=0.3, foretold=[1, 2]),
        splice.Truth("stars", task="rating", good=4),
        splice.Truth("label", positive=None, absent="none"),
        splice.Truth("clicked", task="ranking", predicted="items", at=300 // 3, absent=False),
    ])  # fmt: skip
    with_truths = msgspec.structs.replace(manifest(), truths=truths)

    again = msgspec.json.decode(msgspec.json.encode(with_truths), type=Manifest)

    assert again == with_truths
    assert again.digest == with_truths.digest
