"""Rules that a finder answers, as an optional engine for names would."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import pytest

from splice.control.masking import Masking, NotMasked
from splice.testing.contracts.finders import FinderContract

PEOPLE = re.compile("Ann Quokka|Bob Wombat")


class Known:
    """Finds two people by their names."""

    def find(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[one.span() for one in PEOPLE.finditer(text)] for text in texts]


class TestKnown(FinderContract):
    @pytest.fixture
    def finder(self) -> Known:
        return Known()

    @pytest.fixture
    def samples(self) -> list[tuple[str, str]]:
        return [("I am Ann Quokka.", "Ann Quokka"), ("Bob Wombat wrote it", "Bob Wombat")]


class Broken:
    """Answers what it is told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def find(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize("answer", [[], [[(0, 99)]] * 9, [[(3, 3)]] * 9, [[(-1, 2)]] * 9])
def test_an_answer_that_is_none_lets_nothing_through(answer: object) -> None:
    masking = Masking(("broken",), {}, {"broken": Broken(answer)})

    with pytest.raises(NotMasked):
        masking.mask(msgspec.json.encode({"text": "Ann Quokka"}))


def test_a_finder_that_dies_lets_nothing_through() -> None:
    masking = Masking(("broken",), {}, {"broken": Broken(BrokenPipeError("gone"))})

    with pytest.raises(BrokenPipeError):
        masking.mask(msgspec.json.encode({"text": "Ann Quokka"}))


def test_rules_and_finders_mask_together() -> None:
    masking = Masking(("email", "people"), {}, {"people": Known()})
    text = "Ann Quokka <ann@example.com> and Bob Wombat; Ann Quokka again"

    veiled = masking.veil(msgspec.json.encode(text))

    assert msgspec.json.decode(veiled.document) == (
        "[people-1] <[email-1]> and [people-2]; [people-1] again"
    )
    assert veiled.counts == {"people": 2, "email": 1}
