"""What every Converter must hold to.

Inherit `ConverterContract`, or `FileConverterContract` where the library's own files can be read,
and give it the fixtures `converter`, `trained` (a fitted estimator, and rows that it answers) and,
for files, `saved` (the path of a file of that estimator).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from splice.core.errors import SpliceError
from splice.ports.converters import Converter, FileConverter


class ConverterContract:
    """An estimator becomes a file, with questions and the original's own answers."""

    def test_it_knows_its_own_and_no_others(self, converter: Converter, trained: Any) -> None:
        assert converter.can(trained[0])
        assert not converter.can(object())
        assert not converter.can("a path")
        assert not converter.can(trained[1])

    def test_it_gives_a_file_with_a_question_for_each_answer(
        self, converter: Converter, trained: Any
    ) -> None:
        estimator, rows = trained

        made = converter.convert(estimator, rows)

        assert made
        assert len({one.precision for one in made}) == len(made)
        for one in made:
            assert one.model
            assert len(one.questions) == len(one.answers) > len(rows)
            assert all(isinstance(question, dict) for question in one.questions)
            assert type(estimator).__name__ in one.original

    def test_the_answers_are_the_originals(self, converter: Converter, trained: Any) -> None:
        estimator, rows = trained

        made = converter.convert(estimator, rows)[0]

        labels = [str(one) for one in estimator.predict(rows)]
        assert [str(one.value) for one in made.answers[: len(rows)]] == labels

    def test_it_gives_the_same_bytes_each_time(self, converter: Converter, trained: Any) -> None:
        first, again = (converter.convert(*trained) for _ in range(2))

        assert [one.model for one in first] == [one.model for one in again]

    def test_rows_of_another_width_are_refused(self, converter: Converter, trained: Any) -> None:
        estimator, rows = trained

        with pytest.raises(SpliceError):
            converter.convert(estimator, rows[:, :2])
        with pytest.raises(SpliceError):
            converter.convert(estimator, "no rows")


class FileConverterContract(ConverterContract):
    """And the library's own files are read, where those run no code."""

    def test_a_file_is_read_as_what_was_saved(
        self, converter: FileConverter, trained: Any, saved: Path
    ) -> None:
        _, rows = trained

        of_file = converter.convert_file(saved, rows)[0]
        of_object = converter.convert(trained[0], rows)[0]

        for read, kept in zip(of_file.answers, of_object.answers, strict=True):
            assert read.score is not None
            assert kept.score is not None
            assert abs(read.score - kept.score) < 1e-9

    def test_no_example_is_needed(self, converter: FileConverter, saved: Path) -> None:
        made = converter.convert_file(saved, None)

        assert all(len(one.questions) == len(one.answers) > 0 for one in made)

    def test_a_damaged_file_is_refused(self, converter: FileConverter, saved: Path) -> None:
        whole = saved.read_bytes()
        for left in (len(whole) // 2, 200):
            saved.write_bytes(whole[:left])
            with pytest.raises(SpliceError):
                converter.convert_file(saved, None)
