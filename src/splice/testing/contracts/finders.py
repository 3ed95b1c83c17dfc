"""What every Finder must do: inherit the class and give it a finder with something to find."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from splice.ports.masking import Finder


class FinderContract:
    """A Finder finds its samples wherever they stand, and answers for each text."""

    @pytest.fixture
    def finder(self) -> Finder:
        """The finder under test."""
        raise NotImplementedError

    @pytest.fixture
    def samples(self) -> list[tuple[str, str]]:
        """Texts, and what is to be found in each."""
        raise NotImplementedError

    def test_each_sample_is_found(self, finder: Finder, samples: list[tuple[str, str]]) -> None:
        found = finder.find([text for text, _ in samples])

        told = [
            [text[a:b] for a, b in spans] for (text, _), spans in zip(samples, found, strict=True)
        ]
        assert [
            part for (_, part), parts in zip(samples, told, strict=True) if part not in parts
        ] == []

    def test_each_text_has_its_answer_and_each_finding_is_within_it(
        self, finder: Finder, samples: list[tuple[str, str]]
    ) -> None:
        texts = ["", " ", "\n", samples[0][0], "\u200b\u0301\ufffd", "x" * 20_000, samples[-1][0]]

        found = finder.find(texts)

        assert len(found) == len(texts)
        assert list(found[0]) == []
        for text, spans in zip(texts, found, strict=True):
            assert all(0 <= start < end <= len(text) for start, end in spans)
        assert list(finder.find([])) == []

    def test_several_threads_get_the_same(
        self, finder: Finder, samples: list[tuple[str, str]]
    ) -> None:
        texts = [text for text, _ in samples]
        alone = [list(spans) for spans in finder.find(texts)]

        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(finder.find, [texts] * 8))

        assert all([list(spans) for spans in one] == alone for one in together)
