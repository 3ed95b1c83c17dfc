"""The rules behind registering: how far is too far, what breaks a caller, which side wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from splice.app.registering import params_of, revision_of
from splice.control.cards import card_of, changed
from splice.control.parity import compared
from splice.control.signatures import breaks
from splice.control.syncing import merged
from splice.core.call import Prediction
from splice.core.errors import DeclarationError
from splice.core.release import Column, Signature
from splice.core.versions import Card


def sure(label: str, chance: float) -> Prediction:
    return Prediction(label, chance, {"no": 1 - chance, "yes": chance})


def test_parity_counts_labels_and_takes_the_largest_difference() -> None:
    original = [sure("yes", 0.9), sure("no", 0.2), sure("yes", 0.8)]
    other = [sure("yes", 0.90005), sure("yes", 0.2), sure("yes", 0.80001)]

    found = compared(original, other)

    assert found.parity.rows == 3
    assert found.parity.labels_differ == found.wrong_labels == 1
    assert found.parity.max_difference == pytest.approx(5e-5)
    assert not found.holds
    assert compared(original, original).holds
    assert not compared(original, [sure("yes", 0.9002), *original[1:]]).holds
    assert compared(original, [sure("yes", 0.9002), *original[1:]], 1e-3).holds


def test_where_the_original_was_not_sure_either_label_is_right() -> None:
    found = compared([sure("no", 0.5)], [sure("yes", 0.50001)])

    assert found.holds
    assert found.parity.labels_differ == 1


def test_values_are_compared_on_the_scale_of_the_largest() -> None:
    original = [Prediction(value) for value in (300_000.0, 1.0)]

    assert compared(original, [Prediction(300_029.0), Prediction(1.0)]).holds
    assert not compared(original, [Prediction(300_031.0), Prediction(1.0)]).holds
    assert not compared([Prediction(1.0)], [Prediction(1.001)]).holds
    assert not compared([Prediction([1.0, 2.0])], [Prediction([1.0])]).holds


def test_other_classes_are_never_near() -> None:
    assert not compared([sure("yes", 0.9)], [Prediction("yes", 0.9, {"a": 0.1, "b": 0.9})]).holds
    assert not compared([sure("yes", 0.9)], [Prediction("yes")]).holds


def test_labels_without_chances_must_be_the_same() -> None:
    assert compared([Prediction("a")], [Prediction("a")]).holds
    assert not compared([Prediction("a")], [Prediction("b")]).holds


def named(*columns: tuple[str, str], classes: tuple[str, ...] = ()) -> Signature:
    outputs = (Column("p", "FP32", (-1, 2)),)
    return Signature(tuple(Column(n, d, (-1, 1)) for n, d in columns), outputs, classes)


def matrix(width: int, *features: str) -> Signature:
    return Signature((Column("x", "FP32", (-1, width)),), (Column("p", "FP32", (-1, 2)),), (),
                     features)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (named(("a", "FP32")), named(("a", "FP64")), ""),
        (named(("a", "INT64")), named(("a", "FP32")), ""),
        (named(("a", "FP32")), named(("a", "INT64")), "a is INT64"),
        (named(("a", "FP32")), named(("a", "BYTES")), "a is BYTES"),
        (named(("a", "FP32")), named(("b", "FP32")), "no longer reads a"),
        (named(("a", "FP32")), named(("a", "FP32"), ("b", "FP32")), "needs b"),
        (named(("a", "FP32"), classes=("x", "y")), named(("a", "FP32"), classes=("y", "x")),
         "classes"),
        (matrix(2, "a", "b"), matrix(2, "b", "a"), ""),
        (matrix(2, "a", "b"), matrix(2, "a", "c"), "needs c"),
        (matrix(2), matrix(3), "instead of FP32[-1, 2]"),
        (matrix(2), matrix(-1), ""),
        (named(("a", "FP32")), Signature((Column("a", "FP32", (-1, 1)),),
                                         (Column("y", "FP32", (-1, 1)),)), "numbers a row"),
    ],
)  # fmt: skip
def test_a_caller_is_broken_by_what_he_would_notice(
    before: Signature, after: Signature, words: str
) -> None:
    found = breaks(before, after)

    assert bool(found) == bool(words)
    assert words in "; ".join(found)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "here", "there", "conflicts"),
    [
        ({}, {"a": 1}, {}, {}, {"a": 1}, ()),
        ({}, {}, {"a": 1}, {"a": 1}, {}, ()),
        ({"a": 1}, {"a": 2}, {"a": 1}, {}, {"a": 2}, ()),
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}, {}, ()),
        ({"a": 1}, {"a": 2}, {"a": 3}, {}, {"a": 2}, ("a",)),
        ({}, {"a": 2}, {"a": 3}, {}, {"a": 2}, ("a",)),
        ({"a": 1}, {"a": 2}, {"a": 2}, {}, {}, ()),
        ({"a": 1}, {"a": 1}, {}, {}, {"a": 1}, ()),
        ({"c": 1}, {"c": 1}, {"c": 2}, {}, {"c": 1}, ("c",)),
        ({}, {}, {"c": 2}, {}, {}, ("c",)),
    ],
)
def test_the_side_that_changed_wins_and_ours_where_both_did(
    base: dict[str, int],
    ours: dict[str, int],
    theirs: dict[str, int],
    here: dict[str, int],
    there: dict[str, int],
    conflicts: tuple[str, ...],
) -> None:
    found = merged(base, ours, theirs, only_ours=("c",))

    assert (found.here, found.there, found.conflicts) == (here, there, conflicts)


@pytest.mark.parametrize(
    ("text", "words"),
    [("owner = ", "expected TOML"), ("colour = 1", r"card\.toml\.colour"), ("owner = 1", "str"),
     ('metrics = {a = "x"}', "float")],
)  # fmt: skip
def test_a_card_that_is_none_says_where(text: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        card_of(text)


def test_fields_of_a_card_are_set_from_texts() -> None:
    card = changed(Card(owner="a"), {"metrics.auc": "0.5", "assumptions": "x; y;", "purpose": "p"})

    assert card == Card("a", "p", ("x", "y"), "", {"auc": 0.5})
    with pytest.raises(DeclarationError, match="a number"):
        changed(card, {"metrics.auc": "high"})


def test_what_json_cannot_hold_is_no_parameter() -> None:
    class Estimator:
        def get_params(self) -> dict[str, object]:
            return {"depth": 3, "missing": float("nan"), "far": float("inf"), "inner": object()}

    assert params_of(Estimator()) == {"depth": 3}
    assert params_of(object()) == {}


def test_a_folder_without_git_has_no_revision(tmp_path: Path) -> None:
    assert revision_of(tmp_path) == ""
