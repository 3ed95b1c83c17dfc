"""A matrix takes numbers of every kind, and nothing that numpy would make a number of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from splice.adapters.tensors.rows import OneMatrix
from splice.core.errors import ModelMismatch
from splice.core.release import Column

FEATURES = OneMatrix(Column("x", "FP32", (-1, 2)), (), "m")
NAMED = OneMatrix(Column("x", "FP32", (-1, 2)), ("a", "b"), "m")
GOOD: list[Any] = [1, -2.5, True, 2**53, 2**70, 0.1, np.float32(0.1), np.float64(7), np.int64(3)]
BAD: list[Any] = [
    "1", b"1", None, [1.0], Decimal(1), 1j, float("nan"), float("inf"), 1e39, 10**400,
    np.str_("1"), np.float64("nan"),
]  # fmt: skip


@pytest.mark.parametrize("cell", GOOD, ids=repr)
@pytest.mark.parametrize("beside", [0.5, 1, False])
def test_a_number_is_what_it_would_be_as_float32(cell: Any, beside: Any) -> None:
    rows = [[cell, beside], [0.25, 2.0]]
    expected = np.array([[float(cell), float(beside)], [0.25, 2.0]], dtype=np.float32)

    for made in (
        FEATURES.feed([{"x": row} for row in rows]),
        FEATURES.feed([{"x": tuple(row)} for row in rows]),
        NAMED.feed([{"b": b, "a": a} for a, b in rows]),
    ):
        assert made["x"].dtype == np.float32
        assert np.array_equal(made["x"], expected)


@pytest.mark.parametrize("cell", BAD, ids=repr)
@pytest.mark.parametrize("rows", [1, 3])
def test_what_is_no_finite_number_is_refused(cell: Any, rows: int) -> None:
    good = [[0.5, 1.5]] * (rows - 1)

    with pytest.raises(ModelMismatch):
        FEATURES.feed([{"x": row} for row in [*good, [1.0, cell]]])
    with pytest.raises(ModelMismatch):
        NAMED.feed([{"a": a, "b": b} for a, b in [*good, [1.0, cell]]])


@pytest.mark.parametrize(
    "row", ["12", [1.0], [1.0, 2.0, 3.0], [], np.array([1.0, 2.0]), {"a": 1.0, "b": 2.0}, 1.0, None]
)
def test_a_row_that_is_no_list_of_its_width_is_refused(row: Any) -> None:
    for rows in ([row], [row, row], [[0.5, 1.5], row]):
        with pytest.raises(ModelMismatch):
            FEATURES.feed([{"x": one} for one in rows])


def test_whole_numbers_and_texts_are_looked_at_one_by_one() -> None:
    whole = OneMatrix(Column("x", "INT64", (-1, 2)), (), "m")
    texts = OneMatrix(Column("x", "BYTES", (-1, 2)), (), "m")

    assert whole.feed([{"x": [1, True]}])["x"].tolist() == [[1, 1]]
    assert texts.feed([{"x": ["a", "b"]}])["x"].tolist() == [["a", "b"]]
    with pytest.raises(ModelMismatch):
        whole.feed([{"x": [1, 1.0]}])
    with pytest.raises(ModelMismatch):
        texts.feed([{"x": ["a", 1.0]}])
