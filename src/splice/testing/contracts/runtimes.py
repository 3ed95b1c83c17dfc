"""What every ModelRuntime must hold to.

Inherit `RuntimeContract` and give it three fixtures: `runtime`; `adder`, a file in its format of a
model that reads one matrix `x` of two 32-bit floats a row and gives their sum, one number a row;
and `damaged`, files that are none: truncated, empty, of another format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from splice.core.errors import BadAnswer, ModelMismatch, ModelUnavailable
from splice.ports.runtimes import ModelRuntime

_LARGEST = 3.4e38  # about the largest 32-bit float: twice of it is none


class RuntimeContract:
    """A file becomes a model; rows become predictions, or are refused by name."""

    def test_the_signature_is_read_from_the_file(self, runtime: ModelRuntime, adder: Path) -> None:
        signature = runtime.inspect(adder)

        assert [(one.name, one.datatype, one.shape) for one in signature.inputs] == [
            ("x", "FP32", (-1, 2))
        ]
        assert runtime.load(adder).signature == signature

    @pytest.mark.parametrize("count", [1, 2, 65])
    def test_each_row_has_one_prediction_in_its_order(
        self, runtime: ModelRuntime, adder: Path, count: int
    ) -> None:
        model = runtime.load(adder, ("a", "b"))

        answers = model.run([{"a": float(i), "b": 1, "more": "x"} for i in range(count)])

        assert [one.value for one in answers] == [i + 1.0 for i in range(count)]

    def test_no_rows_have_no_predictions(self, runtime: ModelRuntime, adder: Path) -> None:
        assert runtime.load(adder).run([]) == []

    def test_features_say_which_column_stands_where(
        self, runtime: ModelRuntime, adder: Path
    ) -> None:
        rows = [{"a": 1.0, "b": 2.0, "c": 4.0}]

        sums = [runtime.load(adder, names).run(rows)[0].value for names in (("a", "b"), ("c", "a"))]

        assert sums == [3.0, 5.0]

    def test_without_features_the_input_is_a_list(self, runtime: ModelRuntime, adder: Path) -> None:
        (answer,) = runtime.load(adder).run([{"x": [1.0, 2]}])

        assert answer.value == 3.0

    @pytest.mark.parametrize("names", [("a",), ("a", "b", "c")])
    def test_features_of_another_number_are_refused(
        self, runtime: ModelRuntime, adder: Path, names: Sequence[str]
    ) -> None:
        with pytest.raises(ModelMismatch):
            runtime.load(adder, names)

    @pytest.mark.parametrize(
        "row",
        [
            {},
            {"a": 1.0},
            {"a": 1.0, "b": None},
            {"a": 1.0, "b": "2"},
            {"a": 1.0, "b": [2.0]},
            {"a": 1.0, "b": {}},
            {"a": 1.0, "b": float("nan")},
            {"a": 1.0, "b": float("inf")},
            {"a": 1.0, "b": 1e300},
            {"a": 1.0, "b": 10**400},
        ],
    )
    def test_a_row_that_does_not_fit_is_refused_with_its_neighbours(
        self, runtime: ModelRuntime, adder: Path, row: dict[str, Any]
    ) -> None:
        model = runtime.load(adder, ("a", "b"))

        with pytest.raises(ModelMismatch):
            model.run([{"a": 1.0, "b": 1.0}, row])

        assert model.run([{"a": 1.0, "b": 1.0}])[0].value == 2.0

    @pytest.mark.parametrize(
        "value",
        [[], [1.0], [1.0, 2.0, 3.0], ["1", "2"], 5.0, "12", None, [[1.0, 2.0]], [1.0, None]],
    )
    def test_a_list_that_does_not_fit_is_refused(
        self, runtime: ModelRuntime, adder: Path, value: Any
    ) -> None:
        with pytest.raises(ModelMismatch):
            runtime.load(adder).run([{"x": value}])

    def test_an_answer_that_is_no_number_is_refused(
        self, runtime: ModelRuntime, adder: Path
    ) -> None:
        with pytest.raises(BadAnswer):
            runtime.load(adder).run([{"x": [_LARGEST, _LARGEST]}])

    def test_a_number_that_is_no_probability_is_no_score(
        self, runtime: ModelRuntime, adder: Path
    ) -> None:
        inside, outside = runtime.load(adder).run([{"x": [0.5, 0.25]}, {"x": [5.0, 2.0]}])

        assert (inside.score, outside.score) == (0.75, None)

    def test_the_time_of_a_row_is_measured(self, runtime: ModelRuntime, adder: Path) -> None:
        assert 0 < runtime.load(adder).row_seconds < 1

    def test_a_file_that_is_no_model_is_unavailable(
        self, runtime: ModelRuntime, damaged: Sequence[Path], tmp_path: Path
    ) -> None:
        for file in [*damaged, tmp_path / "gone.model", tmp_path]:
            for read in (runtime.inspect, runtime.load):
                with pytest.raises(ModelUnavailable) as raised:
                    read(file)
                assert raised.value.where == file.name
